"""A provider's notice over the wire: sent by the script of the documents, and by those who prove nothing."""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[2]
SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
OLD_SECRET = "whsec_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="
WAIT_S = 10.0
NewServer = Callable[..., Any]
NEW_INVOICE = """
mutation { generateInvoice(input: { amount: { sat: "5" } }) {
  ... on GenerateInvoiceSuccess { payment { id paymentRequest paymentHash } }
} }
"""
CALLBACKS = "{ providerCallbacks { totalCount edges { node { type state reference payment { id status } } } } }"


def script() -> str:
    """Return the script that the documents show."""
    page = (ROOT / "docs" / "webhooks.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"```python\n(# notice\.py.*?)```", page, re.DOTALL)
    return str(found)


def notice(server: Any, reference: str, *, secret: str) -> "subprocess.CompletedProcess[str]":
    """Send a notice as the documents say."""
    return subprocess.run(
        [sys.executable, "-c", script(), reference, server.url],
        env={**server.variables, "QUITTANCE_LND_CALLBACK_SECRET": secret},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def processed(server: Any, count: int) -> list[Any]:
    """Return the callbacks once so many were worked on."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        nodes = [edge["node"] for edge in server.execute(CALLBACKS)["providerCallbacks"]["edges"]]
        if len(nodes) == count and "RECEIVED" not in {node["state"] for node in nodes}:
            return nodes
        time.sleep(0.05)
    raise AssertionError(f"not {count} after {WAIT_S} s: {nodes}")


def test_a_notice_makes_the_server_ask_its_node(new_server: NewServer) -> None:
    server = new_server(environment={"QUITTANCE_LND_CALLBACK_SECRET": f"{SECRET},{OLD_SECRET}"})
    server.start()
    payment = server.execute(NEW_INVOICE)["generateInvoice"]["payment"]

    early = notice(server, payment["paymentHash"], secret=OLD_SECRET)
    (asked,) = processed(server, 1)
    assert server.pay(payment["paymentRequest"]).status_code == 200
    late = notice(server, payment["paymentHash"], secret=SECRET)
    told = processed(server, 2)[0]
    url = f"{server.url}/callbacks"
    statuses = [
        httpx.post(f"{url}/lnd", content=b"{}").status_code,
        httpx.post(f"{url}/nobody", content=b"{}").status_code,
        httpx.get(f"{url}/lnd").status_code,
        httpx.post(f"{url}/lnd", content=bytes(1_000_001)).status_code,
    ]

    assert (early.stdout, late.stdout) == ('202 {"status":"STORED"}\n',) * 2, early.stderr + late.stderr
    assert asked["state"] == "PROCESSED"
    assert asked["payment"] == {"id": payment["id"], "status": "PENDING_PAYMENT"}
    assert told == {
        "type": "invoice.settled",
        "state": "PROCESSED",
        "reference": payment["paymentHash"],
        "payment": {"id": payment["id"], "status": "COMPLETE"},
    }
    assert statuses == [401, 404, 405, 413]
    metrics = httpx.get(f"{server.url}/metrics").text
    assert 'quittance_provider_callbacks_total{provider="lnd",receipt="STORED"} 2.0' in metrics
    assert 'quittance_http_requests_total{door="/callbacks/",status="202"} 2.0' in metrics
    assert not any(secret in server.log.read_text() for secret in (SECRET, OLD_SECRET))


def test_a_server_without_a_secret_has_no_such_door(server: Any) -> None:
    answer = httpx.post(f"{server.url}/callbacks/lnd", content=b"{}")

    assert answer.status_code == 404
    assert server.execute(CALLBACKS)["providerCallbacks"] == {"totalCount": 0, "edges": []}
