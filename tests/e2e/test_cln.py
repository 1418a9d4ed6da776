"""Core Lightning at the running server: a rail beside LND's, and the only one of a shop that has no other node."""

import json
from typing import Any

from typer.testing import CliRunner

from quittance.server.cli import app

NEW_INVOICE = """
mutation ($input: GenerateInvoiceInput!) {
  generateInvoice(input: $input) {
    __typename
    ... on GenerateInvoiceSuccess { payment { id paymentRequest status provider } }
  }
}
"""
SETTLED = "subscription { paymentSettled { payment { id provider status received { value assetCode } } } }"
CANCEL = """
mutation ($id: ID!) {
  cancelPayment(id: $id) { __typename ... on CancelPaymentSuccess { payment { status } } }
}
"""
CANCELED = {"__typename": "CancelPaymentSuccess", "payment": {"status": "CANCELED"}}
BOOKS = "{ viewer { balances { value assetCode } } reconciliation { rails { provider complete } findings { kind } } }"
PROVIDERS = "{ providers { name assetCode health { ready detail } } }"


def asked(server: Any, **terms: str) -> dict[str, Any]:
    made = server.execute(NEW_INVOICE, {"input": {"amount": {"sat": "21"}} | terms})["generateInvoice"]
    payment: dict[str, Any] = made["payment"]
    assert payment["paymentRequest"].startswith("lnbcrt210n1")
    return payment


def paid(payment_request: str, *, at: Any) -> bool:
    return CliRunner().invoke(app, ["sandbox", "pay", payment_request, "--url", at.url]).exit_code == 0


def settings_of(sandbox: Any) -> dict[str, str]:
    """Return the settings with which another server uses the sandbox's node as its own."""
    where = json.loads((sandbox.state_dir / "sandbox" / "rails.json").read_text())["cln"]
    node = {f"QUITTANCE_CLN_{name.upper()}": str(value) for name, value in where.items()}
    return node | {"QUITTANCE_RATES_SOURCES": ""}


def test_invoice_at_core_lightning_is_asked_for_paid_and_booked(new_server: Any) -> None:
    server = new_server()
    server.start()

    with server.socket() as socket:
        socket.send("subscribe", id="s", payload={"query": SETTLED})
        payment = asked(server, provider="cln")
        assert paid(payment["paymentRequest"], at=server)
        told = socket.receive()["payload"]["data"]["paymentSettled"]["payment"]

    default = asked(server)
    assert (payment["provider"], default["provider"]) == ("cln", "lnd")
    assert told == {
        "id": payment["id"],
        "provider": "cln",
        "status": "COMPLETE",
        "received": {"value": "21000", "assetCode": "BTC"},
    }
    books = server.execute(BOOKS)
    assert books["viewer"]["balances"] == [{"value": "21000", "assetCode": "BTC"}]
    assert {"provider": "cln", "complete": True} in books["reconciliation"]["rails"]
    assert books["reconciliation"]["findings"] == []


def test_canceled_invoice_is_not_paid_and_its_payment_stays_canceled(new_server: Any) -> None:
    server = new_server()
    server.start()
    payment = asked(server, provider="cln")

    canceled = server.execute(CANCEL, {"id": payment["id"]})["cancelPayment"]

    assert canceled == CANCELED
    assert not paid(payment["paymentRequest"], at=server)
    assert server.execute(CANCEL, {"id": payment["id"]})["cancelPayment"] == CANCELED
    assert server.execute(BOOKS)["viewer"]["balances"] == []


def test_shop_may_have_core_lightning_alone(new_server: Any) -> None:
    sandbox = new_server()
    sandbox.start()
    alone = new_server(environment=settings_of(sandbox))
    alone.start()

    with alone.socket() as socket:
        socket.send("subscribe", id="s", payload={"query": SETTLED})
        payment = asked(alone)
        assert paid(payment["paymentRequest"], at=sandbox)
        told = socket.receive()["payload"]["data"]["paymentSettled"]["payment"]
    doctor = alone.run("doctor")

    assert (told["id"], told["provider"]) == (payment["id"], "cln")
    assert alone.execute(PROVIDERS)["providers"] == [
        {"name": "cln", "assetCode": "BTC", "health": {"ready": True, "detail": "synced on bitcoin regtest"}}
    ]
    assert "ok    rail cln: synced on bitcoin regtest" in doctor.stdout
    assert "ok    paying from cln: may pay" in doctor.stdout


def test_node_of_another_network_is_refused_before_anything_is_asked_of_it(new_server: Any) -> None:
    sandbox = new_server()
    sandbox.start()

    refused = new_server(environment=settings_of(sandbox) | {"QUITTANCE_CLN_NETWORK": "mainnet"}).run("serve")

    assert refused.returncode == 1
    assert "cln: the node is on bitcoin regtest, we are set to bitcoin mainnet" in refused.stderr
    assert "QUITTANCE_CLN_NETWORK" in refused.stderr
