"""Migrations: whole or not at all, and safe to repeat."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from alembic import command, op
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError
from tests.integration.readers import caller, log_in
from tests.integration.upvotes import new_article, owed, share, upvote
from tests.integration.wallets import begin, door_of, finish, sign
from tests.integration.webhook_post import Post, sale
from tests.integration.webhook_receiver import Receiver

from quittance.domain.ids import AccountId
from quittance.store import migrate
from quittance.store.migrate import SCRIPTS, _config, _on_connection, differences, upgrade
from quittance.store.version import SCHEMA_VERSION, is_up_to_date


def test_a_migration_cut_short_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "quittance.db"
    url = f"sqlite:///{path}"
    with monkeypatch.context() as broken:
        broken.setattr(op, "execute", lambda _: op.get_bind().exec_driver_sql("SELECT nothing FROM nowhere"))
        with pytest.raises(OperationalError):
            upgrade(url)

    with sqlite3.connect(path) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
    connection.close()
    upgrade(url)

    assert tables == []
    assert differences(url) is None


def test_a_database_without_tables_differs_and_says_so(tmp_path: Path) -> None:
    assert differences(f"sqlite:///{tmp_path / 'empty.db'}") == "Target database is not up to date."


def test_migrating_twice_changes_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'quittance.db'}"
    upgrade(url)

    upgrade(url)

    assert differences(url) is None


def test_the_version_that_is_looked_for_is_that_of_the_newest_migration() -> None:
    assert ScriptDirectory(str(SCRIPTS)).get_heads() == [SCHEMA_VERSION]


async def test_the_newest_migration_can_be_taken_back_and_made_again(database_url: str) -> None:
    script = ScriptDirectory(str(SCRIPTS)).get_revision(SCHEMA_VERSION)

    def again() -> list[str | None]:
        migrate._on_connection(
            database_url, lambda connection: command.downgrade(migrate._config(connection), str(script.down_revision))
        )
        before = differences(database_url)
        upgrade(database_url)
        return [before, differences(database_url)]

    assert await asyncio.to_thread(again) == ["Target database is not up to date.", None]


async def test_a_database_is_up_to_date_once_it_was_migrated(database_url: str, tmp_path: Path) -> None:
    missing = tmp_path / "missing.db"
    (tmp_path / "foreign.db").write_bytes(b"no database")

    assert await asyncio.to_thread(is_up_to_date, database_url)
    if database_url.startswith("postgresql"):
        mark = "&" if "?" in database_url else "?"
        assert await asyncio.to_thread(is_up_to_date, f"{database_url}{mark}prepared_statement_cache_size=0")
    assert not is_up_to_date_of(missing)
    assert not is_up_to_date_of(tmp_path / "foreign.db")
    assert not missing.exists()


async def test_a_version_that_knows_no_payment_s_own_address_keeps_what_went_to_endpoints(
    post: Post, receiver: Receiver, database_url: str
) -> None:
    await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    receiver.answers = ["500 Oops"] * 3
    payment_id = await sale(post, notify_url=receiver.url)
    await post.tell()
    before = {table: await post.till.rows(table) for table in ("webhook_delivery", "webhook_attempt", "job")}
    kept = [row["id"] for row in before["webhook_delivery"] if row["endpoint_id"] is not None]

    revisions = ScriptDirectory(str(SCRIPTS)).walk_revisions()
    before_it = next(str(each.down_revision) for each in revisions if "notify_urls" in each.path)

    def there_and_back(connection: Connection) -> None:
        command.downgrade(_config(connection), before_it)
        command.upgrade(_config(connection), "head")

    await asyncio.to_thread(_on_connection, database_url, there_and_back)

    after = {table: await post.till.rows(table) for table in before}
    assert len(kept) == 1
    assert {table: len(rows) for table, rows in before.items()} == {
        "webhook_delivery": 4, "webhook_attempt": 2, "job": 4,
    }  # fmt: skip
    assert [row for row in before["webhook_delivery"] if row["id"] in kept] == after["webhook_delivery"]
    assert [row for row in before["webhook_attempt"] if row["delivery_id"] in kept] == after["webhook_attempt"]
    assert [row for row in before["job"] if row["subject"] in kept] == after["job"]
    assert (await post.till.payment(payment_id)).notify_url is None
    assert await asyncio.to_thread(differences, database_url) is None


async def test_a_version_that_knows_no_wallets_keeps_the_accounts_of_those_who_log_in_with_one(
    till: Any, database_url: str
) -> None:
    begun = await begin(till.shop, username="bobby")
    async with door_of(till.services) as door:
        await sign(door, begun)
    token = (await finish(till.shop, begun))["token"]
    await log_in(till.shop, "alice")
    before = await till.rows("account")

    await asyncio.to_thread(_on_connection, database_url, _there_and_back)

    assert [(row["username"], row["identity_pubkey"] is None) for row in before] == [("bobby", True), ("alice", False)]
    assert await till.rows("account") == before
    assert (await caller(till.shop, token)).account_id == before[0]["id"]
    assert await asyncio.to_thread(differences, database_url) is None


async def test_a_version_that_shares_no_upvotes_out_leaves_their_money_to_the_merchant(
    till: Any, database_url: str
) -> None:
    article_id = await new_article(till)
    first = AccountId(f"acc_{1:032x}")
    await upvote(till, article_id, first)
    await upvote(till, article_id, AccountId(f"acc_{2:032x}"))
    await share(till)
    await upvote(till, article_id, AccountId(f"acc_{3:032x}"), amount_msat=1_000_001)
    before = await owed(till)

    await asyncio.to_thread(_on_connection, database_url, _there_and_back)

    assert before == {"PROVIDER": -3_000_001, "MERCHANT": 1_000_001, "SPLIT": 1_000_000, first: 1_000_000}
    assert await owed(till) == {"PROVIDER": -3_000_001, "MERCHANT": 2_000_001, first: 1_000_000}
    assert [row["kind"] for row in await till.rows("job") if row["kind"] == "upvote.split"] == []
    assert await asyncio.to_thread(differences, database_url) is None


def _there_and_back(connection: Connection) -> None:
    """Go to the version before wallets and shares, and back."""
    revisions = ScriptDirectory(str(SCRIPTS)).walk_revisions()
    command.downgrade(
        _config(connection), next(str(each.down_revision) for each in revisions if "wallet_logins" in each.path)
    )
    command.upgrade(_config(connection), "head")


def is_up_to_date_of(path: Path) -> bool:
    return is_up_to_date(f"sqlite:///{path}")
