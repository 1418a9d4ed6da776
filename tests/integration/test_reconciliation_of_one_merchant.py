"""A reconciliation for one merchant: that merchant's differences, and no other merchant's rows."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import insert, update
from tests.integration.books import named, paid, reconciled, sabotage, table
from tests.integration.watched import WatchedDatabase

from quittance.domain.policy import OverPolicy
from quittance.domain.reconciliation import FindingKind
from quittance.resolvers.comparison import RailComparison
from quittance.resolvers.verification import Book, Verification

SETTLED = "SETTLED_AT_PROVIDER_NOT_BOOKED"


async def test_admin_of_another_merchant_is_told_of_that_merchants_differences(till: Any, other_shop: Any) -> None:
    theirs = till.of(other_shop)
    await paid(till)
    await paid(theirs)
    unheard, their_unheard = (await till.order()).payment.id, (await theirs.order()).payment.id
    await till.pay(unheard)
    await theirs.pay(their_unheard)

    their_reconciliation = await reconciled(theirs)
    whole = await reconciled(till)

    assert named(their_reconciliation) == [(SETTLED, their_unheard, "5000", "0")]
    (rail,) = their_reconciliation["rails"]
    assert (rail["invoices"], rail["foreignInvoices"], rail["settlements"], rail["openOptions"]) == (2, None, 1, 1)
    assert (their_reconciliation["accountsCompared"], their_reconciliation["paymentsCompared"]) == (1, 2)
    assert named(whole) == sorted(
        [
            (SETTLED, unheard, "5000", "0"),
            (SETTLED, their_unheard, "5000", "0"),
        ]
    )


async def watched_reconciliation(till: Any) -> tuple[Any, dict[str, Any]]:
    watched: Any = WatchedDatabase(till.services.database)
    return watched, await reconciled(till.on(replace(till.services, database=watched)))


async def names_of(till: Any) -> set[str]:
    """Return everything by which the shop's payments, options and settlements are named."""
    merchant_id = till.shop.principal.merchant_id
    payments = {row["id"] for row in await till.rows("payment") if row["merchant_id"] == merchant_id}
    options = [row for row in await till.rows("payment_option") if row["payment_id"] in payments]
    settlements = [row for row in await till.rows("settlement") if row["payment_id"] in payments]
    return payments | {row[name] for row in options + settlements for name in ("id", "reference")} | {merchant_id}


async def test_no_row_of_another_merchant_is_read(till: Any, other_shop: Any) -> None:
    theirs = till.of(other_shop)
    await asyncio.gather(*(paid(till) for _ in range(5)), *(paid(theirs) for _ in range(3)))
    await till.order()
    await theirs.order()

    watched, found = await watched_reconciliation(theirs)

    read = {cell for row in watched.rows for cell in row}
    (rail,) = found["rails"]
    assert found["findings"] == []
    assert (rail["invoices"], rail["settlements"], rail["openOptions"]) == (4, 3, 1)
    assert (found["transactionsCompared"], found["accountsCompared"]) == (3, 1)
    assert (found["settlementsCompared"], found["paymentsCompared"]) == (3, 4)
    assert read & await names_of(theirs) > {other_shop.principal.merchant_id}
    assert read & await names_of(till) == set()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # PostgreSQL scans tables this small
async def test_no_table_is_scanned_for_one_merchant(till: Any, other_shop: Any) -> None:
    theirs = till.of(other_shop)
    await paid(till)
    await paid(theirs)
    await theirs.order()

    watched, _ = await watched_reconciliation(theirs)

    tables = ("payment", "payment_option", "settlement", "ledger_entry", "ledger_account")
    steps = [step for found in watched.plans().values() for step in found]
    assert [step for step in steps for name in tables if step.split(" USING")[0] == f"SCAN {name}"] == []
    assert any("ix_settlement_merchant_id_id" in step for step in steps)
    assert any("ix_ledger_entry_account_id_posted_at_us" in step for step in steps)


async def test_every_transaction_of_one_merchant_is_summed_up_once(till: Any, other_shop: Any) -> None:
    theirs = till.of(other_shop)
    await theirs.set_policy(over=OverPolicy.REFUND)
    for n in range(7):
        payment_id = (await theirs.order()).payment.id
        await till.report(await till.money(payment_id, amount_msat=6_000 if n % 2 else 5_000))
    await paid(till)
    entry = table("ledger_entry")
    broken = sorted({row["transaction_id"] for row in await till.rows("ledger_entry")})[1]
    await sabotage(till, update(entry).where(entry.c.transaction_id == broken, entry.c.line == 0).values(value=1))

    verification = Verification(services=till.services, merchant_id=other_shop.principal.merchant_id, page=2)
    found = [finding async for finding in verification.findings()]

    assert verification.checked == {Book.TRANSACTIONS: 7, Book.ACCOUNTS: 2, Book.SETTLEMENTS: 7, Book.PAYMENTS: 7}
    unbalanced = [one.reference for one in found if one.kind is FindingKind.LEDGER_UNBALANCED]
    assert unbalanced == [broken]


async def test_every_open_option_of_one_merchant_is_looked_for_once(till: Any, other_shop: Any) -> None:
    theirs = till.of(other_shop)
    merchant_id = other_shop.principal.merchant_id
    await till.order()
    await theirs.order()
    retried = (await theirs.order()).payment.id
    await theirs.order()
    await more_options(till, retried, count=3)
    comparison = RailComparison(
        services=till.services, rail=till.services.rails["lnd"], merchant_id=merchant_id, page=2
    )

    found = [finding async for finding in comparison.findings()]

    assert comparison.open_options == 6
    assert {finding.reference for finding in found} == {f"{n:064x}" for n in range(3)}
    assert len(found) == 3
    assert {finding.payment_id for finding in found} == {retried}


async def more_options(till: Any, payment_id: str, *, count: int) -> None:
    """Offer a payment several times more, under references that the node does not know."""
    (known,) = [row for row in await till.rows("payment_option") if row["payment_id"] == payment_id]
    for n in range(count):
        row = known | {"id": f"{known['id'][:-2]}{n:02}", "reference": f"{n:064x}"}
        await sabotage(till, insert(table("payment_option")).values(**row))
