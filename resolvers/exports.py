"""Exports: everything of one kind, streamed in pages."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from quittance.domain.errors import InvalidInput
from quittance.domain.export import ExportFilter, ExportKind
from quittance.domain.text import is_storable
from quittance.resolvers.services import Services
from quittance.store import exports, merchants
from quittance.store.exports import Cell
from quittance.store.transaction import Transaction

PAGE = 1_000

Page = tuple[list[list[Cell]], Sequence[object] | None]


def columns(kind: ExportKind) -> list[str]:
    """Return the names of an export's columns, in order."""
    return exports.export_columns(kind)


async def export_pages(
    services: Services, kind: ExportKind, narrowed: ExportFilter
) -> AsyncGenerator[list[list[Cell]]]:
    """Yield the rows, the oldest first, a page at a time; what comes in after the start is left out."""
    within = narrowed if narrowed.until is not None else replace(narrowed, until=services.now())
    after: Sequence[object] | None = None
    while True:
        rows, after = await _page(services, kind, within, after)
        if rows:
            yield rows
        if after is None:
            return


async def _page(services: Services, kind: ExportKind, narrowed: ExportFilter, after: Sequence[object] | None) -> Page:
    def query(transaction: Transaction) -> Page:
        return exports.export_page(transaction, kind, narrowed, after=after, limit=PAGE)

    return await services.database.scan(query)


async def check_filter(services: Services, narrowed: ExportFilter) -> None:
    """Refuse what cannot be exported before anything is written.

    Raises:
        InvalidInput: no such merchant.
    """
    merchant_id = narrowed.merchant_id
    if merchant_id is None:
        return
    if is_storable(merchant_id):
        found = await services.database.read(lambda transaction: merchants.merchant_by_id(transaction, merchant_id))
        if found is not None:
            return
    raise InvalidInput("merchant", "no such merchant")
