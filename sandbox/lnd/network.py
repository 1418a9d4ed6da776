"""The nodes together: money moves between them whole or not at all, and their invoices end on time."""

import heapq
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Final

from quittance.providers.lnd._proto import lnrpc_pb2 as ln
from quittance.sandbox.clock import SandboxClock
from quittance.sandbox.faults import Faults
from quittance.sandbox.lnd.chains import Chain
from quittance.sandbox.lnd.invoices import InvoiceOrder
from quittance.sandbox.lnd.kinds import SETTLEMENT
from quittance.sandbox.lnd.node import Change, SandboxNode
from quittance.sandbox.lnd.records import InvoiceRecord, NodeRecord, PaymentRecord
from quittance.sandbox.lnd.refusals import Refused
from quittance.sandbox.lnd.storage import Kept, Record, Storage

_START_MSAT: Final = 10 * 10**11
_KEY_BYTES: Final = 32


class Network:
    """The nodes of one chain over one memory. Everything happens on one event loop, between two awaits."""

    def __init__(self, *, chain: Chain, path: Path | None, clock: SandboxClock, faults: Faults) -> None:
        self.chain = chain
        self.clock = clock
        self.faults = faults
        self._storage = Storage(path)
        self._due: list[tuple[int, str, bytes]] = []
        known = {record.name: record for record in self._storage.load(NodeRecord)}
        fresh = [_new_node(name, chain) for name in chain.nodes if name not in known]
        self._storage.save(*fresh)
        known.update({record.name: record for record in fresh})
        self.nodes: Mapping[str, SandboxNode] = {name: SandboxNode(known[name], chain=chain) for name in chain.nodes}
        self._by_pubkey = {node.key.public: node for node in self.nodes.values()}
        for invoice in sorted(self._storage.load(InvoiceRecord), key=lambda record: record.add_index):
            self._keep_invoice(invoice)
        for payment in self._storage.load(PaymentRecord):
            self.nodes[payment.node].keep(payment)

    @property
    def merchant(self) -> SandboxNode:
        return self.nodes[self.chain.merchant]

    def node_at(self, pubkey: bytes) -> SandboxNode | None:
        return self._by_pubkey.get(pubkey)

    def now_s(self) -> int:
        return int(self.clock.now().timestamp())

    def add_invoice(self, node: SandboxNode, order: InvoiceOrder) -> InvoiceRecord:
        """Make an invoice and keep it.

        Raises:
            Refused: the node would not.
        """
        record = node.invoices.make(order, now_s=self.now_s())
        self.apply(Change(invoices=[record]))
        return record

    def apply(self, change: Change, *, twice: bool = False) -> None:
        """Write the records of ``change`` as one, keep them, then tell who listens."""
        self._storage.save(*change.nodes.values(), *change.invoices, *change.payments)
        for node in change.nodes.values():
            self.nodes[node.name].keep(node)
        for invoice in change.invoices:
            self._keep_invoice(invoice)
        for payment in change.payments:
            self.nodes[payment.node].keep(payment)
        for invoice in change.invoices:
            self.nodes[invoice.node].listeners.tell(invoice, silent=invoice.unheard, twice=twice)
        for payment in change.payments:
            self.nodes[payment.node].listeners.tell_payment(payment)

    def settle(self, change: Change, invoice: InvoiceRecord, *, preimage: bytes, paid_msat: int) -> None:
        """Settle ``invoice`` and its payer's payment within ``change``, and apply it."""
        payee = change.nodes.get(invoice.node, self.nodes[invoice.node].record)
        payee = replace(payee, balance_msat=payee.balance_msat + paid_msat, settle_index=payee.settle_index + 1)
        change.nodes[payee.name] = payee
        now_s = self.now_s()
        silent = self._fault(invoice.node, "silent_stream") is not None
        change.invoices.append(
            replace(
                invoice,
                state=ln.Invoice.SETTLED,
                preimage=preimage,
                paid_msat=paid_msat,
                settled_at_s=now_s,
                accepted_at_s=invoice.accepted_at_s or now_s,
                settle_index=payee.settle_index,
                unheard=silent,
            )
        )
        payment = self._payment_of(change, invoice)
        if payment is not None:
            change.payments.append(replace(payment, status=ln.Payment.SUCCEEDED, preimage=preimage, stuck=False))
        self.apply(change, twice=self._fault(invoice.node, "duplicate_settlement") is not None)

    def settle_held(self, node: SandboxNode, preimage: bytes) -> None:
        """Take the money that a hold invoice holds; again for a settled one does nothing.

        Raises:
            Refused: nothing is held, or the invoice is gone.
        """
        invoice = node.invoices.find(sha256(preimage).digest())
        if invoice.state == ln.Invoice.SETTLED:
            return
        if invoice.state == ln.Invoice.CANCELED:
            raise Refused("invoice already canceled")
        if invoice.state == ln.Invoice.OPEN:
            raise Refused("invoice still open")
        self.settle(Change(), invoice, preimage=preimage, paid_msat=invoice.paid_msat)

    def cancel(self, node: SandboxNode, payment_hash: bytes) -> None:
        """Cancel an invoice and give back what it holds; again for a canceled one does nothing.

        Raises:
            Refused: it is settled, or there is none.
        """
        invoice = node.invoices.find(payment_hash)
        if invoice.state == ln.Invoice.SETTLED:
            raise Refused("invoice already settled")
        if invoice.state == ln.Invoice.CANCELED:
            return
        change = Change(invoices=[replace(invoice, state=ln.Invoice.CANCELED)])
        payment = self._payment_of(change, invoice)
        if payment is not None:
            self.fail(change, payment, ln.FAILURE_REASON_INCORRECT_PAYMENT_DETAILS)
        else:
            self.apply(change)

    def fail(self, change: Change, payment: PaymentRecord, reason: "ln.PaymentFailureReason") -> PaymentRecord:
        """Give a payment in flight back to its payer within ``change``, and apply it."""
        payer = change.nodes.get(payment.node, self.nodes[payment.node].record)
        change.nodes[payer.name] = replace(
            payer, balance_msat=payer.balance_msat + payment.value_msat + payment.fee_msat
        )
        failed = replace(payment, status=ln.Payment.FAILED, failure_reason=reason, stuck=False)
        change.payments.append(failed)
        self.apply(change)
        return failed

    def sweep(self) -> None:
        """Cancel what is due: unpaid invoices past their expiry, held ones close to their HTLC's expiry."""
        now_s = self.now_s()
        while self._due and self._due[0][0] < now_s:
            _, name, payment_hash = heapq.heappop(self._due)
            invoice = self.nodes[name].invoices[payment_hash]
            if invoice.due_at_s is not None and invoice.due_at_s < now_s:
                self.cancel(self.nodes[name], payment_hash)

    def restart_settle_indexes(self, node: SandboxNode) -> None:
        """Let ``node`` count settlements from 1 again; what settled before stays settled and has no index."""
        change = Change(nodes={node.name: replace(node.record, settle_index=0)})
        for invoice in node.invoices.values():
            if invoice.settle_index:
                change.invoices.append(replace(invoice, settle_index=0, unheard=True))
        self._storage.save(*change.nodes.values(), *change.invoices)
        node.invoices.forget_settle_indexes()
        node.keep(change.nodes[node.name])
        for invoice in change.invoices:
            node.keep(invoice)

    def payments_in_flight(self) -> Iterator[PaymentRecord]:
        """Yield what waits for a fault to let it go."""
        for node in self.nodes.values():
            yield from [payment for payment in node.payments.values() if payment.stuck]

    def remember(self, *records: Record) -> None:
        """Write what one kind of node knows besides what all of them do."""
        self._storage.save(*records)

    def recall(self, kind: type[Kept]) -> Iterator[Kept]:
        return self._storage.load(kind)

    def close(self) -> None:
        self._storage.close()

    def _keep_invoice(self, invoice: InvoiceRecord) -> None:
        self.nodes[invoice.node].keep(invoice)
        if invoice.due_at_s is not None:
            heapq.heappush(self._due, (invoice.due_at_s, invoice.node, invoice.payment_hash))

    def _payment_of(self, change: Change, invoice: InvoiceRecord) -> PaymentRecord | None:
        """Return the payment in flight to ``invoice``; a new one is still in ``change``, and is taken out of it."""
        for payment in change.payments:
            if payment.payment_hash == invoice.payment_hash:
                change.payments.remove(payment)
                return payment
        if not invoice.payer:
            return None
        held = self.nodes[invoice.payer].payments.get(invoice.payment_hash)
        return held if held is not None and held.status == ln.Payment.IN_FLIGHT else None

    def _fault(self, node: str, name: str) -> object:
        if not self.nodes[node].earns:
            return None
        return self.faults.take(self.chain.rail, name, method=SETTLEMENT)


def _new_node(name: str, chain: Chain) -> NodeRecord:
    balance_msat = _START_MSAT if name in {*chain.payers, chain.strike} else 0
    return NodeRecord(name=name, secret=_new_secret(), root_key=os.urandom(_KEY_BYTES), balance_msat=balance_msat)


def _new_secret() -> bytes:
    """Return a private key; nearly every 32 bytes are one."""
    return os.urandom(1).replace(b"\xff", b"\x01") + os.urandom(_KEY_BYTES - 1)
