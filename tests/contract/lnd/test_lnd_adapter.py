"""Invoices of the LND adapter, against a node that answers well, badly, or not at all."""

import datetime as dt
from dataclasses import replace
from hashlib import sha256
from typing import Any

import grpc
import grpc.aio
import pytest

from quittance.domain.bolt11 import decode
from quittance.domain.errors import InvoiceRejected, ProviderMisconfigured, ProviderUnavailable, QuittanceError
from quittance.domain.ids import Preimage
from quittance.domain.money import BTC_MSAT, msat
from quittance.providers.base import InvoiceRequest, InvoiceStatus, ReceivingProvider, SettlementFeed
from quittance.providers.lightning import signer as recover
from quittance.providers.lnd._proto import lnrpc_pb2
from quittance.providers.lnd.provider import LndProvider

CREATED_AT, SETTLED_AT = 1_700_000_000, 1_700_000_030
INVOICE = lnrpc_pb2.Invoice
PREIMAGE = Preimage(b"\x05" * 32)
REFERENCE = sha256(PREIMAGE).hexdigest()
ORDER = InvoiceRequest(amount=msat(21_000), description="order 1", expires_in_s=600, preimage=PREIMAGE)


def at(seconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, tz=dt.UTC)


def test_the_adapter_has_the_shape_of_both_ports(lnd: LndProvider) -> None:
    receiving: ReceivingProvider = lnd
    feed: SettlementFeed = lnd

    assert (receiving.name, receiving.asset) == ("lnd", BTC_MSAT)
    assert callable(feed.settlements)


async def test_an_invoice_is_bound_to_a_text_by_its_hash(lnd: LndProvider, node: Any) -> None:
    bound = replace(ORDER, described_by='[["text/plain","Pay alice"]]')

    invoice = await lnd.create_invoice(bound)
    again = await lnd.create_invoice(bound)

    decoded = decode(invoice.payment_request or "", recover=recover)
    assert decoded.description is None
    assert decoded.description_hash == sha256(b'[["text/plain","Pay alice"]]').hexdigest()
    assert (again, node.invoices[0].memo) == (invoice, "order 1")


@pytest.mark.parametrize("described_by", [None, "another text"])
async def test_an_invoice_bound_to_something_else_for_the_same_preimage_is_refused(
    lnd: LndProvider, node: Any, described_by: str | None
) -> None:
    node.add(PREIMAGE, bound_to=sha256(b"one text").digest())

    with pytest.raises(InvoiceRejected, match="something else"):
        await lnd.create_invoice(replace(ORDER, described_by=described_by))


async def test_a_node_that_binds_to_nothing_is_not_handed_out(lnd: LndProvider, node: Any) -> None:
    node.add(PREIMAGE, memo="order 1")

    with pytest.raises(InvoiceRejected, match="something else"):
        await lnd.create_invoice(replace(ORDER, described_by="one text"))


async def test_a_drawn_twice_payment_address_is_drawn_again(lnd: LndProvider, node: Any) -> None:
    node.refuse_once("AddInvoice", "invoice with payemnt addr already exists")

    assert (await lnd.create_invoice(ORDER)).reference == REFERENCE
    assert node.calls == ["AddInvoice", "AddInvoice"]


async def test_what_is_no_invoice_is_not_handed_out(lnd: LndProvider, node: Any) -> None:
    node.answer_with("AddInvoice", lnrpc_pb2.AddInvoiceResponse(payment_request="lnbcrt1garbage"))

    with pytest.raises(ProviderMisconfigured, match="broken invoice"):
        await lnd.create_invoice(ORDER)


@pytest.mark.parametrize(
    ("prefix", "terms", "error"),
    [
        ("bcrt", {"preimage": b"\x06" * 32}, ProviderMisconfigured),
        ("bc", {"preimage": PREIMAGE}, ProviderMisconfigured),
        ("bcrt", {"preimage": PREIMAGE, "amount_msat": 20_000}, InvoiceRejected),
    ],
    ids=["another hash", "another network", "another amount"],
)
async def test_an_invoice_of_other_terms_is_not_handed_out(
    lnd: LndProvider, node: Any, prefix: str, terms: dict[str, Any], error: type[QuittanceError]
) -> None:
    node.prefix = prefix
    made = node.add(**terms)
    node.answer_with("AddInvoice", lnrpc_pb2.AddInvoiceResponse(payment_request=made.payment_request))

    with pytest.raises(error):
        await lnd.create_invoice(ORDER)


@pytest.mark.parametrize("call", ["create", "look up", "cancel"])
@pytest.mark.parametrize(
    ("text", "code", "error"),
    [
        ("wallet locked, unlock it to enable full RPC access", grpc.StatusCode.UNKNOWN, ProviderUnavailable),
        ("permission denied", grpc.StatusCode.UNKNOWN, ProviderMisconfigured),
        ("verification failed: signature mismatch", grpc.StatusCode.UNKNOWN, ProviderMisconfigured),
        ("unknown service", grpc.StatusCode.UNIMPLEMENTED, ProviderMisconfigured),
        ("", grpc.StatusCode.CANCELLED, ProviderUnavailable),
        ("internal server error", grpc.StatusCode.INTERNAL, ProviderUnavailable),
    ],
)
async def test_a_refused_call_raises_our_error(
    lnd: LndProvider, node: Any, call: str, text: str, code: grpc.StatusCode, error: type[QuittanceError]
) -> None:
    for name in ("AddInvoice", "LookupInvoice", "CancelInvoice"):
        node.refuse(name, text, code)

    with pytest.raises(error):
        await _do(lnd, call)


async def _do(lnd: LndProvider, call: str) -> Any:
    if call == "create":
        return await lnd.create_invoice(ORDER)
    return await (lnd.lookup_invoice(REFERENCE) if call == "look up" else lnd.cancel_invoice(REFERENCE))


@pytest.mark.parametrize("call", ["create", "look up", "cancel"])
async def test_a_node_that_hangs_is_unavailable(lnd: LndProvider, node: Any, call: str) -> None:
    lnd._node._timeout_s = 0.05
    for name in ("AddInvoice", "LookupInvoice", "CancelInvoice"):
        node.hang_on(name)

    with pytest.raises(ProviderUnavailable):
        await _do(lnd, call)


async def test_bytes_that_are_no_message_are_noticed(lnd: LndProvider, node: Any) -> None:
    node.answer_with("LookupInvoice", b"\xff\xff\xff")

    with pytest.raises(ProviderMisconfigured, match="protocol"):
        await lnd.lookup_invoice(REFERENCE)


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (INVOICE.OPEN, InvoiceStatus.OPEN),
        (INVOICE.ACCEPTED, InvoiceStatus.HELD),
        (INVOICE.CANCELED, InvoiceStatus.CANCELED),
    ],
)
async def test_only_the_state_says_that_an_invoice_is_paid(
    lnd: LndProvider, node: Any, state: Any, status: InvoiceStatus
) -> None:
    invoice = node.add(PREIMAGE)
    invoice.state, invoice.settled, invoice.amt_paid_msat, invoice.settle_date = state, True, 21_000, SETTLED_AT

    found = await lnd.lookup_invoice(REFERENCE)

    assert (found.status, found.received, found.settled_at) == (status, None, None)


@pytest.mark.parametrize("change", [{"state": 9}, {"r_hash": bytes(32)}, {"creation_date": 2**62}])
async def test_an_answer_that_makes_no_sense_is_not_believed(
    lnd: LndProvider, node: Any, change: dict[str, Any]
) -> None:
    broken = INVOICE.FromString(node.add(PREIMAGE).SerializeToString())
    for name, value in change.items():
        setattr(broken, name, value)
    node.answer_with("LookupInvoice", broken)

    with pytest.raises(ProviderMisconfigured):
        await lnd.lookup_invoice(REFERENCE)
