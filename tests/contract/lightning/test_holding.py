"""What every rail that holds must do: lock what is paid, know no preimage before it is told, end each hold once."""

from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256

import pytest
from pydantic import SecretStr

from quittance.domain.bolt11 import decode
from quittance.domain.errors import InvoiceRejected, ProviderUnavailable
from quittance.domain.ids import Preimage
from quittance.domain.money import msat
from quittance.providers.base import HoldsInvoices, InvoiceRequest, InvoiceStatus
from quittance.providers.lightning import signer
from quittance.providers.lnd.channel import LndConnection, open_channel
from quittance.providers.lnd.provider import LndProvider
from quittance.sandbox.rails import SandboxRails, SandboxRefused

PREIMAGE = Preimage(b"\x05" * 32)
HASH = sha256(PREIMAGE).digest()
REFERENCE = HASH.hex()
ORDER = InvoiceRequest(amount=msat(21_000), description="order 1", expires_in_s=600, preimage=PREIMAGE)
START_MSAT = 10 * 10**11


@pytest.fixture
async def holding(rails: SandboxRails) -> AsyncIterator[LndProvider]:
    where = rails.lnd
    connection = LndConnection(
        address=where.address,
        tls_cert=where.tls_cert_path.read_bytes(),
        macaroon=SecretStr(where.macaroon_path.read_bytes().hex()),
    )
    provider = LndProvider(open_channel(connection), network="regtest", timeout_s=2)
    yield provider
    await provider.aclose()


async def lock(rails: SandboxRails, holding: LndProvider) -> None:
    invoice = await holding.create_held_invoice(ORDER)
    assert invoice.payment_request is not None
    with pytest.raises(SandboxRefused, match="in flight"):
        await rails.pay(invoice.payment_request, wait_s=0.01)


async def test_an_invoice_that_holds_is_made_as_asked(rails: SandboxRails, holding: LndProvider) -> None:
    first = await holding.create_held_invoice(ORDER)
    again = await holding.create_held_invoice(ORDER)

    assert isinstance(holding, HoldsInvoices)
    assert (first.reference, first.status, first.received) == (REFERENCE, InvoiceStatus.OPEN, None)
    assert again == first
    made = rails.nodes["merchant"].invoices[HASH]
    assert (made.hold, made.preimage, made.value_msat, made.memo) == (True, b"", 21_000, "order 1")


async def test_an_invoice_that_holds_is_bound_to_a_text_by_its_hash(rails: SandboxRails, holding: LndProvider) -> None:
    invoice = await holding.create_held_invoice(replace(ORDER, described_by="one text"))

    decoded = decode(invoice.payment_request or "", recover=signer)
    assert (decoded.description, decoded.description_hash) == (None, sha256(b"one text").hexdigest())
    assert rails.nodes["merchant"].invoices[HASH].hold


async def test_money_is_held_until_it_is_taken(rails: SandboxRails, holding: LndProvider) -> None:
    await lock(rails, holding)

    held = await holding.lookup_invoice(REFERENCE)
    balance_msat = rails.nodes["merchant"].balance_msat
    taken = await holding.settle_invoice(PREIMAGE)
    again = await holding.settle_invoice(PREIMAGE)

    assert (held.status, held.received, held.settled_at) == (InvoiceStatus.HELD, None, None)
    assert balance_msat == 0
    assert (taken.status, taken.received) == (InvoiceStatus.SETTLED, msat(21_000))
    assert again == taken
    assert (await holding.cancel_invoice(REFERENCE)).status is InvoiceStatus.SETTLED
    assert rails.nodes["merchant"].balance_msat == 21_000


async def test_money_that_is_given_back_cannot_be_taken(rails: SandboxRails, holding: LndProvider) -> None:
    await lock(rails, holding)

    given_back = await holding.cancel_invoice(REFERENCE)
    late = await holding.settle_invoice(PREIMAGE)

    assert given_back.status is late.status is InvoiceStatus.CANCELED
    assert rails.nodes["merchant"].balance_msat == 0
    assert rails.nodes["alice"].balance_msat == START_MSAT


async def test_nothing_is_taken_where_nothing_is_held(rails: SandboxRails, holding: LndProvider) -> None:
    unknown = await holding.settle_invoice(PREIMAGE)
    await holding.create_held_invoice(ORDER)
    unpaid = await holding.settle_invoice(PREIMAGE)

    assert (unknown.reference, unknown.status) == (REFERENCE, InvoiceStatus.MISSING)
    assert unpaid.status is InvoiceStatus.OPEN
    assert rails.nodes["merchant"].invoices[HASH].preimage == b""


@pytest.mark.parametrize(("fault", "status"), [("lost_answer", "SETTLED"), ("unavailable", "HELD")])
async def test_a_lost_answer_is_an_unknown_outcome(
    rails: SandboxRails, holding: LndProvider, fault: str, status: str
) -> None:
    await lock(rails, holding)
    await rails.faults.arm("lnd", fault, method="SettleInvoice")

    with pytest.raises(ProviderUnavailable):
        await holding.settle_invoice(PREIMAGE)

    assert (await holding.lookup_invoice(REFERENCE)).status.value == status


async def test_a_lost_answer_to_the_making_is_found_by_the_same_preimage(
    rails: SandboxRails, holding: LndProvider
) -> None:
    await rails.faults.arm("lnd", "lost_answer", method="AddHoldInvoice")
    with pytest.raises(ProviderUnavailable):
        await holding.create_held_invoice(ORDER)

    assert (await holding.create_held_invoice(ORDER)).status is InvoiceStatus.OPEN
    assert len(rails.nodes["merchant"].invoices) == 1


@pytest.mark.parametrize("value", [0, -1])
async def test_an_amount_that_lets_the_payer_choose_is_never_held(
    rails: SandboxRails, holding: LndProvider, value: int
) -> None:
    order = InvoiceRequest(amount=msat(value), description="", expires_in_s=60, preimage=PREIMAGE)

    with pytest.raises(InvoiceRejected):
        await holding.create_held_invoice(order)

    assert len(rails.nodes["merchant"].invoices) == 0
