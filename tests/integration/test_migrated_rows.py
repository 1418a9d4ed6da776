"""Rows that were there before a migration: they keep what they said, and gain what is asked of them now."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from tests.integration.callback_door import CallbackDoor
from tests.integration.holding import Holder
from tests.integration.outgoing_money import refund
from tests.integration.webhook_post import Post, fan_out_all, sale, update
from tests.integration.webhook_receiver import Receiver

from quittance.domain.errors import ProviderUnavailable
from quittance.providers.lnd._proto import lnrpc_pb2 as ln
from quittance.resolvers.services import Services
from quittance.sandbox.clock import SandboxClock
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


async def test_checks_become_jobs_and_back_and_nothing_is_lost_but_what_an_older_version_cannot_hold(
    post: Post, receiver: Receiver, door: CallbackDoor, clock: SandboxClock, database_url: str
) -> None:
    options = await fill(post, receiver, door, clock)
    newest = await told(database_url, everything)
    assert states_of(newest) == {"provider.check": {"WAITING"}, "webhook.delivery": {"WAITING", "DEAD"}} | {
        "provider.callback": {"WAITING"}
    }

    await go_back(database_url, CHECKS_ARE_JOBS)
    await told(database_url, remember_a_done_job)
    old = await told(database_url, everything)
    await asyncio.to_thread(upgrade, database_url)
    new = await told(database_url, everything)
    await go_back(database_url, CHECKS_ARE_JOBS)
    old_again = await told(database_url, everything)
    await asyncio.to_thread(upgrade, database_url)
    new_again = await told(database_url, everything)

    checks = {row["id"]: row["check_at_us"] for row in old["payment_option"] if row["check_at_us"] is not None}
    planned = {row["subject"]: row["due_at_us"] for row in newest["job"] if row["kind"] == "provider.check"}
    assert checks == planned
    assert options["open"] in checks
    assert options["failed"] in {row["id"] for row in old["payment_option"]} - checks.keys()
    assert states_of(old) == {"webhook.delivery": {"WAITING", "DEAD", "DONE"}}
    assert states_of(new) == {"provider.check": {"WAITING"}, "webhook.delivery": {"WAITING", "DEAD"}}
    assert old_again == old | {"job": [row for row in old["job"] if row["state"] != "DONE"]}
    assert new_again == new
    assert new | CHANGED == newest | CHANGED
    assert plans_of(new) == plans_of(newest)
    assert await asyncio.to_thread(differences, database_url) is None


async def test_held_payments_go_back_to_open_ones_and_the_rest_were_never_held(till: Any, database_url: str) -> None:
    plain = (await till.order()).payment.id
    held = await Holder(till).held()

    def statuses(connection: Connection) -> dict[str, tuple[str, str]]:
        rows = connection.execute(
            text("SELECT p.id, p.status, o.state FROM payment p JOIN payment_option o ON o.payment_id = p.id")
        )
        return {id_: (status, state) for id_, status, state in rows}

    await go_back(database_url, "held payments")
    before = await told(database_url, statuses)
    await asyncio.to_thread(upgrade, database_url)

    assert before == {plain: ("PENDING_PAYMENT", "OPEN"), held: ("PENDING_PAYMENT", "OPEN")}
    assert [(row["hold"], row["hold_expires_at_us"]) for row in await till.rows("payment")] == [(0, None)] * 2
    assert await asyncio.to_thread(differences, database_url) is None


async def test_money_that_was_held_before_the_books_forgot_holds_goes_back(
    till: Any, new_services: Callable[[], Services], database_url: str
) -> None:
    holder = Holder(till)
    payment_id = await holder.held()
    await go_back(database_url, "held payments")
    await asyncio.to_thread(upgrade, database_url)
    after = holder.on(new_services())
    locked = (await after.invoice(payment_id)).state

    after.wait(after.till.services.rules.reconcile_interval_s)
    await after.till.reconcile()

    assert locked == ln.Invoice.ACCEPTED
    await after.assert_given_back(payment_id, "CANCELED", "CANCELED_AT_PROVIDER")
    assert await after.till.rows("job") == []


async def test_a_version_that_knows_no_orders_of_holds_keeps_what_is_held(
    till: Any, new_services: Callable[[], Services], database_url: str
) -> None:
    holder = Holder(till)
    payment_id = await holder.held()
    await till.rails.faults.arm("lnd", "unavailable", method="SettleInvoice")
    await holder.capture(payment_id)
    ordered = [row["hold_order"] for row in await till.rows("payment")]

    await go_back(database_url, "orders of holds")
    await asyncio.to_thread(upgrade, database_url)
    after = holder.on(new_services())

    (row,) = await after.till.rows("payment")
    assert (ordered, row["status"], row["hold_order"]) == (["CAPTURE"], "HELD", None)
    assert (await after.capture(payment_id))["payment"]["status"] == "COMPLETE"
    await after.assert_taken_once(payment_id)


async def test_a_version_that_sends_no_money_keeps_what_is_owed_and_does_not_forget_what_may_leave(
    till: Any, database_url: str
) -> None:
    await till.sold(amount_msat=1_000_000)
    sold = await till.sold(amount_msat=300_000)
    address = till.rails.address_of("bob")
    open_one = await refund(till, sold.id, destination=address, amount={"msat": "100000"})

    with pytest.raises(RuntimeError, match="let them end first"):
        await go_back(database_url, "transfers")
    await till.send()
    await go_back(database_url, "transfers")

    def books(connection: Connection) -> dict[str, int]:
        rows = connection.execute(text("SELECT id, kind, balance_value FROM ledger_account")).all()
        lines = "SELECT account_id, SUM(value) FROM ledger_entry GROUP BY account_id"
        sums = {row[0]: row[1] for row in connection.execute(text(lines))}
        assert {row[0]: row[2] for row in rows if row[2]} == {id_: total for id_, total in sums.items() if total}
        jobs = connection.execute(text("SELECT kind FROM job")).scalars().all()
        actions = connection.execute(text("SELECT action FROM audit_entry")).scalars().all()
        assert {"transfer"} & set(jobs) == {"PAYMENT_REFUNDED"} & set(actions) == set()
        return {row[1]: row[2] for row in rows}

    kept = await told(database_url, books)
    await asyncio.to_thread(upgrade, database_url)

    assert open_one["status"] in {"PENDING", "SENDING"}
    assert set(kept) == {"MERCHANT", "PROVIDER"}
    assert kept["MERCHANT"] == -kept["PROVIDER"]
    assert -1_200_000 <= kept["MERCHANT"] < -1_190_000
    assert await asyncio.to_thread(differences, database_url) is None


CHECKS_ARE_JOBS = "checks are jobs, lanes know more, done jobs are gone"
CHANGED: dict[str, Any] = dict.fromkeys(["job", "job_lane", "provider_callback", "provider_callback_body"])


async def fill(post: Post, receiver: Receiver, door: CallbackDoor, clock: SandboxClock) -> dict[str, str]:
    """Make a failed, a settled and an open attempt, jobs that wait and are dead, and callbacks; return the attempts."""
    await post.till.rails.faults.arm("lnd", "unavailable", method="AddInvoice")
    with suppress(ProviderUnavailable):
        await post.till.order()
    clock.advance(post.till.services.rules.claim_s + 1)
    await post.till.reconcile()
    (failed,) = [row["id"] for row in await post.till.rows("payment")]
    made = await post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    await sale(post)
    await post.tell()
    settled = await sale(post)
    receiver.answers = ["410 Gone", "500 Oops"]
    await post.tell()
    await update(post, made, enabled=True)
    await sale(post)
    await post.tell()
    await sale(post)
    await fan_out_all(post)
    opened = (await post.till.order()).payment.id
    attempts = {"failed": failed, "settled": settled, "open": opened}
    found = {name: (await post.till.options(payment_id))[0] for name, payment_id in attempts.items()}
    assert [one.state for one in found.values()] == ["FAILED", "SETTLED", "OPEN"]
    await door.hear(found["settled"].reference)
    await door.work()
    await door.hear(found["open"].reference, event_id="msg_2")
    return {name: one.id for name, one in found.items()}


def everything(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    """Return every row of every table, in an order that depends on what it says alone."""
    tables = [table for table in inspect(connection).get_table_names() if table != "alembic_version"]
    rows = {table: connection.execute(text(f'SELECT * FROM "{table}"')).mappings().all() for table in tables}
    return {table: sorted((dict(sorted(dict(row).items())) for row in held), key=repr) for table, held in rows.items()}


def remember_a_done_job(connection: Connection) -> None:
    """Store a job as the older version kept those that were done."""
    dead = connection.execute(text("SELECT * FROM job WHERE state = 'DEAD'")).mappings().one()
    delivered = connection.execute(text("SELECT id FROM webhook_delivery WHERE state = 'DELIVERED'")).scalar_one()
    row = dict(dead) | {"id": "job_done", "subject": delivered, "state": "DONE"}
    values = ", ".join(f":{name}" for name in row)
    connection.execute(text(f"INSERT INTO job ({', '.join(row)}) VALUES ({values})"), row)


def states_of(rows: dict[str, list[dict[str, Any]]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in rows["job"]:
        found.setdefault(row["kind"], set()).add(row["state"])
    return found


def plans_of(rows: dict[str, list[dict[str, Any]]]) -> set[tuple[Any, ...]]:
    """Return which jobs there are and when they are due, but for those of callbacks."""
    jobs = [row for row in rows["job"] if row["kind"] != "provider.callback"]
    return {(row["kind"], row["subject"], row["state"], row["due_at_us"]) for row in jobs}
