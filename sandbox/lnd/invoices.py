"""The invoices of one node: what it refuses, what it makes, and how it finds them again."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

import grpc

from quittance.domain import bolt11
from quittance.providers.lnd._proto import lnrpc_pb2 as ln
from quittance.sandbox.lnd.keys import NodeKey
from quittance.sandbox.lnd.records import MSAT_PER_SAT, InvoiceRecord
from quittance.sandbox.lnd.refusals import Refused

HASH_BYTES: Final = 32
_MEMO_BYTES_MAX: Final = 1_024
_VALUE_MSAT_MAX: Final = 100_000 * 10**11
_EXPIRY_S: Final = 86_400
_EXPIRY_S_MAX: Final = 365 * 86_400
_CLTV: Final = 80
_CLTV_MIN: Final = 24
_CLTV_MAX: Final = 65_535
_FEATURES: Final = frozenset({8, 14, 17})


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceOrder:
    """What AddInvoice and AddHoldInvoice ask for. A held one has no preimage yet."""

    memo: str
    value: int
    value_msat: int
    description_hash: bytes
    expiry_s: int
    cltv_expiry: int
    private: bool
    payment_hash: bytes
    preimage: bytes

    @property
    def hold(self) -> bool:
        return not self.preimage


class Invoices(Mapping[bytes, InvoiceRecord]):
    """Invoices by payment hash, in the order in which they were added."""

    def __init__(self, *, node: str, key: NodeKey, prefix: str) -> None:
        self._node = node
        self._key = key
        self._prefix = prefix
        self._by_hash: dict[bytes, InvoiceRecord] = {}
        self._by_addr: dict[bytes, bytes] = {}
        self._settled: dict[int, bytes] = {}
        self._order: list[bytes] = []

    def __getitem__(self, payment_hash: bytes) -> InvoiceRecord:
        return self._by_hash[payment_hash]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._order)

    def __len__(self) -> int:
        return len(self._order)

    def make(self, order: InvoiceOrder, *, now_s: int) -> InvoiceRecord:
        """Return a new invoice, signed, not yet kept.

        Raises:
            Refused: LND would not make it.
        """
        value_msat = amount_msat(order.value, order.value_msat)
        _check(order, value_msat)
        if order.payment_hash in self._by_hash:
            raise Refused("invoice with payment hash already exists")
        record = InvoiceRecord(
            node=self._node,
            add_index=len(self._order) + 1,
            payment_hash=order.payment_hash,
            preimage=order.preimage,
            payment_addr=os.urandom(HASH_BYTES),
            memo=order.memo,
            description_hash=order.description_hash,
            value_msat=value_msat,
            created_at_s=now_s,
            expiry_s=order.expiry_s if order.expiry_s > 0 else _EXPIRY_S,
            cltv_expiry=order.cltv_expiry or _CLTV,
            payment_request="",
            private=order.private,
            hold=order.hold,
        )
        return replace(record, payment_request=self._signed(record))

    def unasked(
        self, *, preimage: bytes, payment_addr: bytes, value_msat: int, custom_records: bytes, now_s: int
    ) -> InvoiceRecord:
        """Return the invoice that a node makes of a payment without one; there is no text to pay it by."""
        return InvoiceRecord(
            node=self._node,
            add_index=len(self._order) + 1,
            payment_hash=sha256(preimage).digest(),
            preimage=preimage,
            payment_addr=payment_addr,
            memo="",
            description_hash=b"",
            value_msat=value_msat,
            created_at_s=now_s,
            expiry_s=_EXPIRY_S,
            cltv_expiry=_CLTV,
            payment_request="",
            private=False,
            hold=False,
            custom_records=custom_records,
        )

    def _signed(self, record: InvoiceRecord) -> str:
        return bolt11.encode(
            bolt11.UnsignedInvoice(
                prefix=self._prefix,
                amount_msat=record.value_msat or None,
                timestamp=record.created_at_s,
                payment_hash=record.payment_hash,
                payment_secret=record.payment_addr,
                description=None if record.description_hash else record.memo,
                description_hash=record.description_hash or None,
                expiry_s=record.expiry_s,
                min_final_cltv_delta=record.cltv_expiry,
                features=_FEATURES,
            ),
            sign=self._key.sign,
        )

    def keep(self, record: InvoiceRecord) -> None:
        """Remember an invoice, or how it stands now. New ones come in the order of their add index."""
        if record.payment_hash not in self._by_hash:
            assert record.add_index == len(self._order) + 1, "add indexes have no gap"
            self._order.append(record.payment_hash)
            self._by_addr[record.payment_addr] = record.payment_hash
        self._by_hash[record.payment_hash] = record
        if record.settle_index:
            self._settled[record.settle_index] = record.payment_hash

    def forget_settle_indexes(self) -> None:
        """Make room for indexes that begin again."""
        self._settled.clear()

    def find(self, payment_hash: bytes, *, code: grpc.StatusCode = grpc.StatusCode.UNKNOWN) -> InvoiceRecord:
        """Return one invoice.

        Raises:
            Refused: there is none.
        """
        record = self._by_hash.get(payment_hash)
        if record is None:
            none = code is grpc.StatusCode.NOT_FOUND and not self._order
            raise Refused("there are no existing invoices" if none else "unable to locate invoice", code)
        return record

    def find_by_addr(self, payment_addr: bytes) -> InvoiceRecord:
        """Return the invoice with this payment address.

        Raises:
            Refused: there is none.
        """
        return self.find(self._by_addr.get(payment_addr, b""), code=grpc.StatusCode.NOT_FOUND)

    def added_since(self, add_index: int) -> Iterator[InvoiceRecord]:
        """Yield what was added after ``add_index``, as it stands now."""
        for payment_hash in self._order[add_index:]:
            yield self._by_hash[payment_hash]

    def settled_since(self, settle_index: int) -> Iterator[InvoiceRecord]:
        """Yield what settled after ``settle_index``, except what the streams must never hear of."""
        for index in range(settle_index + 1, max(self._settled, default=0) + 1):
            record = self._by_hash[self._settled[index]]
            if not record.unheard:
                yield record

    def page(
        self, *, offset: int, size: int, backwards: bool, wanted: Callable[[InvoiceRecord], bool]
    ) -> list[InvoiceRecord]:
        """Return up to ``size`` invoices next to an add index, which is left out; oldest first either way."""
        if backwards:
            end = min(offset - 1, len(self._order)) if offset else len(self._order)
            hashes: Iterator[bytes] = (self._order[place] for place in range(end - 1, -1, -1))
        else:
            hashes = (self._order[place] for place in range(offset, len(self._order)))
        found: list[InvoiceRecord] = []
        for payment_hash in hashes:
            record = self._by_hash[payment_hash]
            if wanted(record):
                found.append(record)
                if len(found) == size:
                    break
        return found[::-1] if backwards else found


def amount_msat(sat: int, msat: int) -> int:
    """Return one amount from LND's two fields.

    Raises:
        Refused: both are set, or one is negative.
    """
    if sat and msat:
        raise Refused("sat and msat arguments are mutually exclusive")
    if sat < 0 or msat < 0:
        raise Refused("amount cannot be negative")
    return sat * MSAT_PER_SAT + msat


def order_from(request: ln.Invoice) -> InvoiceOrder:
    """Read AddInvoice's request; without a preimage the node makes one.

    Raises:
        Refused: a preimage that is none, or a kind of invoice that the sandbox does not make.
    """
    if request.is_amp or request.is_blinded:
        raise Refused("AMP and blinded invoices are not enabled on this node")
    preimage = request.r_preimage or os.urandom(HASH_BYTES)
    if len(preimage) != HASH_BYTES:
        raise Refused(f"invalid preimage length of {len(preimage)}, want {HASH_BYTES}")
    if not any(preimage):
        raise Refused("cannot use the all-zeroes preimage")
    return InvoiceOrder(
        memo=request.memo,
        value=request.value,
        value_msat=request.value_msat,
        description_hash=request.description_hash,
        expiry_s=request.expiry,
        cltv_expiry=request.cltv_expiry,
        private=request.private,
        payment_hash=sha256(preimage).digest(),
        preimage=preimage,
    )


def _check(order: InvoiceOrder, value_msat: int) -> None:
    memo = order.memo.encode()
    if len(memo) > _MEMO_BYTES_MAX:
        raise Refused(f"memo too large: {len(memo)} bytes (maxsize={_MEMO_BYTES_MAX})")
    if order.description_hash and len(order.description_hash) != HASH_BYTES:
        raise Refused(f"description hash is {len(order.description_hash)} bytes, must be {HASH_BYTES}")
    if value_msat > _VALUE_MSAT_MAX:
        raise Refused(f"invoice amount {value_msat} mSAT is too large, max is {_VALUE_MSAT_MAX} mSAT")
    if order.expiry_s > _EXPIRY_S_MAX:
        raise Refused(f"expiry of {order.expiry_s} seconds greater than max expiry of {_EXPIRY_S_MAX} seconds")
    if order.cltv_expiry > _CLTV_MAX:
        raise Refused(f"CLTV delta of {order.cltv_expiry} is too large, max accepted is: {_CLTV_MAX}")
    if 0 < order.cltv_expiry < _CLTV_MIN:
        raise Refused(f"CLTV delta of {order.cltv_expiry} must be greater than minimum of {_CLTV_MIN}")
    if not order.description_hash and len(memo) > bolt11.DESCRIPTION_BYTES_MAX:
        raise Refused(f"data length too big to fit within 10 bits: {(len(memo) * 8 + 4) // 5}")
