"""Lists are read from an index in the order in which they are shown: nothing is scanned, nothing is sorted."""

from dataclasses import replace
from typing import Any

import pytest
from tests.integration.readers import bought_by, caller, log_in
from tests.integration.watched import WatchedDatabase

from quittance.domain.export import ExportFilter, ExportKind
from quittance.domain.policy import OverPolicy
from quittance.resolvers.exports import export_pages

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # PostgreSQL scans tables this small

ENTRIES = """
query ($after: String) {
  ledgerEntries(first: 2, after: $after) { totalCount edges { cursor node { id paymentId } } pageInfo { endCursor } }
}
"""
SETTLEMENTS = """
query ($after: String) {
  settlements(first: 2, after: $after) { totalCount edges { cursor node { id } } pageInfo { endCursor } }
}
"""

OF_READER = """
query ($after: String) { viewer { account { payments(first: 2, after: $after) { totalCount edges { cursor } } } } }
"""
LOG = """
query ($filter: AuditLogFilter, $after: String) {
  auditLog(filter: $filter, after: $after) { totalCount edges { cursor node { action actorId subjectId } } }
}
"""


async def sold(till: Any, count: int) -> None:
    for _ in range(count):
        await till.report(await till.money((await till.order()).payment.id))


async def plans(till: Any, document: str, *, of: str, **more: Any) -> list[list[str]]:
    """Return how the statements that name the table ``of`` are run for the document."""
    watched: Any = WatchedDatabase(till.services.database)
    await till.on(replace(till.services, database=watched)).shop.run(document, **more)
    found = [steps for sql, steps in watched.plans().items() if f"FROM {of}" in sql]
    assert found
    return found


def slow(found: list[list[str]]) -> list[str]:
    return [step for steps in found for step in steps if step.startswith("SCAN") or "TEMP B-TREE" in step]


@pytest.mark.parametrize(
    ("document", "field", "table", "index"),
    [
        (ENTRIES, "ledgerEntries", "ledger_entry", "ix_ledger_entry_account_id_posted_at_us_transaction_id_line"),
        (SETTLEMENTS, "settlements", "settlement", "ix_settlement_merchant_id_id"),
    ],
)
async def test_the_books_are_listed_by_an_index(till: Any, document: str, field: str, table: str, index: str) -> None:
    await sold(till, 4)
    after = (await till.shop.run(document))[field]["pageInfo"]["endCursor"]

    found = await plans(till, document, of=table)
    resumed = await plans(till, document, of=table, variables={"after": after})

    assert slow(found + resumed) == []
    assert [any(index in step for step in steps) for steps in found + resumed] == [True] * 4


async def test_the_settlements_of_one_merchant_are_exported_by_an_index(till: Any) -> None:
    await sold(till, 2)
    watched: Any = WatchedDatabase(till.services.database)
    narrowed = ExportFilter(merchant_id=till.shop.principal.merchant_id)

    pages = [
        page async for page in export_pages(replace(till.services, database=watched), ExportKind.SETTLEMENTS, narrowed)
    ]

    (steps,) = watched.plans().values()
    assert [row[1] for row in pages[0]] == [till.shop.principal.merchant_id] * 2
    assert slow([steps]) == []
    assert "ix_settlement_merchant_id_id" in steps[0]


@pytest.mark.parametrize("narrowed", ["action", "actor_id", "subject_id"])
async def test_a_narrowed_audit_log_is_read_by_an_index(till: Any, narrowed: str) -> None:
    await till.set_policy(over=OverPolicy.REFUND)
    page = (await till.shop.run(LOG, {"filter": {}}))["auditLog"]
    entry = page["edges"][0]["node"]
    names = {"action": "action", "actor_id": "actorId", "subject_id": "subjectId"}
    variables = {"filter": {names[narrowed]: entry[names[narrowed]]}, "after": page["edges"][0]["cursor"]}

    found = await plans(till, LOG, of="audit_entry", variables=variables)

    index = f"ix_audit_entry_merchant_id_{narrowed}_id (merchant_id=? AND {narrowed}=?"
    assert slow(found) == []
    assert [any(index in step for step in steps) for steps in found] == [True, True]


async def test_a_readers_payments_are_listed_by_an_index_that_holds_no_others(till: Any) -> None:
    principal = await caller(till.shop, (await log_in(till.shop))["token"])
    for _ in range(3):
        await bought_by(till, principal)
    after = (await till.shop.run(OF_READER, as_=principal))["viewer"]["account"]["payments"]["edges"][-1]["cursor"]

    found = await plans(till, OF_READER, of="payment", as_=principal)
    resumed = await plans(till, OF_READER, of="payment", as_=principal, variables={"after": after})

    assert slow(found + resumed) == []
    assert [any("ix_payment_of_reader" in step for step in steps) for steps in found + resumed] == [True] * 4
