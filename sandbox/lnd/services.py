"""What each call does at a node: LND's services, without their transport."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import grpc
from google.protobuf.message import Message

from quittance.domain import bolt11
from quittance.providers.lnd._proto import invoicesrpc_pb2 as invoices
from quittance.providers.lnd._proto import lnrpc_pb2 as ln
from quittance.providers.lnd._proto import routerrpc_pb2 as router
from quittance.providers.lnd._proto import staterpc_pb2 as state
from quittance.sandbox.lnd import paying
from quittance.sandbox.lnd.chains import NETWORK
from quittance.sandbox.lnd.invoices import HASH_BYTES, InvoiceOrder, order_from
from quittance.sandbox.lnd.keys import recover_signer
from quittance.sandbox.lnd.network import Network
from quittance.sandbox.lnd.node import SandboxNode
from quittance.sandbox.lnd.records import MSAT_PER_SAT, InvoiceRecord, block_height
from quittance.sandbox.lnd.refusals import Refused
from quittance.sandbox.lnd.streams import InvoiceListener

_PAGE_SIZE: Final = 100
_FAR_SIDE_MSAT: Final = 1_000 * 10**11
_FINAL_STATES: Final = (ln.Invoice.SETTLED, ln.Invoice.CANCELED)
_PENDING_STATES: Final = (ln.Invoice.OPEN, ln.Invoice.ACCEPTED)
_FEATURE_NAMES: Final = {8: "tlv-onion", 14: "payment-addr", 16: "multi-path-payments", 48: "payment-metadata"}


@dataclass(frozen=True, slots=True)
class At:
    """Where a call arrives."""

    network: Network
    node: SandboxNode


def _add_invoice(at: At, request: ln.Invoice) -> ln.AddInvoiceResponse:
    record = at.network.add_invoice(at.node, order_from(request))
    return ln.AddInvoiceResponse(
        r_hash=record.payment_hash,
        payment_request=record.payment_request,
        add_index=record.add_index,
        payment_addr=record.payment_addr,
    )


def _add_hold_invoice(at: At, request: invoices.AddHoldInvoiceRequest) -> invoices.AddHoldInvoiceResp:
    if len(request.hash) != HASH_BYTES:
        raise Refused(f"invalid hash length of {len(request.hash)}, want {HASH_BYTES}")
    if request.hash == sha256(bytes(HASH_BYTES)).digest():
        raise Refused("cannot use the hash of the all-zeroes preimage")
    record = at.network.add_invoice(
        at.node,
        InvoiceOrder(
            memo=request.memo,
            value=request.value,
            value_msat=request.value_msat,
            description_hash=request.description_hash,
            expiry_s=request.expiry,
            cltv_expiry=request.cltv_expiry,
            private=request.private,
            payment_hash=request.hash,
            preimage=b"",
        ),
    )
    return invoices.AddHoldInvoiceResp(
        payment_request=record.payment_request, add_index=record.add_index, payment_addr=record.payment_addr
    )


def _lookup_invoice(at: At, request: ln.PaymentHash) -> ln.Invoice:
    try:
        payment_hash = bytes.fromhex(request.r_hash_str) if request.r_hash_str else request.r_hash
    except ValueError as error:
        raise Refused("encoding/hex: invalid byte") from error
    if payment_hash and len(payment_hash) != HASH_BYTES:
        raise Refused(f"payment hash must be exactly 32 bytes, is instead {len(payment_hash)}")
    return at.node.invoices.find(payment_hash, code=grpc.StatusCode.NOT_FOUND).to_message()


def _lookup_invoice_v2(at: At, request: invoices.LookupInvoiceMsg) -> ln.Invoice:
    match request.WhichOneof("invoice_ref"):
        case "payment_hash":
            if len(request.payment_hash) != HASH_BYTES:
                raise Refused("unable to parse pay hash: invalid hash length", grpc.StatusCode.INVALID_ARGUMENT)
            return at.node.invoices.find(request.payment_hash, code=grpc.StatusCode.NOT_FOUND).to_message()
        case "payment_addr":
            return at.node.invoices.find_by_addr(request.payment_addr).to_message()
        case "set_id":
            raise Refused("unable to locate invoice", grpc.StatusCode.NOT_FOUND)
        case _:
            raise Refused("invoice ref must be set", grpc.StatusCode.INVALID_ARGUMENT)


def _list_invoices(at: At, request: ln.ListInvoiceRequest) -> ln.ListInvoiceResponse:
    def wanted(record: InvoiceRecord) -> bool:
        return (
            (not request.pending_only or record.state in _PENDING_STATES)
            and record.created_at_s >= request.creation_date_start
            and (not request.creation_date_end or record.created_at_s <= request.creation_date_end)
        )

    page = at.node.invoices.page(
        offset=request.index_offset,
        size=request.num_max_invoices or _PAGE_SIZE,
        backwards=request.reversed,
        wanted=wanted,
    )
    return ln.ListInvoiceResponse(
        invoices=[record.to_message() for record in page],
        first_index_offset=page[0].add_index if page else 0,
        last_index_offset=page[-1].add_index if page else 0,
    )


def _settle_invoice(at: At, request: invoices.SettleInvoiceMsg) -> invoices.SettleInvoiceResp:
    if len(request.preimage) != HASH_BYTES:
        raise Refused(f"invalid preimage length of {len(request.preimage)}, want {HASH_BYTES}")
    at.network.settle_held(at.node, request.preimage)
    return invoices.SettleInvoiceResp()


def _cancel_invoice(at: At, request: invoices.CancelInvoiceMsg) -> invoices.CancelInvoiceResp:
    if len(request.payment_hash) != HASH_BYTES:
        raise Refused(f"invalid hash length of {len(request.payment_hash)}, want {HASH_BYTES}")
    at.network.cancel(at.node, request.payment_hash)
    return invoices.CancelInvoiceResp()


def _decode_pay_req(_: At, request: ln.PayReqString) -> ln.PayReq:
    invoice = paying.read_invoice(request.pay_req)
    return ln.PayReq(
        destination=invoice.payee,
        payment_hash=invoice.payment_hash,
        num_satoshis=(invoice.amount_msat or 0) // MSAT_PER_SAT,
        num_msat=invoice.amount_msat or 0,
        timestamp=invoice.timestamp,
        expiry=invoice.expiry_s,
        description=invoice.description or "",
        description_hash=invoice.description_hash or "",
        cltv_expiry=invoice.min_final_cltv_delta,
        payment_addr=bytes.fromhex(invoice.payment_secret or ""),
        features={bit: _feature(bit) for bit in invoice.features},
        route_hints=[ln.RouteHint(hop_hints=[_hop(hop) for hop in way]) for way in invoice.route_hints],
    )


def _feature(bit: int) -> ln.Feature:
    name = _FEATURE_NAMES.get(bit & ~1, "unknown")
    return ln.Feature(name=name, is_required=bit % 2 == 0, is_known=name != "unknown")


def _hop(hop: bolt11.RouteHop) -> ln.HopHint:
    return ln.HopHint(
        node_id=hop.node,
        chan_id=hop.channel,
        fee_base_msat=hop.fee_base_msat,
        fee_proportional_millionths=hop.fee_ppm,
        cltv_expiry_delta=hop.cltv_delta,
    )


def _get_info(at: At, _: ln.GetInfoRequest) -> ln.GetInfoResponse:
    height = block_height(at.network.now_s())
    chain = at.network.chain
    others = len(at.network.nodes) - 1
    return ln.GetInfoResponse(
        identity_pubkey=at.node.pubkey,
        alias=at.node.name,
        num_active_channels=others,
        num_peers=others,
        block_height=height,
        block_hash=sha256(height.to_bytes(4)).hexdigest(),
        synced_to_chain=True,
        synced_to_graph=True,
        wallet_synced=True,
        best_header_timestamp=at.network.now_s(),
        version=chain.version,
        commit_hash=sha256(chain.version.encode()).hexdigest()[:40],
        color="#3399ff",
        chains=[ln.Chain(chain=chain.name, network=NETWORK)],
    )


def _sign_message(at: At, request: ln.SignMessageRequest) -> ln.SignMessageResponse:
    if not request.msg:
        raise Refused("need a message to sign")
    return ln.SignMessageResponse(signature=at.node.key.sign_message(request.msg, single_hash=request.single_hash))


def _verify_message(at: At, request: ln.VerifyMessageRequest) -> ln.VerifyMessageResponse:
    if not request.msg:
        raise Refused("need a message to verify")
    try:
        signer = recover_signer(request.msg, request.signature)
    except ValueError as error:
        raise Refused(f"failed to decode signature: {error}") from error
    if signer is None:
        return ln.VerifyMessageResponse(valid=False)
    return ln.VerifyMessageResponse(valid=at.network.node_at(signer) is not None, pubkey=signer.hex())


def _channel_balance(at: At, _: ln.ChannelBalanceRequest) -> ln.ChannelBalanceResponse:
    local = at.node.balance_msat
    held = sum(one.paid_msat for one in at.node.invoices.values() if one.state == ln.Invoice.ACCEPTED)
    return ln.ChannelBalanceResponse(
        balance=local // MSAT_PER_SAT,
        local_balance=_amount(local),
        remote_balance=_amount(max(0, _FAR_SIDE_MSAT - local)),
        unsettled_local_balance=_amount(0),
        unsettled_remote_balance=_amount(held),
    )


def _amount(value_msat: int) -> ln.Amount:
    return ln.Amount(sat=value_msat // MSAT_PER_SAT, msat=value_msat)


def _get_state(at: At, _: state.GetStateRequest) -> state.GetStateResponse:
    if at.node.earns and at.network.faults.is_armed(at.network.chain.rail, "locked"):
        return state.GetStateResponse(state=state.LOCKED)
    return state.GetStateResponse(state=state.SERVER_ACTIVE)


async def _subscribe_invoices(at: At, request: ln.InvoiceSubscription) -> AsyncGenerator[ln.Invoice, None]:
    listener = InvoiceListener(add_index=request.add_index, settle_index=request.settle_index)
    if request.add_index:
        listener.replay(at.node.invoices.added_since(request.add_index))
    if request.settle_index:
        listener.replay(at.node.invoices.settled_since(request.settle_index))
    with at.node.listeners.listening(listener):
        while True:
            yield (await listener.next()).to_message()


async def _subscribe_single_invoice(
    at: At, request: invoices.SubscribeSingleInvoiceRequest
) -> AsyncGenerator[ln.Invoice, None]:
    if len(request.r_hash) != HASH_BYTES:
        raise Refused(f"invalid hash length of {len(request.r_hash)}, want {HASH_BYTES}")
    with at.node.listeners.invoice(request.r_hash) as changes:
        record = at.node.invoices.get(request.r_hash) or await changes.get()
        yield record.to_message()
        while record.state not in _FINAL_STATES:
            record = await changes.get()
            yield record.to_message()


async def _send_payment(at: At, request: router.SendPaymentRequest) -> AsyncGenerator[ln.Payment, None]:
    order = paying.order_from(request, chain=at.network.chain, now_s=at.network.now_s())
    payment = paying.start(at.network, at.node, order)
    if not request.no_inflight_updates and payment.is_final:
        in_flight = payment.to_message()
        in_flight.status, in_flight.failure_reason = ln.Payment.IN_FLIGHT, ln.FAILURE_REASON_NONE
        in_flight.payment_preimage, in_flight.fee_msat, in_flight.fee_sat, in_flight.fee = bytes(32).hex(), 0, 0, 0
        yield in_flight
    async with aclosing(paying.follow(at.node, order.payment_hash)) as changes:
        async for change in changes:
            if change.is_final or not request.no_inflight_updates:
                yield change.to_message()


async def _track_payment(at: At, request: router.TrackPaymentRequest) -> AsyncGenerator[ln.Payment, None]:
    if len(request.payment_hash) != HASH_BYTES:
        raise Refused(f"invalid hash length of {len(request.payment_hash)}, want {HASH_BYTES}")
    async with aclosing(paying.follow(at.node, request.payment_hash)) as changes:
        async for change in changes:
            if change.is_final or not request.no_inflight_updates:
                yield change.to_message()


UNARY: Final[Mapping[str, Callable[[At, Any], Message]]] = {
    "/lnrpc.Lightning/AddInvoice": _add_invoice,
    "/lnrpc.Lightning/LookupInvoice": _lookup_invoice,
    "/lnrpc.Lightning/ListInvoices": _list_invoices,
    "/lnrpc.Lightning/DecodePayReq": _decode_pay_req,
    "/lnrpc.Lightning/GetInfo": _get_info,
    "/lnrpc.Lightning/SignMessage": _sign_message,
    "/lnrpc.Lightning/VerifyMessage": _verify_message,
    "/lnrpc.Lightning/ChannelBalance": _channel_balance,
    "/lnrpc.State/GetState": _get_state,
    "/invoicesrpc.Invoices/AddHoldInvoice": _add_hold_invoice,
    "/invoicesrpc.Invoices/SettleInvoice": _settle_invoice,
    "/invoicesrpc.Invoices/CancelInvoice": _cancel_invoice,
    "/invoicesrpc.Invoices/LookupInvoiceV2": _lookup_invoice_v2,
}

STREAMS: Final[Mapping[str, Callable[[At, Any], AsyncGenerator[Any, None]]]] = {
    "/lnrpc.Lightning/SubscribeInvoices": _subscribe_invoices,
    "/invoicesrpc.Invoices/SubscribeSingleInvoice": _subscribe_single_invoice,
    "/routerrpc.Router/SendPaymentV2": _send_payment,
    "/routerrpc.Router/TrackPaymentV2": _track_payment,
}
