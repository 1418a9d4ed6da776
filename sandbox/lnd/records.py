"""What a node remembers. Records never change; a new one takes the place of the old."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from quittance.providers.lnd._proto import lnrpc_pb2 as ln

CUSTOM_RECORDS_FROM: Final = 65_536
KEYSEND_RECORD: Final = 5_482_373_484
MSAT_PER_SAT: Final = 1_000
BLOCK_S: Final = 600
HOLD_EXPIRY_BLOCKS: Final = 18
_BLOCKS_FROM: Final = 1_231_006_505  # the first block's time; heights count ten minutes from there


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """``settle_index`` is the last one given out; ``balance_msat`` is what the node can spend."""

    name: str
    secret: bytes
    root_key: bytes
    balance_msat: int
    settle_index: int = 0
    payment_index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceRecord:
    """``unheard`` settlements are left out of every stream; ``payer`` is the node whose money is held or kept.

    One without a payment request was made when money came that nobody had asked for.
    """

    node: str
    add_index: int
    payment_hash: bytes
    preimage: bytes
    payment_addr: bytes
    memo: str
    description_hash: bytes
    value_msat: int
    created_at_s: int
    expiry_s: int
    cltv_expiry: int
    payment_request: str
    private: bool
    hold: bool
    state: "ln.Invoice.InvoiceState" = ln.Invoice.OPEN
    settle_index: int = 0
    settled_at_s: int = 0
    paid_msat: int = 0
    accepted_at_s: int = 0
    payer: str = ""
    unheard: bool = False
    custom_records: bytes = b""

    @property
    def due_at_s(self) -> int | None:
        """When the node cancels this invoice by itself; ``None`` for a final one."""
        if self.state == ln.Invoice.OPEN:
            return self.created_at_s + self.expiry_s
        if self.state == ln.Invoice.ACCEPTED:
            return self.accepted_at_s + (self.cltv_expiry - HOLD_EXPIRY_BLOCKS) * BLOCK_S
        return None

    def to_message(self) -> ln.Invoice:
        """Return what LND says of this invoice; the preimage of a held one is not known yet."""
        message = ln.Invoice(
            memo=self.memo,
            r_preimage=self.preimage,
            r_hash=self.payment_hash,
            value=self.value_msat // MSAT_PER_SAT,
            value_msat=self.value_msat,
            settled=self.state == ln.Invoice.SETTLED,
            creation_date=self.created_at_s,
            settle_date=self.settled_at_s,
            payment_request=self.payment_request,
            description_hash=self.description_hash,
            expiry=self.expiry_s,
            cltv_expiry=self.cltv_expiry,
            private=self.private,
            add_index=self.add_index,
            settle_index=self.settle_index,
            state=self.state,
            payment_addr=self.payment_addr,
            is_keysend=not self.payment_request,
        )
        if self.state == ln.Invoice.SETTLED:
            message.amt_paid = self.paid_msat
            message.amt_paid_sat = self.paid_msat // MSAT_PER_SAT
            message.amt_paid_msat = self.paid_msat
        if self.accepted_at_s:
            message.htlcs.append(self._htlc())
        return message

    def _htlc(self) -> ln.InvoiceHTLC:
        height = block_height(self.accepted_at_s)
        states = {ln.Invoice.SETTLED: ln.SETTLED, ln.Invoice.CANCELED: ln.CANCELED}
        return ln.InvoiceHTLC(
            chan_id=height << 40,
            htlc_index=self.add_index,
            amt_msat=self.paid_msat,
            accept_height=height,
            accept_time=self.accepted_at_s,
            resolve_time=self.settled_at_s,
            expiry_height=height + self.cltv_expiry,
            state=states.get(self.state, ln.ACCEPTED),
            mpp_total_amt_msat=self.paid_msat,
            custom_records=read_records(self.custom_records),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRecord:
    """One payment by one node. ``stuck`` ones wait for a fault to let them go."""

    node: str
    payment_index: int
    payment_hash: bytes
    destination: bytes
    payment_addr: bytes
    value_msat: int
    fee_msat: int
    payment_request: str
    created_at_ns: int
    preimage: bytes = b""
    status: "ln.Payment.PaymentStatus" = ln.Payment.IN_FLIGHT
    failure_reason: "ln.PaymentFailureReason" = ln.FAILURE_REASON_NONE
    stuck: bool = False
    custom_records: bytes = b""

    @property
    def is_final(self) -> bool:
        return self.status in (ln.Payment.SUCCEEDED, ln.Payment.FAILED)

    def to_message(self) -> ln.Payment:
        """Return what LND says of this payment. A fee is told once it was paid."""
        fee_msat = self.fee_msat if self.status == ln.Payment.SUCCEEDED else 0
        return ln.Payment(
            payment_hash=self.payment_hash.hex(),
            value=self.value_msat // MSAT_PER_SAT,
            value_sat=self.value_msat // MSAT_PER_SAT,
            value_msat=self.value_msat,
            creation_date=self.created_at_ns // 10**9,
            creation_time_ns=self.created_at_ns,
            fee=fee_msat // MSAT_PER_SAT,
            fee_sat=fee_msat // MSAT_PER_SAT,
            fee_msat=fee_msat,
            payment_preimage=(self.preimage or bytes(32)).hex(),
            payment_request=self.payment_request,
            status=self.status,
            payment_index=self.payment_index,
            failure_reason=self.failure_reason,
        )


def written_records(custom_records: Mapping[int, bytes]) -> bytes:
    """Return records that travel with a payment as one value."""
    return ln.InvoiceHTLC(custom_records=custom_records).SerializeToString(deterministic=True)


def read_records(custom_records: bytes) -> dict[int, bytes]:
    """Return what :func:`written_records` wrote."""
    return dict(ln.InvoiceHTLC.FromString(custom_records).custom_records)


def block_height(at_s: int) -> int:
    """Return the sandbox chain's height: a block every ten minutes of sandbox time."""
    return (at_s - _BLOCKS_FROM) // BLOCK_S
