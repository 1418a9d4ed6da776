"""A rail's own list of invoices against our books, page by page.

Both sides move while they are read: a payer pays between our two looks, and the feed books a moment later. So what
differs is looked at a second time, a little later, and named only if it differs still.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from quittance.domain.errors import ProviderMisconfigured, ProviderUnavailable
from quittance.domain.ids import MerchantId
from quittance.domain.money import Money
from quittance.domain.reconciliation import Finding, FindingKind
from quittance.providers.base import Invoice, InvoiceStatus, ListsInvoices, ReceivingProvider
from quittance.resolvers.services import Services
from quittance.store import reconciliation
from quittance.store.reconciliation import Key, OurSide, Part

PAGE = 1_000
SECOND_LOOK_S = 0.5
_LOOKUPS = 16  # at once

References = Callable[..., tuple[list[str], Key]]


@dataclass(slots=True, kw_only=True)
class RailComparison:
    """Compares one rail. The counts tell how far it came; ``complete``: both sides were read to their ends.

    The rail's list is walked whole. With ``merchant_id`` only that merchant's part of our books is compared with it,
    and ``foreign`` stays None: how many invoices a node holds for others is not that merchant's business.

    Memory grows by some dozens of bytes with each of our invoices that the rail names, and with nothing else.
    """

    services: Services
    rail: ReceivingProvider
    merchant_id: MerchantId | None = None
    page: int = PAGE
    reachable: bool = False
    comparable: bool = False
    complete: bool = False
    detail: str | None = None
    invoices: int = 0
    foreign: int | None = None
    settlements: int = 0
    open_options: int = 0
    _named: set[int] = field(default_factory=set)

    async def findings(self) -> AsyncGenerator[Finding]:
        """Yield every difference; a rail that does not answer ends it, and ``detail`` says why."""
        if not isinstance(self.rail, ListsInvoices):
            health = await self.rail.health()
            self.reachable = health.ready
            self.detail = f"{self.rail.name} cannot list its invoices, so nothing was compared"
            return
        self.comparable = True
        if self.merchant_id is None:
            self.foreign = 0
        try:
            async with aclosing(_pages(self.rail.invoices())) as pages:
                async for page in pages:
                    for finding in await self._listed(page):
                        yield finding
            self.reachable = True
            async for references in self._never_named():
                for finding in await self._look_again(references):
                    yield finding
        except (ProviderUnavailable, ProviderMisconfigured) as error:
            self.reachable = False
            self.detail = error.message
        else:
            self.complete = True

    async def _listed(self, page: Sequence[Invoice]) -> list[Finding]:
        """Compare one page of the rail's list."""
        self.reachable = True
        ours = await self._our_side([invoice.reference for invoice in page])
        own = [invoice for invoice in page if invoice.reference in ours]
        self._named.update(hash(invoice.reference) for invoice in own)
        self.invoices += len(own)
        if self.foreign is not None:
            self.foreign += len(page) - len(own)
        differing = [one.reference for one in own if _difference(self.rail.name, one, ours[one.reference])]
        return await self._look_again(differing)

    async def _never_named(self) -> AsyncGenerator[list[str]]:
        """Yield the references of ours that the rail's list left out, each once."""
        async for page in self._walk(reconciliation.references_of_settlements):
            self.settlements += len(page)
            left_out = [reference for reference in page if hash(reference) not in self._named]
            self._named.update(hash(reference) for reference in left_out)
            yield left_out
        async for page in self._walk(reconciliation.references_of_open_options):
            self.open_options += len(page)
            yield [reference for reference in page if hash(reference) not in self._named]

    async def _walk(self, references: References) -> AsyncGenerator[list[str]]:
        page, after = await self._references(references, ())
        while page:
            yield page
            page, after = await self._references(references, after)

    async def _look_again(self, references: Sequence[str]) -> list[Finding]:
        """Ask both sides about each of these once more, and name what differs still."""
        if not references:
            return []
        await asyncio.sleep(SECOND_LOOK_S)
        ours = await self._our_side(references)
        invoices: list[Invoice] = []
        for begin in range(0, len(references), _LOOKUPS):
            some = references[begin : begin + _LOOKUPS]
            invoices += await asyncio.gather(*(self.rail.lookup_invoice(reference) for reference in some))
        found = (
            _difference(self.rail.name, invoice, ours[invoice.reference])
            for invoice in invoices
            if invoice.reference in ours
        )
        return [finding for finding in found if finding is not None]

    @property
    def _part(self) -> Part:
        return Part(provider=self.rail.name, merchant_id=self.merchant_id)

    async def _our_side(self, references: Sequence[str]) -> dict[str, OurSide]:
        return await self.services.database.scan(
            lambda transaction: reconciliation.our_side(transaction, self._part, references=references)
        )

    async def _references(self, references: References, after: Key) -> tuple[list[str], Key]:
        return await self.services.database.scan(
            lambda transaction: references(transaction, self._part, after=after, limit=self.page)
        )


async def _pages(invoices: AsyncIterator[Invoice]) -> AsyncGenerator[list[Invoice]]:
    page: list[Invoice] = []
    async for invoice in invoices:
        page.append(invoice)
        if len(page) == PAGE:
            yield page
            page = []
    if page:
        yield page


def _difference(provider: str, invoice: Invoice, ours: OurSide) -> Finding | None:
    """Say how the two sides of one reference differ, in what concerns money."""
    settled = invoice.received if invoice.status is InvoiceStatus.SETTLED else None
    if ours.booked is None:
        if settled is not None:
            kind, expected, found = FindingKind.SETTLED_AT_PROVIDER_NOT_BOOKED, str(settled.value), "0"
            message = f"{provider} received {settled.formatted} that is not booked"
        elif invoice.status is InvoiceStatus.MISSING and ours.is_open:
            kind, expected, found = FindingKind.OPEN_HERE_MISSING_AT_PROVIDER, "OPEN", invoice.status.value
            message = f"an invoice is offered here that {provider} does not know"
        else:
            return None
    elif settled is None:
        kind, expected, found = FindingKind.BOOKED_NOT_SETTLED_AT_PROVIDER, "SETTLED", invoice.status.value
        message = f"{ours.booked.formatted} are booked, {provider} says {found}"
    elif not _equal(settled, ours.booked):
        kind, expected, found = FindingKind.AMOUNT_DIFFERS, str(settled.value), str(ours.booked.value)
        message = f"{provider} received {settled.formatted}, booked are {ours.booked.formatted}"
    else:
        return None
    return Finding(
        kind=kind,
        message=f"{message}; invoice {invoice.reference} of payment {ours.payment_id}",
        expected=expected,
        found=found,
        merchant_id=ours.merchant_id,
        provider=provider,
        reference=invoice.reference,
        payment_id=ours.payment_id,
    )


def _equal(one: Money, other: Money) -> bool:
    """Compare two amounts that may count different units of one asset."""
    scales = (one.asset.scale, other.asset.scale)
    in_finest = [money.value * 10 ** (max(scales) - money.asset.scale) for money in (one, other)]
    return one.asset.code == other.asset.code and in_finest[0] == in_finest[1]
