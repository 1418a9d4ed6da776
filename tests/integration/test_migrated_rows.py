"""Rows that were there before a migration: they keep what they said, and gain what is asked of them now."""

import asyncio
from typing import Any

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from tests.integration.webhook_post import Post, fan_out_all, sale
from tests.integration.webhook_receiver import Receiver

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


async def test_of_deliveries_of_one_event_that_wait_together_the_first_goes_on(
    post: Post, receiver: Receiver, database_url: str
) -> None:
    await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    await sale(post)
    await sale(post)
    await fan_out_all(post)
    one, other = await post.till.rows("webhook_delivery")
    delivered, later = one | {"id": "whd_0", "state": "DELIVERED"}, one | {"id": f"{one['id']}0", "cause": "REPLAY"}
    columns = ", ".join(one)

    def repeat(connection: Connection) -> None:
        for row in (delivered, later, later | {"id": f"{one['id']}1"}):
            values = ", ".join(f":{name}" for name in row)
            connection.execute(text(f"INSERT INTO webhook_delivery ({columns}) VALUES ({values})"), row)

    await go_back(database_url, "owners and orders of lists")
    await told(database_url, repeat)
    await asyncio.to_thread(upgrade, database_url)

    def states(connection: Connection) -> dict[str, tuple[str, int | None]]:
        rows = connection.execute(text("SELECT id, state, ended_at_us FROM webhook_delivery"))
        return {id_: (state, ended) for id_, state, ended in rows}

    ended = one["created_at_us"]
    assert await told(database_url, states) == {
        one["id"]: ("PENDING", None),
        other["id"]: ("PENDING", None),
        "whd_0": ("DELIVERED", None),
        f"{one['id']}0": ("CANCELED", ended),
        f"{one['id']}1": ("CANCELED", ended),
    }
    assert await asyncio.to_thread(differences, database_url) is None
