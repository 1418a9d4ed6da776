"""What the connected rails can do, as a client sees it; and what a rail that pays does to the books of sales."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from pydantic import SecretStr
from tests.contract.conftest import NodeClient

from quittance.domain.ids import Preimage
from quittance.domain.money import msat
from quittance.domain.payment import PaymentStatus
from quittance.providers.base import FeedPosition, KeysendRequest, SendFailure, SendRequest, SentStatus, Settlement
from quittance.providers.lnd._proto import lnrpc_pb2
from quittance.providers.lnd.channel import LndConnection, open_channel
from quittance.providers.lnd.payer import LndPayer
from quittance.providers.lnd.provider import LndProvider
from quittance.resolvers.payments import check_payment
from quittance.sandbox.rails import SandboxRails

PROVIDERS = "{ providers { name capabilities } }"
RECEIVES = ["RECEIVE", "CANCEL", "SETTLEMENT_FEED", "HOLD"]


def payer_of(rails: SandboxRails, node: str) -> LndPayer:
    where = rails.node_coordinates(node, "spend.macaroon")
    connection = LndConnection(
        address=where.address,
        tls_cert=where.tls_cert_path.read_bytes(),
        macaroon=SecretStr(where.macaroon_path.read_bytes().hex()),
    )
    return LndPayer(open_channel(connection), network="regtest", timeout_s=2)


@pytest.fixture
async def payer(rails: SandboxRails) -> AsyncIterator[LndPayer]:
    opened = payer_of(rails, "merchant")
    yield opened
    await opened.aclose()


async def test_only_a_rail_that_may_pay_says_so(shop: Any, payer: LndPayer) -> None:
    receiving = shop.with_services(replace(shop.services, payers={}))
    paying = shop.with_services(replace(shop.services, payers={"lnd": payer}))

    assert await receiving.run(PROVIDERS) == {"providers": [{"name": "lnd", "capabilities": RECEIVES}]}
    assert await paying.run(PROVIDERS) == {"providers": [{"name": "lnd", "capabilities": [*RECEIVES, "SEND"]}]}


async def test_r10_a_merchant_without_a_way_back_to_itself_pays_itself_nothing(till: Any, payer: LndPayer) -> None:
    rich = till.rails.nodes["merchant"]
    await till.rails.pay(await an_invoice(till.rails, value_msat=1_000_000))
    before_msat = rich.balance_msat
    payment_id = (await till.order()).payment.id
    asked = (await till.options(payment_id))[0].payment_request

    sent = await payer.send(SendRequest(payment_request=asked, amount=None, fee_max=msat(5_000)))
    again = await payer.send(SendRequest(payment_request=asked, amount=None, fee_max=msat(5_000)))
    for _ in range(2):
        await check_payment(till.services, till.shop.principal, payment_id, None)

    assert sent == again
    assert (sent.status, sent.failure) == (SentStatus.FAILED, SendFailure.NO_ROUTE)
    assert rich.balance_msat == before_msat
    assert (await till.payment(payment_id)).status is PaymentStatus.PENDING_PAYMENT
    assert await till.balances() == {}


async def an_invoice(rails: SandboxRails, *, value_msat: int) -> str:
    """Return an invoice of the merchant's node that none of our books knows."""
    client = NodeClient(rails.node_coordinates("merchant"))
    made = await client.lightning.AddInvoice(lnrpc_pb2.Invoice(value_msat=value_msat), metadata=client.auth)
    await client.channel.close(None)
    return made.payment_request


async def test_money_that_nobody_asked_for_is_no_sale_and_stops_no_feed(till: Any, lnd: LndProvider) -> None:
    alice = payer_of(till.rails, "alice")
    preimage = Preimage(b"\x05" * 32)
    gift = KeysendRequest(
        destination=till.rails.nodes["merchant"].pubkey, amount=msat(7_000), fee_max=msat(5_000), preimage=preimage
    )
    sold = (await till.order()).payment
    await alice.keysend(gift)
    await till.pay(sold.id)

    told = []
    async with aclosing(lnd.settlements(resume=None)) as feed:
        async for news in feed:
            if isinstance(news, FeedPosition):
                break
            told.append(news)
            await till.report(news)

    assert [type(news) for news in told] == [Settlement, Settlement]
    assert sha256(preimage).hexdigest() in {news.reference for news in told}
    assert (await till.payment(sold.id)).status == "COMPLETE"
    assert sum(entry["value"] for entry in await till.rows("ledger_entry") if entry["value"] > 0) == 5_000
    await alice.aclose()
