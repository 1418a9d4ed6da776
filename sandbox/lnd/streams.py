"""Who listens to a node, and what each of them is sent: LND's rules of resuming."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from quittance.providers.lnd._proto import lnrpc_pb2 as ln
from quittance.sandbox.lnd.records import InvoiceRecord, PaymentRecord
from quittance.sandbox.lnd.refusals import Refused

_Invoices = asyncio.Queue[InvoiceRecord]
_Payments = asyncio.Queue[PaymentRecord | None]


class InvoiceListener:
    """One SubscribeInvoices stream.

    Events with an index that the client says it has are left out, so a client that resumes above the node's own
    counter hears of no settlement until the counter has passed it: LND does the same.
    """

    def __init__(self, *, add_index: int, settle_index: int) -> None:
        self._add_index = add_index
        self._settle_index = settle_index
        self._queue: asyncio.Queue[InvoiceRecord | None] = asyncio.Queue()

    def replay(self, records: Iterator[InvoiceRecord]) -> None:
        """Queue the backlog; it is complete before any live event."""
        for record in records:
            self._queue.put_nowait(record)

    def offer(self, record: InvoiceRecord) -> None:
        if record.state == ln.Invoice.OPEN and record.add_index > self._add_index:
            self._add_index = record.add_index
            self._queue.put_nowait(record)
        elif record.state == ln.Invoice.SETTLED and record.settle_index > self._settle_index:
            self._settle_index = record.settle_index
            self._queue.put_nowait(record)

    def repeat(self, record: InvoiceRecord) -> None:
        """Queue an event once more, whatever was sent."""
        self._queue.put_nowait(record)

    def drop(self) -> None:
        self._queue.put_nowait(None)

    async def next(self) -> InvoiceRecord:
        """Wait for the next event.

        Raises:
            Refused: the stream was dropped.
        """
        record = await self._queue.get()
        if record is None:
            raise Refused("Socket closed", grpc.StatusCode.UNAVAILABLE)
        return record


class Listeners:
    """Everybody who listens to one node."""

    def __init__(self) -> None:
        self._all: set[InvoiceListener] = set()
        self._invoices: dict[bytes, set[_Invoices]] = {}
        self._payments: dict[bytes, set[_Payments]] = {}
        self._attending = 0
        self._somebody = asyncio.Event()

    @contextmanager
    def attending(self) -> Iterator[None]:
        """Wait for what settles next, in whatever way."""
        self._attending += 1
        self._somebody.set()
        try:
            yield
        finally:
            self._attending -= 1
            if not self._attending:
                self._somebody.clear()

    async def somebody(self) -> None:
        """Wait until somebody waits for what settles next."""
        await self._somebody.wait()

    @contextmanager
    def listening(self, listener: InvoiceListener) -> Iterator[None]:
        self._all.add(listener)
        try:
            with self.attending():
                yield
        finally:
            self._all.discard(listener)

    @contextmanager
    def invoice(self, payment_hash: bytes) -> Iterator[_Invoices]:
        queue: _Invoices = asyncio.Queue()
        self._invoices.setdefault(payment_hash, set()).add(queue)
        try:
            yield queue
        finally:
            self._invoices[payment_hash].discard(queue)
            if not self._invoices[payment_hash]:
                del self._invoices[payment_hash]

    @contextmanager
    def payment(self, payment_hash: bytes) -> Iterator[_Payments]:
        queue: _Payments = asyncio.Queue()
        self._payments.setdefault(payment_hash, set()).add(queue)
        try:
            yield queue
        finally:
            self._payments[payment_hash].discard(queue)
            if not self._payments[payment_hash]:
                del self._payments[payment_hash]

    def tell(self, record: InvoiceRecord, *, silent: bool = False, twice: bool = False) -> None:
        """Tell everybody how an invoice stands now; ``silent`` leaves out the streams of all invoices."""
        for queue in self._invoices.get(record.payment_hash, ()):
            queue.put_nowait(record)
        if silent:
            return
        for listener in self._all:
            listener.offer(record)
            if twice:
                listener.repeat(record)

    def tell_payment(self, record: PaymentRecord) -> None:
        for queue in self._payments.get(record.payment_hash, ()):
            queue.put_nowait(record)

    def drop_payments(self) -> None:
        """End every stream that follows a payment."""
        for queues in self._payments.values():
            for queue in queues:
                queue.put_nowait(None)

    def drop_all(self) -> None:
        """End every stream of all invoices."""
        for listener in self._all:
            listener.drop()
