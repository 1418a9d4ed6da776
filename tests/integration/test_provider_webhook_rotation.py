"""Secrets that providers sign with are rotated without a refusal: both are accepted, then only the new one (H6)."""

import asyncio
from typing import Any

import pytest
from tests.integration.provider_account import Account, ManagedDoor, NewManagedDoor

URL = "https://shop.example/callbacks/lnd"


async def accepted(managed: ManagedDoor, account: Account, *secrets: str) -> list[bool]:
    """Tell which of the secrets prove an event of their own."""
    answers = [await account.deliver(managed.door, account.happens("ab" * 32), secret=one) for one in secrets]
    assert {answer.status_code for answer in answers} <= {202, 401}
    return [answer.status_code == 202 for answer in answers]


@pytest.fixture
async def held(managed: ManagedDoor) -> str:
    webhook_id: str = (await managed.subscribe(url=URL))["webhook"]["id"]
    return webhook_id


async def test_old_and_new_are_accepted_for_the_overlap_and_only_then(
    managed: ManagedDoor, account: Account, held: str
) -> None:
    old = account.secrets[held]

    rotated = await managed.rotate(held, overlap=3_600)
    new = account.secrets[held]
    during = await accepted(managed, account, old, new)
    managed.door.till.clock.advance(3_599)
    before_the_end = await accepted(managed, account, old, new)
    managed.door.till.clock.advance(2)
    after = await accepted(managed, account, old, new)

    assert rotated["webhook"]["secretRotatedAt"] is not None
    assert rotated["webhook"]["previousSecretUntil"] is not None
    assert new != old
    assert (during, before_the_end, after) == ([True, True], [True, True], [False, True])


async def test_the_new_secret_is_accepted_in_every_process_before_the_provider_has_it(
    managed: ManagedDoor, new_managed: NewManagedDoor, account: Account, held: str
) -> None:
    other = new_managed(another=True)
    old = account.secrets[held]
    rows: list[Any] = []

    async def look() -> None:
        rows.extend(await managed.door.till.rows("provider_webhook"))

    looking: list[asyncio.Task[None]] = []
    account.seen = lambda: looking.append(asyncio.ensure_future(look()))
    rotated = await managed.rotate(held, overlap=60)
    account.seen = lambda: None
    await asyncio.gather(*looking)

    assert (rotated["webhook"]["isRotating"], [row["generation"] for row in rows]) == (False, [2])
    assert await accepted(other, account, old, account.secrets[held]) == [True, True]


async def test_after_a_lost_answer_both_are_accepted_for_as_long_as_it_takes_and_asking_again_goes_on(
    managed: ManagedDoor, account: Account, held: str
) -> None:
    old = account.secrets[held]
    account.lost = 1

    lost = await managed.rotate(held, overlap=60)
    new = account.secrets[held]
    managed.door.till.clock.advance(30 * 86_400)
    meanwhile = await accepted(managed, account, old, new)
    (listed,) = await managed.listed()
    again = await managed.rotate(held, overlap=60)
    during = await accepted(managed, account, old, new)
    managed.door.till.clock.advance(61)
    after = await accepted(managed, account, old, new)

    assert (lost["code"], lost["retryable"], listed["isRotating"]) == ("PROVIDER_UNAVAILABLE", True, True)
    assert account.secrets[held] == new
    assert again["webhook"]["isRotating"] is False
    assert (meanwhile, during, after) == ([True, True], [True, True], [False, True])
    assert [row["generation"] for row in await managed.door.till.rows("provider_webhook")] == [2]


async def test_a_provider_that_is_down_keeps_the_old_secret_and_it_stays_accepted(
    managed: ManagedDoor, account: Account, held: str
) -> None:
    old = account.secrets[held]
    account.down = True

    refused = await managed.rotate(held, overlap=0)
    account.down = False
    meanwhile = await accepted(managed, account, old)
    done = await managed.rotate(held, overlap=0)

    assert (refused["code"], meanwhile) == ("PROVIDER_UNAVAILABLE", [True])
    assert done["webhook"]["isRotating"] is False
    assert await accepted(managed, account, old, account.secrets[held]) == [False, True]


async def test_a_secret_that_leaked_ends_at_once_also_within_an_overlap(
    managed: ManagedDoor, account: Account, held: str
) -> None:
    first = account.secrets[held]
    await managed.rotate(held, overlap=3_600)
    second = account.secrets[held]

    cut_short = await managed.rotate(held, overlap=3_600)
    at_once = await managed.rotate(held, overlap=0)
    third = account.secrets[held]

    assert (cut_short["__typename"], cut_short["code"]) == ("InvalidInputError", "INVALID_INPUT")
    assert at_once["__typename"] == "RotateProviderWebhookSecretSuccess"
    assert await accepted(managed, account, first, second, third) == [False, False, True]


async def test_who_rotates_together_in_two_processes_ends_with_one_secret_that_the_provider_has(
    managed: ManagedDoor, new_managed: NewManagedDoor, account: Account, held: str
) -> None:
    other = new_managed(another=True)
    old = account.secrets[held]

    rotated = await asyncio.gather(*(door.rotate(held, overlap=60) for door in (managed, other) * 3))

    assert {one["__typename"] for one in rotated} <= {"RotateProviderWebhookSecretSuccess", "InvalidInputError"}
    (row,) = await managed.door.till.rows("provider_webhook")
    assert (row["generation"], row["told"]) == (2, 2)
    log = [one for one in await managed.door.till.rows("audit_entry") if one["action"].endswith("_SECRET_ROTATED")]
    assert len(log) == 1
    assert await accepted(other, account, old, account.secrets[held]) == [True, True]


async def test_subscribing_again_ends_a_rotation_that_was_left_open(
    managed: ManagedDoor, account: Account, held: str
) -> None:
    account.lost = 1
    await managed.rotate(held)

    again = await managed.subscribe(url=URL)

    assert (again["webhook"]["id"], again["webhook"]["isRotating"]) == (held, False)
    assert again["webhook"]["secretRotatedAt"] is not None


async def test_what_is_not_ours_and_what_cannot_be_meant_is_refused(
    managed: ManagedDoor, account: Account, held: str
) -> None:
    foreign = account.set_up("https://elsewhere.example", secret="theirs")

    refused = [
        await managed.rotate(foreign.id),
        await managed.rotate("sub-9999"),
        await managed.rotate(held, overlap=-1),
        await managed.rotate(held, overlap=30 * 86_400 + 1),
    ]

    assert [one["code"] for one in refused] == [
        "PROVIDER_WEBHOOK_NOT_FOUND",
        "PROVIDER_WEBHOOK_NOT_FOUND",
        "INVALID_INPUT",
        "INVALID_INPUT",
    ]
    assert account.secrets[foreign.id] == "theirs"
    assert [row["generation"] for row in await managed.door.till.rows("provider_webhook")] == [1]
