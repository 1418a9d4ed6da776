"""Our messages against bytes that the official definitions wrote."""

from types import ModuleType

import pytest
from google.protobuf.message import Message

from quittance.providers.lnd._proto import invoicesrpc_pb2, lnrpc_pb2, routerrpc_pb2, staterpc_pb2

SETTLED = lnrpc_pb2.Invoice.SETTLED
SUCCEEDED = lnrpc_pb2.Payment.SUCCEEDED


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (lnrpc_pb2.Invoice(memo="order 1", value=1000, expiry=600), "0a076f72646572203128e80758d804"),
        (lnrpc_pb2.Invoice(memo="order 1", value_msat=1500, expiry=600), "0a076f72646572203158d804b801dc0b"),
        (lnrpc_pb2.InvoiceSubscription(add_index=7, settle_index=300), "080710ac02"),
        (lnrpc_pb2.Invoice(amt_paid_msat=1000, state=SETTLED), "a001e807a80101"),
        (
            routerrpc_pb2.SendPaymentRequest(
                payment_request="lnbcrt1", timeout_seconds=60, fee_limit_msat=5000, no_inflight_updates=True
            ),
            "2a076c6e6263727431303c688827900101",
        ),
        (lnrpc_pb2.Payment(payment_preimage="00", status=SUCCEEDED, fee_msat=5), "3202303050026005"),
        (lnrpc_pb2.VerifyMessageRequest(msg=b"hi", signature="abc"), "0a0268691203616263"),
    ],
)
def test_a_message_has_the_bytes_of_the_official_definition(message: Message, wire: str) -> None:
    assert message.SerializeToString(deterministic=True).hex() == wire
    assert type(message).FromString(bytes.fromhex(wire)) == message


def test_fields_that_newer_nodes_send_are_skipped() -> None:
    newer = bytes.fromhex("a001e807a80101") + bytes.fromhex("f20100") + bytes.fromhex("ba3e03abcdef")

    invoice = lnrpc_pb2.Invoice.FromString(newer)

    assert (invoice.amt_paid_msat, invoice.state) == (1000, SETTLED)


@pytest.mark.parametrize(
    ("module", "service", "methods"),
    [
        (
            lnrpc_pb2,
            "lnrpc.Lightning",
            {"AddInvoice", "LookupInvoice", "ListInvoices", "SubscribeInvoices", "GetInfo"},
        ),
        (staterpc_pb2, "lnrpc.State", {"GetState"}),
        (routerrpc_pb2, "routerrpc.Router", {"SendPaymentV2", "TrackPaymentV2"}),
        (invoicesrpc_pb2, "invoicesrpc.Invoices", {"CancelInvoice"}),
    ],
)
def test_the_calls_have_the_official_paths(module: ModuleType, service: str, methods: set[str]) -> None:
    found = {entry.full_name: set(entry.methods_by_name) for entry in module.DESCRIPTOR.services_by_name.values()}

    assert methods <= found[service]
