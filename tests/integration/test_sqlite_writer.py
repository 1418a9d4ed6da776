"""The writing connection of SQLite: units that wait run together, fail alone, and no file lock stops the loop."""

import asyncio
import fcntl
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Column, MetaData, Table, Text, bindparam, insert, select

from quittance.store.sqlite import DatabaseClosed, SqliteDatabase
from quittance.store.statement import Statement
from quittance.store.transaction import Transaction, Unit

THING = Table("thing", MetaData(), Column("id", Text, primary_key=True))
PART = Table("part", MetaData(), Column("of", Text))
INSERT = Statement(lambda _: insert(THING).values(id=bindparam("id")))
ALL = Statement(lambda _: select(THING.c.id).order_by(THING.c.id))


class Refused(Exception):
    """What a unit fails with."""


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    path = tmp_path / "things.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE thing (id TEXT PRIMARY KEY)")
        connection.execute(
            "CREATE TABLE part (of TEXT REFERENCES thing (id) DEFERRABLE INITIALLY DEFERRED)"
        )  # breaks no statement, but the commit
    connection.close()
    opened = SqliteDatabase(path, append_events=lambda _: None, busy_timeout_ms=50)
    yield opened
    await opened.close()


def adding(id_: str, *, failing: bool = False) -> Unit[str]:
    def unit(transaction: Transaction) -> str:
        transaction.execute(INSERT, {"id": id_})
        if failing:
            raise Refused
        return id_

    return unit


async def things(database: SqliteDatabase) -> list[str]:
    return [id_ for (id_,) in await database.read(lambda transaction: transaction.all(ALL))]


async def test_a_unit_that_fails_alone_leaves_nothing_and_the_next_one_is_written(database: SqliteDatabase) -> None:
    with pytest.raises(Refused):
        await database.write(adding("a", failing=True))
    written = await database.write(adding("b"))

    assert written == "b"
    assert await things(database) == ["b"]


async def test_units_that_wait_share_one_commit_and_fail_alone(database: SqliteDatabase) -> None:
    commits: list[str] = []
    database._writer.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)

    units = [adding(f"{number:02}", failing=number % 3 == 0) for number in range(20)]
    results = await asyncio.gather(*(database.write(unit) for unit in units), return_exceptions=True)

    assert len(commits) == 1
    assert [type(one) for one in results] == [Refused if number % 3 == 0 else str for number in range(20)]
    assert await things(database) == [f"{number:02}" for number in range(20) if number % 3]


async def test_a_process_that_writes_just_now_is_waited_for_without_stopping_the_loop(
    database: SqliteDatabase,
) -> None:
    held = database.path.with_name(database.path.name + ".lock").open("a")
    fcntl.flock(held, fcntl.LOCK_EX)
    ticks = 0
    writing = asyncio.create_task(database.write(adding("a")))
    while ticks < 20:
        await asyncio.sleep(0.005)
        ticks += 1
    waited = not writing.done()

    fcntl.flock(held, fcntl.LOCK_UN)
    await writing
    held.close()

    assert waited
    assert await things(database) == ["a"]


async def test_a_foreign_lock_that_lasts_fails_every_unit_that_waits_and_not_the_next(database: SqliteDatabase) -> None:
    blocker = sqlite3.connect(database.path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    results = await asyncio.gather(
        *(database.write(adding(id_)) for id_ in "ab"),
        return_exceptions=True,
    )
    blocker.execute("ROLLBACK")
    blocker.close()

    await database.write(adding("c"))

    assert [type(one) for one in results] == [sqlite3.OperationalError] * 2
    assert await things(database) == ["c"]


async def test_closing_finishes_what_waits(database: SqliteDatabase) -> None:
    writing = [asyncio.create_task(database.write(adding(id_))) for id_ in "abc"]
    await asyncio.sleep(0)

    await database.close()

    assert [await one for one in writing] == ["a", "b", "c"]
    assert "sqlite-disk" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(DatabaseClosed):
        await database.write(adding("d"))


@pytest.mark.parametrize("ends_with", [StopIteration(), asyncio.CancelledError(), LookupError()])
async def test_whatever_a_unit_ends_with_the_next_one_is_written(
    database: SqliteDatabase, ends_with: BaseException
) -> None:
    def unit(transaction: Transaction) -> str:
        transaction.execute(INSERT, {"id": "lost"})
        raise ends_with

    async with asyncio.timeout(10):
        (failed,) = await asyncio.gather(database.write(unit), return_exceptions=True)
        await database.write(adding("kept"))

    assert isinstance(failed, BaseException)
    assert await things(database) == ["kept"]


async def test_a_foreign_lock_is_waited_for_without_stopping_the_loop(database: SqliteDatabase) -> None:
    database._busy_timeout_ms = 5_000
    blocker = sqlite3.connect(database.path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    writing = asyncio.create_task(database.write(adding("a")))
    ticks = 0
    async with asyncio.timeout(2):
        while ticks < 20:
            await asyncio.sleep(0.005)
            ticks += 1
    waited = not writing.done()

    blocker.execute("ROLLBACK")
    blocker.close()
    await writing

    assert waited
    assert await things(database) == ["a"]


async def test_a_commit_that_fails_fails_every_unit_in_it_and_stores_nothing(database: SqliteDatabase) -> None:
    broken = Statement(lambda _: insert(PART).values(of=bindparam("of")))

    def unit(transaction: Transaction) -> str:
        transaction.execute(broken, {"of": "nothing"})
        return "never"

    units = [database.write(unit), database.write(adding("a"))]
    results = await asyncio.gather(*units, return_exceptions=True)
    await database.write(adding("b"))

    assert [type(one) for one in results] == [sqlite3.IntegrityError] * 2
    assert await things(database) == ["b"]


async def test_what_was_answered_survives_a_power_cut_and_the_lock_is_free(database: SqliteDatabase) -> None:
    await database.write(adding("a"))

    with database.path.with_name(database.path.name + ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert database._writer.execute("PRAGMA synchronous").fetchone() == (2,)
    assert database._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_closing_that_is_canceled_while_it_waits_goes_on(database: SqliteDatabase) -> None:
    held = database.path.with_name(database.path.name + ".lock").open("a")
    fcntl.flock(held, fcntl.LOCK_EX)
    writing = asyncio.create_task(database.write(adding("a")))
    await asyncio.sleep(0)
    closing = asyncio.create_task(database.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing

    fcntl.flock(held, fcntl.LOCK_UN)
    held.close()
    async with asyncio.timeout(5):
        written = await writing
        await database.close()

    assert written == "a"
    assert "sqlite-disk" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        database._writer.execute("SELECT 1")
