"""Units that race: rows are locked before they are written, and what the server undid is run again."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import bindparam, update
from sqlalchemy.exc import DBAPIError
from tests.integration.racing import assert_booked_once

from quittance.domain.ids import MerchantId
from quittance.resolvers.invoices import retry_payment
from quittance.resolvers.payments import cancel_payment
from quittance.resolvers.settlements import Booking
from quittance.sandbox.clock import SandboxClock
from quittance.store.models import Row
from quittance.store.postgres import PostgresDatabase
from quittance.store.statement import Statement
from quittance.store.transaction import Transaction

MERCHANT_TABLE = Row.metadata.tables["merchant"]
RENAME = Statement(
    lambda _: update(MERCHANT_TABLE).where(MERCHANT_TABLE.c.id == bindparam("which")).values(name=bindparam("to"))
)


async def test_r8_the_row_is_locked_before_it_is_written_and_read_under_the_lock(till: Any) -> None:
    payment_id = (await till.order()).payment.id
    settlement = await till.pay(payment_id)
    ran: list[str] = []
    till.services.database.counter = ran.append

    await till.report(settlement)
    till.services.database.counter = None

    said = [" ".join(sql.split()) for sql in ran]
    reads = [n for n, sql in enumerate(said) if sql.startswith("SELECT") and "FROM payment WHERE" in sql]
    writes = [n for n, sql in enumerate(said) if sql.startswith("UPDATE payment SET")]
    assert len(reads) == len(writes) == 1
    assert reads[0] < writes[0]
    assert said[reads[0]].endswith("FOR UPDATE") is (till.services.database.dialect == "postgresql")
    assert "payment.status = " in said[writes[0]].partition("WHERE")[2]
    head = [n for n, sql in enumerate(said) if sql.startswith("UPDATE event_head")]
    assert head[0] > max(n for n, sql in enumerate(said) if "ledger_account" in sql)


@pytest.mark.parametrize("write", ["retry", "cancel", "expire"])
async def test_r8_every_change_of_a_payment_locks_it_first(till: Any, clock: SandboxClock, write: str) -> None:
    payment_id = (await till.order(expires_in_s=600)).payment.id
    if write != "cancel":
        clock.advance(601)
    if write == "retry":
        await till.reconcile()
    ran: list[str] = []
    till.services.database.counter = ran.append

    if write == "retry":
        await retry_payment(till.services, till.shop.principal, payment_id)
    elif write == "cancel":
        await cancel_payment(till.services, till.shop.principal, payment_id)
    else:
        await till.reconcile()
    till.services.database.counter = None

    said = [" ".join(sql.split()) for sql in ran]
    locks = [n for n, sql in enumerate(said) if "FROM payment WHERE payment.id =" in sql]
    writes = [n for n, sql in enumerate(said) if sql.startswith("UPDATE payment SET")]
    assert writes
    assert min(locks) < min(writes)
    if till.services.database.dialect == "postgresql":
        assert all(said[n].endswith("FOR UPDATE") for n in locks)


async def test_r9_two_units_in_a_deadlock_are_both_done_once(till: Any, other_shop: Any) -> None:
    database = till.services.database
    one, other = till.shop.principal.merchant_id, other_shop.principal.merchant_id
    order = (await till.order()).payment.id
    settlement = await till.pay(order)
    runs: list[str] = []

    def crossing(first: MerchantId, second: MerchantId, label: str) -> Callable[[Transaction], str]:
        def unit(transaction: Transaction) -> str:
            runs.append(label)
            transaction.execute(RENAME, {"which": first, "to": label})
            _pause(transaction)
            transaction.execute(RENAME, {"which": second, "to": label})
            return label

        return unit

    results: Any = await asyncio.gather(
        database.write(crossing(one, other, "a")),
        database.write(crossing(other, one, "b")),
        till.report(settlement),
    )

    assert results == ["a", "b", Booking.BOOKED]
    assert (len(runs) > 2) is (database.dialect == "postgresql")  # the loser of a deadlock ran again
    assert len({row["name"] for row in await till.rows("merchant")}) == 1
    await assert_booked_once(till, order)


async def test_r9_a_serialization_failure_of_the_server_runs_the_unit_again(till: Any) -> None:
    database = till.services.database
    if not isinstance(database, PostgresDatabase):
        pytest.skip("one writer cannot fail to serialize")
    payment_id = (await till.order()).payment.id
    settlement = await till.pay(payment_id)
    stale = PostgresDatabase(database._dsn, append_events=database._append_events)
    stale._engine = stale._engine.execution_options(isolation_level="REPEATABLE READ")
    errors: list[str] = []

    def renaming(name: str) -> Callable[[Transaction], str]:
        def unit(transaction: Transaction) -> str:
            transaction.all(Statement(lambda _: MERCHANT_TABLE.select()))  # takes the snapshot
            _pause(transaction)
            try:
                transaction.execute(RENAME, {"which": till.shop.principal.merchant_id, "to": name})
            except DBAPIError as error:
                errors.append(str(getattr(error.orig, "sqlstate", None)))
                raise
            return name

        return unit

    results = await asyncio.gather(*(stale.write(renaming(name)) for name in "abc"))
    again = await asyncio.gather(*(till.on(replace(till.services, database=stale)).report(settlement) for _ in "abc"))
    await stale.close()

    assert results == ["a", "b", "c"]
    assert set(errors) == {"40001"}
    assert sorted(again) == [Booking.BOOKED, Booking.DUPLICATE, Booking.DUPLICATE]
    await assert_booked_once(till, payment_id)


def _pause(transaction: Transaction) -> None:
    """Give the other unit time to take its first lock; on SQLite there is no other."""
    from sqlalchemy import func, select

    if type(transaction).__name__ == "PostgresTransaction":
        transaction.all(Statement(lambda _: select(func.pg_sleep(0.2).is_(None))))
