"""Webhooks at a provider from a terminal, beside a server that is there, and one that was down (L20, L21, W18)."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from quittance.domain.provider_webhook import CannotManageWebhooks

NewServer = Callable[..., Any]
WAIT_S = 20.0
NEW_INVOICE = """
mutation { generateInvoice(input: { amount: { sat: "21" } }) {
  ... on GenerateInvoiceSuccess { payment { id paymentRequest } }
} }
"""
CALLBACKS = "{ providerCallbacks { edges { node { eventId state payment { id status } } } } }"
BALANCES = "{ viewer { balances { value } } }"
AUDIT = "{ auditLog { edges { node { action actorName } } } }"


@pytest.fixture
def account(tmp_path: Path, sandbox: Any) -> dict[str, str]:
    """Return the settings with which a server uses the Strike account of rails that outlive it, by notices alone."""
    del sandbox
    where = json.loads((tmp_path / "state" / "sandbox" / "rails.json").read_text())["strike"]
    return {
        "QUITTANCE_STRIKE_URL": where["url"],
        "QUITTANCE_STRIKE_API_KEY": Path(where["receive_key_path"]).read_text(),
        "QUITTANCE_STRIKE_NETWORK": where["network"],
        "QUITTANCE_STRIKE_POLL_S": "600",
    }


@pytest.fixture
def shop(new_server: NewServer, account: dict[str, str]) -> Any:
    server = new_server(environment=account)
    server.environment["QUITTANCE_PUBLIC_URL"] = server.url
    server.start()
    return server


def done(server: Any, *arguments: str) -> list[str]:
    """Run a command that must succeed, and return its lines."""
    ended = server.run("provider-webhooks", *arguments)
    assert ended.returncode == 0, ended.stderr
    lines: list[str] = ended.stdout.splitlines()
    return lines


def sold(server: Any) -> dict[str, Any]:
    payment: dict[str, Any] = server.execute(NEW_INVOICE)["generateInvoice"]["payment"]
    return payment


def told(server: Any, count: int) -> list[Any]:
    """Return what Strike told, once so much was worked on."""
    nodes: list[Any] = []
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        nodes = [edge["node"] for edge in server.execute(CALLBACKS)["providerCallbacks"]["edges"]]
        if len(nodes) >= count and "RECEIVED" not in {node["state"] for node in nodes}:
            return nodes
        time.sleep(0.05)
    raise AssertionError(f"not {count} after {WAIT_S} s: {nodes}")


def test_a_webhook_is_made_used_rotated_changed_and_taken_away(shop: Any, sandbox: Any) -> None:
    (made,) = done(shop, "subscribe")
    webhook_id = made.split()[0]
    again = done(shop, "subscribe")
    first = sold(shop)
    assert sandbox.pay(first["paymentRequest"]).status_code == httpx.codes.OK
    (notice,) = told(shop, 1)
    rotated = done(shop, "rotate", webhook_id, "--overlap-seconds", "0")
    second = sold(shop)
    assert sandbox.pay(second["paymentRequest"]).status_code == httpx.codes.OK
    notices = told(shop, 2)
    off = done(shop, "update", webhook_id, "--disable", "--type", "invoice.updated", "--type", "invoice.created")
    listed = done(shop, "list")
    gone = done(shop, "unsubscribe", webhook_id)
    empty = done(shop, "list")

    assert made == f"{webhook_id}  on  ours  invoice.updated  {shop.url}/callbacks/strike"
    assert again == rotated == [made]
    assert off == listed == [f"{webhook_id}  off  ours  invoice.updated,invoice.created  {shop.url}/callbacks/strike"]
    assert (gone, empty) == ([f"{webhook_id} is gone"], [])
    assert (notice["state"], notice["payment"]) == ("PROCESSED", {"id": first["id"], "status": "COMPLETE"})
    assert {one["payment"]["id"] for one in notices} == {first["id"], second["id"]}
    log = [edge["node"] for edge in shop.execute(AUDIT)["auditLog"]["edges"]]
    assert [(one["action"], one["actorName"]) for one in reversed(log) if one["action"].startswith("PROVIDER_")] == [
        (f"PROVIDER_WEBHOOK_{action}", "command line")
        for action in ("SUBSCRIBED", "SUBSCRIBED", "SECRET_ROTATED", "UPDATED", "UNSUBSCRIBED")
    ]


def test_what_was_paid_while_the_server_was_dead_is_listed_and_caught_up_with_once(shop: Any, sandbox: Any) -> None:
    done(shop, "subscribe")
    payments = [sold(shop) for _ in range(3)]
    shop.kill()
    for payment in payments:
        assert sandbox.pay(payment["paymentRequest"]).status_code == httpx.codes.OK

    missed = done(shop, "missed")
    caught = done(shop, "catch-up")
    shop.start()
    notices = told(shop, 3)
    again = done(shop, "catch-up", "--since", "2026-01-01")
    heard = done(shop, "missed", "--all")

    unheard = [line for line in missed if "  invoice.updated  " in line]
    assert len(unheard) == len(payments)
    assert all(line.endswith("  unheard") for line in unheard)
    assert (caught, again) == (["3 new of 3 events"], ["0 new of 3 events"])
    assert {one["state"] for one in notices} == {"PROCESSED"}
    assert {one["payment"]["id"] for one in notices} == {payment["id"] for payment in payments}
    assert {one["payment"]["status"] for one in notices} == {"COMPLETE"}
    assert len([line for line in heard if line.endswith("  PROCESSED")]) == len(payments)
    assert shop.execute(BALANCES)["viewer"]["balances"] == [{"value": "63000"}]


def test_what_cannot_be_meant_is_refused_in_one_line(shop: Any) -> None:
    refused = [
        shop.run("provider-webhooks", *arguments)
        for arguments in (
            ("list", "--provider", "lnd"),
            ("subscribe", "--url", "http://shop.example/x"),
            ("subscribe", "--type", "no.such"),
            ("rotate", "22222222-2222-4222-8222-222222222222"),
            ("unsubscribe", "x"),
            ("catch-up", "--since", "yesterday"),
        )
    ]

    assert [(ended.returncode, ended.stdout) for ended in refused] == [(1, "")] * len(refused)
    assert [ended.stderr.splitlines()[-1] for ended in refused] == [
        f"quittance: {CannotManageWebhooks('lnd').message}",
        "quittance: give https://HOST/PATH, without a user name and without a fragment",
        "quittance: provider 'strike' refused it: INVALID_DATA",
        "quittance: the provider has no such webhook; list its webhooks to find the id",
        "quittance: the provider has no such webhook; list its webhooks to find the id",
        "quittance: --since is a moment such as 2026-05-01T12:00:00Z",
    ]
