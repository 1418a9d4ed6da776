"""What the connected rails can do, as a client sees it; and what a rail that pays does to the books of sales."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from pydantic import SecretStr

from quittance.domain.ids import Preimage
from quittance.domain.money import msat
from quittance.providers.base import FeedPosition, KeysendRequest, Settlement
from quittance.providers.lnd.channel import LndConnection, open_channel
from quittance.providers.lnd.payer import LndPayer
from quittance.providers.lnd.provider import LndProvider
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
    paying = shop.with_services(replace(shop.services, payers={"lnd": payer}))

    assert "SEND" not in (await shop.run(PROVIDERS))["providers"][0]["capabilities"]
    assert await paying.run(PROVIDERS) == {"providers": [{"name": "lnd", "capabilities": [*RECEIVES, "SEND"]}]}


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
