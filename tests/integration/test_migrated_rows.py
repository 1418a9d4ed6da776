"""Rows that were there before a migration: they keep what they said, and gain what is asked of them now."""

import asyncio
from typing import Any

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from quittance.store.migrate import SCRIPTS, _config, _on_connection, differences, upgrade


def before(name: str) -> str:
    """Return the revision before the one of this name."""
    (found,) = (script for script in ScriptDirectory(str(SCRIPTS)).walk_revisions() if script.doc == name)
    assert isinstance(found.down_revision, str)
    return found.down_revision


async def told(url: str, ask: Any) -> Any:
    """Return what ``ask`` finds on a connection of its own."""
    found: list[Any] = []
    await asyncio.to_thread(_on_connection, url, lambda connection: found.append(ask(connection)))
    return found[0]


async def go_back(url: str, name: str) -> None:
    """Undo the migration of this name, and all after it."""
    await told(url, lambda connection: command.downgrade(_config(connection), before(name)))


async def test_settlements_learn_whose_they_are_from_their_payments(
    till: Any, other_shop: Any, database_url: str
) -> None:
    for shop in (till, till.of(other_shop), till):
        await till.report(await shop.money((await shop.order()).payment.id))
    settlements = await till.rows("settlement")

    def columns(connection: Connection) -> set[str]:
        return {column["name"] for column in inspect(connection).get_columns("settlement")}

    def owned(connection: Connection) -> list[tuple[Any, ...]]:
        rows = connection.execute(text("SELECT id, merchant_id, reference FROM settlement ORDER BY id")).all()
        return [tuple(row) for row in rows]

    await go_back(database_url, "owners and orders of lists")
    without = await told(database_url, columns)
    await asyncio.to_thread(upgrade, database_url)

    own, other = till.shop.principal.merchant_id, other_shop.principal.merchant_id
    assert "merchant_id" not in without
    assert [row["merchant_id"] for row in settlements] == [own, other, own]
    assert await told(database_url, owned) == [(row["id"], row["merchant_id"], row["reference"]) for row in settlements]
    assert await asyncio.to_thread(differences, database_url) is None
