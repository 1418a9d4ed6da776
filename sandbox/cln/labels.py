"""The invoices of a Core Lightning node: by label, and in the two orders in which it numbers them."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from quittance.providers.lnd._proto import lnrpc_pb2 as ln
from quittance.sandbox.cln.records import LabelRecord
from quittance.sandbox.lnd.network import Network
from quittance.sandbox.lnd.node import SandboxNode
from quittance.sandbox.lnd.records import InvoiceRecord

_STATUS: Final = {ln.Invoice.OPEN: "unpaid", ln.Invoice.SETTLED: "paid", ln.Invoice.CANCELED: "expired"}


def status_of(invoice: InvoiceRecord) -> str:
    return _STATUS[invoice.state]


class Labels:
    """What the node shows of its invoices. Numbers are given once, whatever is deleted later."""

    def __init__(self, network: Network, node: SandboxNode) -> None:
        self._network = network
        self._node = node
        self._records: dict[int, LabelRecord] = {}
        self._by_label: dict[str, int] = {}
        self._by_hash: dict[bytes, int] = {}
        self._updated = 0
        self._news = asyncio.Event()
        for record in sorted(network.recall(LabelRecord), key=lambda record: record.created_index):
            self._keep(record)
        for invoice in sorted(node.invoices.values(), key=lambda invoice: invoice.settle_index):
            self._changed(invoice)
        node.on_invoice = self._changed

    def add(self, label: str, invoice: InvoiceRecord) -> LabelRecord:
        """Give a new invoice its label and its number."""
        record = LabelRecord(
            node=self._node.name,
            created_index=len(self._records) + 1,
            label=label,
            payment_hash=invoice.payment_hash,
        )
        self._save(record)
        return record

    def delete(self, record: LabelRecord) -> None:
        """Show an invoice no longer; its label and its preimage are free again."""
        self._save(replace(record, deleted=True))

    def forget_paid(self) -> None:
        """Show no paid invoice any longer."""
        for record in [record for record in self if status_of(self.invoice(record)) == "paid"]:
            self.delete(record)

    def __iter__(self) -> Iterator[LabelRecord]:
        """Yield what is shown, in the order in which it was made."""
        return (record for record in self._records.values() if not record.deleted)

    def invoice(self, record: LabelRecord) -> InvoiceRecord:
        return self._node.invoices[record.payment_hash]

    def labelled(self, label: str) -> LabelRecord | None:
        return self._shown(self._by_label.get(label))

    def hashed(self, payment_hash: bytes) -> LabelRecord | None:
        return self._shown(self._by_hash.get(payment_hash))

    async def paid_after(self, pay_index: int) -> LabelRecord:
        """Wait for the payment with the next higher number; it may have come long ago."""
        while True:
            found = [
                (invoice.settle_index, record)
                for record in self
                if (invoice := self.invoice(record)).settle_index > pay_index
            ]
            if found:
                return min(found, key=lambda one: one[0])[1]
            self._news.clear()
            with self._node.listeners.attending():
                await self._news.wait()

    def _shown(self, number: int | None) -> LabelRecord | None:
        record = self._records[number] if number is not None else None
        return record if record is not None and not record.deleted else None

    def _changed(self, invoice: InvoiceRecord) -> None:
        record = self.hashed(invoice.payment_hash)
        if record is not None and invoice.state != ln.Invoice.OPEN and not record.updated_index:
            self._save(replace(record, updated_index=self._updated + 1))
            self._news.set()

    def _save(self, record: LabelRecord) -> None:
        self._network.remember(record)
        self._keep(record)

    def _keep(self, record: LabelRecord) -> None:
        self._records[record.created_index] = record
        self._by_label[record.label] = self._by_hash[record.payment_hash] = record.created_index
        self._updated = max(self._updated, record.updated_index)
