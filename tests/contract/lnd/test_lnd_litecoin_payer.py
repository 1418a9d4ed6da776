"""A payer on a Litecoin node: amounts, fees and invoices are of that coin alone."""

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest
from pydantic import SecretStr
from tests.contract.conftest import Connect, NodeClient

from quittance.domain.ids import Preimage
from quittance.domain.money import BTC_MSAT, LTC_LITOSHI, LTC_MSAT, Money
from quittance.domain.outgoing_errors import SendRefused
from quittance.providers.base import KeysendRequest, SendRequest, SentStatus
from quittance.providers.lnd._proto import lnrpc_pb2
from quittance.providers.lnd.channel import LndConnection, open_channel
from quittance.providers.lnd.currencies import BITCOIN, LITECOIN
from quittance.providers.lnd.payer import LndPayer
from quittance.sandbox.lnd.paying import route_fee_msat
from quittance.sandbox.rails import SandboxRails

FEE_MAX = Money(10, LTC_LITOSHI)
EARNED = 50_000_000


@pytest.fixture
async def payer(rails: SandboxRails, connect: Connect) -> AsyncIterator[LndPayer]:
    """The merchant's Litecoin node, which has earned something."""
    where = rails.lnd_ltc
    assert where.spend_macaroon_path is not None
    connection = LndConnection(
        address=where.address,
        tls_cert=where.tls_cert_path.read_bytes(),
        macaroon=SecretStr(where.spend_macaroon_path.read_bytes().hex()),
    )
    await rails.pay(await invoice(connect("merchant-ltc"), value_msat=EARNED))
    opened = LndPayer(open_channel(connection), network="regtest", name="lnd-ltc", timeout_s=2, currency=LITECOIN)
    yield opened
    await opened.aclose()


async def invoice(node: NodeClient, *, value_msat: int) -> str:
    answer = await node.lightning.AddInvoice(lnrpc_pb2.Invoice(value_msat=value_msat), metadata=node.auth)
    return str(answer.payment_request)


def order(payment_request: str, **more: Any) -> SendRequest:
    return SendRequest(payment_request=payment_request, **{"amount": None, "fee_max": FEE_MAX} | more)


async def test_litecoin_is_paid_and_told_in_litecoin(rails: SandboxRails, connect: Connect, payer: LndPayer) -> None:
    asked = await invoice(connect("dave"), value_msat=1_234_000)
    open_one = await invoice(connect("dave"), value_msat=0)
    before = rails.nodes["dave"].balance_msat

    named = await payer.send(order(asked))
    chosen = await payer.send(order(open_one, amount=Money(7, LTC_LITOSHI)))

    fee = Money(route_fee_msat(1_234_000), LTC_MSAT)
    assert payer.asset == LTC_MSAT
    assert (named.status, named.amount, named.fee) == (SentStatus.SUCCEEDED, Money(1_234_000, LTC_MSAT), fee)
    assert (chosen.status, chosen.amount) == (SentStatus.SUCCEEDED, Money(7_000, LTC_MSAT))
    assert rails.nodes["dave"].balance_msat == before + 1_241_000
    assert await payer.lookup_sent(named.reference) == named
    assert (await payer.paying_health()).ready


async def test_a_node_is_paid_without_an_invoice_in_litecoin(rails: SandboxRails, payer: LndPayer) -> None:
    before = rails.nodes["dave"].balance_msat

    sent = await payer.keysend(
        KeysendRequest(
            destination=rails.nodes["dave"].pubkey,
            amount=Money(3, LTC_LITOSHI),
            fee_max=FEE_MAX,
            preimage=Preimage(b"\x05" * 32),
        )
    )

    assert (sent.status, sent.amount) == (SentStatus.SUCCEEDED, Money(3_000, LTC_MSAT))
    assert rails.nodes["dave"].balance_msat == before + 3_000


async def test_what_was_paid_is_not_paid_again_though_an_old_node_says_it_in_words(
    rails: SandboxRails, connect: Connect, payer: LndPayer
) -> None:
    asked = await invoice(connect("dave"), value_msat=1_000)
    before = rails.nodes["dave"].balance_msat

    first, again = await payer.send(order(asked)), await payer.send(order(asked))

    assert first == again
    assert rails.nodes["dave"].balance_msat == before + 1_000


async def test_an_invoice_in_bitcoin_is_refused_before_the_node_sees_it(
    rails: SandboxRails, connect: Connect, payer: LndPayer
) -> None:
    asked = await invoice(connect("bob"), value_msat=1_000)

    with pytest.raises(SendRefused, match="another network than litecoin regtest"):
        await payer.send(order(asked))

    assert dict(rails.nodes["merchant-ltc"].payments) == {}
    assert rails.nodes["merchant-ltc"].balance_msat == EARNED


@pytest.mark.parametrize("wrong", [{"fee_max": Money(10_000, BTC_MSAT)}, {"amount": Money(10_000, BTC_MSAT)}])
async def test_bitcoin_is_no_amount_and_no_fee_on_a_rail_of_litecoin(
    rails: SandboxRails, connect: Connect, payer: LndPayer, wrong: dict[str, Money]
) -> None:
    asked = await invoice(connect("dave"), value_msat=0 if "amount" in wrong else 1_000)

    with pytest.raises(ValueError, match="without a rate"):
        await payer.send(order(asked, **wrong))

    assert dict(rails.nodes["merchant-ltc"].payments) == {}


@pytest.mark.parametrize(
    ("currency", "network"), [(one, network) for one in (BITCOIN, LITECOIN) for network in one.prefixes]
)
async def test_a_payer_pays_no_invoice_of_another_network(connect: Connect, currency: Any, network: str) -> None:
    if (currency, network) == (LITECOIN, "regtest"):
        asked, own = await invoice(connect("bob"), value_msat=1_000), "lnbcrt"
    else:
        asked, own = await invoice(connect("dave"), value_msat=1_000), "lnrltc"
    elsewhere = LndPayer(grpc.aio.insecure_channel("127.0.0.1:1"), network=network, currency=currency)  # nobody there

    assert asked.startswith(own)
    with pytest.raises(SendRefused, match=f"another network than {currency.chain} {network}"):
        await elsewhere.send(order(asked, fee_max=Money(1, currency.asset)))
    await elsewhere.aclose()
