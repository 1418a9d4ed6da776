"""Litecoin at the running server: two rails, one books, and a payer from the command line."""

import json
import re
from typing import Any

import httpx
from typer.testing import CliRunner

from quittance.server.cli import app

NEW_INVOICE = """
mutation ($input: GenerateInvoiceInput!) {
  generateInvoice(input: $input) { ... on GenerateInvoiceSuccess { payment { id paymentRequest status } } }
}
"""
SETTLED = "subscription { paymentSettled { payment { id provider received { value assetCode formatted } } } }"
PROVIDERS = "{ providers { name assetCode assetScale health { ready detail } } }"
BOOKS = "{ viewer { balances { value assetCode } } reconciliation { rails { provider complete } findings { kind } } }"
IN_LITECOIN: dict[str, object] = {"asset": {"assetCode": "LTC", "assetScale": 8, "value": "2500"}}


def settled_by(server: Any, *, amount: dict[str, object], provider: str, prefix: str) -> dict[str, Any]:
    """Ask, pay from the command line without naming a node, and return what the subscription says."""
    asked = {"input": {"amount": amount, "provider": provider}}
    with server.socket() as socket:
        socket.send("subscribe", id="s", payload={"query": SETTLED})
        payment = server.execute(NEW_INVOICE, asked)["generateInvoice"]["payment"]
        assert payment["paymentRequest"].startswith(prefix)
        paid = CliRunner().invoke(app, ["sandbox", "pay", payment["paymentRequest"], "--url", server.url])
        assert (paid.exit_code, len(bytes.fromhex(paid.stdout.strip()))) == (0, 32), paid.stderr
        told: dict[str, Any] = socket.receive()["payload"]["data"]["paymentSettled"]["payment"]
    assert told["id"] == payment["id"]
    return told


def test_both_currencies_are_asked_for_paid_and_booked(new_server: Any) -> None:
    server = new_server()
    server.start()

    providers = server.execute(PROVIDERS)["providers"]
    litecoin = settled_by(server, amount=IN_LITECOIN, provider="lnd-ltc", prefix="lnrltc25u1")
    bitcoin = settled_by(server, amount={"sat": "21"}, provider="lnd", prefix="lnbcrt210n1")
    books = server.execute(BOOKS)
    ready = httpx.get(f"{server.url}/ready").json()["rails"]
    doctor = server.run("doctor")

    assert providers == [
        {"name": name, "assetCode": code, "assetScale": 11, "health": {"ready": True, "detail": detail}}
        for name, code, detail in (
            ("lnd", "BTC", "synced on bitcoin regtest"),
            ("lnd-ltc", "LTC", "synced on litecoin regtest"),
            ("cln", "BTC", "synced on bitcoin regtest"),
            ("strike", "BTC", "invoices in BTC on bitcoin regtest"),
        )
    ]
    assert litecoin["received"] == {"value": "2500000", "assetCode": "LTC", "formatted": "0.000025 LTC"}
    assert bitcoin["received"] == {"value": "21000", "assetCode": "BTC", "formatted": "21 sat"}
    assert sorted(books["viewer"]["balances"], key=lambda one: str(one["assetCode"])) == [
        {"value": "21000", "assetCode": "BTC"},
        {"value": "2500000", "assetCode": "LTC"},
    ]
    assert books["reconciliation"]["rails"] == [
        {"provider": "lnd", "complete": True},
        {"provider": "lnd-ltc", "complete": True},
        {"provider": "cln", "complete": True},
        {"provider": "strike", "complete": True},
    ]
    assert books["reconciliation"]["findings"] == []
    assert {name: rail["ready"] for name, rail in ready.items()} == dict.fromkeys(
        ("lnd", "lnd-ltc", "cln", "strike"), True
    )
    assert re.findall(r"ok    rail (\S+): synced on (\S+)", doctor.stdout) == [
        ("lnd", "bitcoin"),
        ("lnd-ltc", "litecoin"),
        ("cln", "bitcoin"),
    ]


def test_a_shop_may_take_litecoin_alone(new_server: Any) -> None:
    sandbox = new_server()
    sandbox.start()
    where = json.loads((sandbox.state_dir / "sandbox" / "rails.json").read_text())["lnd_ltc"]
    settings = {f"QUITTANCE_LND_LTC_{name.upper()}": str(value) for name, value in where.items()}
    alone = new_server(environment=settings)

    alone.start()
    providers = alone.execute("{ providers { name assetCode } }")["providers"]
    made = alone.execute(NEW_INVOICE, {"input": {"amount": IN_LITECOIN}})["generateInvoice"]["payment"]
    refused = alone.execute(
        "mutation { generateInvoice(input: {amount: {sat: 5}}) { ... on UserError { code message } } }"
    )["generateInvoice"]
    merchant = alone.run("merchants", "list")

    assert providers == [{"name": "lnd-ltc", "assetCode": "LTC"}]
    assert made["paymentRequest"].startswith("lnrltc25u1")
    assert refused["code"] == "INVALID_AMOUNT"
    assert "lnd-ltc takes LTC" in refused["message"]
    assert "lnd-ltc" in merchant.stdout
