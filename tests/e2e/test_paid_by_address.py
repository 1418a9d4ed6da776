"""Payers who know an address only, at a running server."""

from typing import Any

import httpx

from quittance.domain.lnurl_pay import MessageAction
from quittance.domain.money import msat
from quittance.providers.lnurl.directory import LnurlDirectory
from quittance.providers.outgoing import LOOPBACK, OutgoingClient, OutgoingRules
from quittance.sandbox.clock import SandboxClock

RULES = OutgoingRules(private_networks=LOOPBACK, plain_http=True)
MERCHANT = "{ viewer { merchant { id } } }"
SET = """
mutation ($input: SetLightningAddressInput!) { setLightningAddress(input: $input) {
  ... on SetLightningAddressSuccess { merchant { lightningAddress } } } }
"""
SETTLED = "subscription { paymentSettled { payment { status description amount { value } received { value } } } }"


async def test_alice_pays_an_address_and_the_merchant_hears_of_it(server: Any) -> None:
    merchant_id = server.execute(MERCHANT)["viewer"]["merchant"]["id"]
    named = server.execute(SET, {"input": {"id": merchant_id, "name": "shop"}})["setLightningAddress"]
    address = named["merchant"]["lightningAddress"]
    clock = SandboxClock(server.state_dir / "sandbox" / "clock.json")

    async with OutgoingClient(RULES) as outgoing:
        directory = LnurlDirectory(outgoing, prefix="bcrt", now=clock.now)
        invoice = await directory.request_invoice(
            await directory.resolve(address), amount=msat(23_456), comment="for the cat"
        )
        with server.socket() as socket:
            socket.subscribe(SETTLED)
            paid = server.pay(invoice.payment_request)
            told = socket.next()["paymentSettled"]["payment"]
        proof = await directory.proof(invoice)

    assert address == f"shop@127.0.0.1:{server.port}"
    assert isinstance(invoice.success_action, MessageAction)
    assert told == {
        "status": "COMPLETE",
        "description": "for the cat",
        "amount": {"value": "23456"},
        "received": {"value": "23456"},
    }
    assert proof is not None
    assert proof.hex() == paid.json()["preimage"]
    assert proof.hex() not in server.log.read_text()
    assert invoice.verify_url is not None
    assert invoice.verify_url.partition("token=")[2] not in server.log.read_text()


def test_no_door_of_payees_redirects(server: Any) -> None:
    for path in (
        "/.well-known/lnurlp/",
        "/.well-known/lnurlp/shop/",
        "/.well-known/lnurlp/a/b/",
        "/lnurl/pay/",
        "/lnurl/pay/shop/?amount=5000",
        "/lnurl/verify?token=x",
    ):
        answer = httpx.get(f"{server.url}{path}", headers={"Origin": "https://wallet.example"})
        assert (answer.status_code, answer.json()["status"]) == (200, "ERROR"), path
        assert answer.headers["access-control-allow-origin"] == "*"


def test_the_sandbox_says_who_can_be_paid_by_address(server: Any) -> None:
    status = httpx.get(f"{server.url}/sandbox").json()
    addresses = {node["name"]: node["lightningAddress"] for node in status["nodes"]}

    offer = httpx.get(f"http://{addresses['bob'].partition('@')[2]}/.well-known/lnurlp/bob").json()

    assert {name for name, address in addresses.items() if address is not None} == {"alice", "bob", "carol"}
    assert offer["tag"] == "payRequest"
