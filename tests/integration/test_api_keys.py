"""API keys: made, listed, revoked, and turned over with an overlap."""

import asyncio
import json
from typing import Any

import pytest
from tests.integration.merchant_calls import CREATE_KEY, FOREIGN_IDS, KEYS, REVOKE, ROTATE, caller, new_key, opens

from quittance.domain.access import ApiKey, Scope
from quittance.domain.errors import InvalidInput
from quittance.domain.secrets import OVERLAP_S_MAX
from quittance.resolvers.access import still_valid
from quittance.resolvers.keys import create_key, list_every_key, revoke_key, rotate_key
from quittance.resolvers.merchants import create_merchant, ensure_bootstrap
from quittance.sandbox.clock import SandboxClock


@pytest.mark.parametrize("scopes", [[], ["everything"], ["payments:read", ""], ["ADMIN"], ["admin "]])
async def test_a_key_with_an_unknown_scope_or_none_is_not_made(shop: Any, scopes: list[str]) -> None:
    answer = await shop.mutate("createApiKey", CREATE_KEY, {"input": {"name": "x", "scopes": scopes}})

    assert (answer["code"], answer["field"]) == ("INVALID_INPUT", "scopes")
    assert len(await list_every_key(shop.services)) == 1


async def test_the_name_of_the_key_that_a_setting_fixes_is_taken(shop: Any, other_shop: Any) -> None:
    refused = await new_key(shop, name="bootstrap")
    elsewhere = await new_key(other_shop, name="bootstrap")

    assert (refused["code"], refused["field"]) == ("INVALID_INPUT", "name")
    assert elsewhere["apiKey"]["name"] == "bootstrap"


async def test_a_new_key_does_what_its_scopes_say_and_is_listed_with_its_last_use(
    shop: Any, clock: SandboxClock
) -> None:
    from quittance.store import merchants

    clock.advance(1)  # ids sort by the millisecond
    made = await new_key(shop, "payments:read", "articles:write", "payments:read")
    principal = await caller(shop, made["secret"])
    assert principal.key_id is not None
    used_at = clock.now().replace(microsecond=0)
    await shop.services.database.write(lambda t, key_id=principal.key_id: merchants.touch_keys(t, [key_id], at=used_at))

    page = (await shop.run(KEYS, {"first": 1}))["apiKeys"]
    rest = (await shop.run(KEYS, {"after": page["pageInfo"]["endCursor"]}))["apiKeys"]

    assert principal.scopes == {Scope.PAYMENTS_READ, Scope.ARTICLES_WRITE}
    assert (page["totalCount"], page["pageInfo"]["hasNextPage"]) == (2, True)
    assert page["edges"][0]["node"] == made["apiKey"] | {
        "lastUsedAt": used_at.isoformat().replace("+00:00", "Z"),
        "scopes": ["articles:write", "payments:read"],
    }
    assert [edge["node"]["name"] for edge in rest["edges"]] == ["bootstrap"]
    assert made["secret"] not in json.dumps([page, rest])


async def test_a_revoked_key_is_refused_at_once_and_revoking_again_changes_nothing(
    shop: Any, clock: SandboxClock
) -> None:
    made = await new_key(shop)
    principal = await caller(shop, made["secret"])

    revoked = await shop.mutate("revokeApiKey", REVOKE, {"id": made["apiKey"]["id"]})
    valid = await still_valid(shop.services, principal)
    clock.advance(60)
    again = await shop.mutate("revokeApiKey", REVOKE, {"id": made["apiKey"]["id"]})

    assert not valid
    assert not await opens(shop, made["secret"])
    assert revoked["apiKey"]["active"] is False
    assert again == revoked


@pytest.mark.parametrize(
    ("overlap", "lasts_s"), [({"overlap": 3_600}, 3_600), ({}, 86_400), ({"overlap": None}, 86_400)]
)
async def test_h6_old_and_new_key_work_during_the_overlap_and_only_then(
    shop: Any, clock: SandboxClock, overlap: Any, lasts_s: int
) -> None:
    clock.advance(1)  # ids sort by the millisecond
    made = await new_key(shop, "payments:read", "payments:write")
    old = await caller(shop, made["secret"])
    clock.advance(1)

    rotated = await shop.mutate("rotateApiKey", ROTATE, {"id": made["apiKey"]["id"]} | overlap)
    new = await caller(shop, rotated["secret"])
    clock.advance(lasts_s - 30)
    within = (await opens(shop, made["secret"]), await still_valid(shop.services, old))
    listed_within = [edge["node"] for edge in (await shop.run(KEYS))["apiKeys"]["edges"]]
    clock.advance(60)
    beyond = (await opens(shop, made["secret"]), await still_valid(shop.services, old))
    listed_beyond = [edge["node"] for edge in (await shop.run(KEYS))["apiKeys"]["edges"]]

    assert rotated["secret"] != made["secret"]
    assert (rotated["apiKey"]["name"], new.scopes, new.merchant_id) == ("a till", old.scopes, old.merchant_id)
    assert (within, beyond) == ((True, True), (False, False))
    assert await opens(shop, rotated["secret"])
    assert await still_valid(shop.services, new)
    shown = [[(key["id"], key["active"]) for key in listed] for listed in (listed_within, listed_beyond)]
    ids = (rotated["apiKey"]["id"], made["apiKey"]["id"])
    assert [each[:2] for each in shown] == [[(ids[0], True), (ids[1], True)], [(ids[0], True), (ids[1], False)]]
    assert listed_within[0]["revokedAt"] is None
    assert listed_within[1]["revokedAt"] == listed_beyond[1]["revokedAt"] is not None


async def test_a_rotation_without_overlap_ends_the_old_key_at_once(shop: Any) -> None:
    made = await new_key(shop)

    rotated = await shop.mutate("rotateApiKey", ROTATE, {"id": made["apiKey"]["id"], "overlap": 0})

    assert (await opens(shop, made["secret"]), await opens(shop, rotated["secret"])) == (False, True)


async def test_a_key_in_its_overlap_can_be_revoked_but_not_rotated_again(shop: Any) -> None:
    made = await new_key(shop)
    rotated = await shop.mutate("rotateApiKey", ROTATE, {"id": made["apiKey"]["id"], "overlap": 3_600})

    twice = await shop.mutate("rotateApiKey", ROTATE, {"id": made["apiKey"]["id"], "overlap": 3_600})
    alive = await opens(shop, made["secret"])
    revoked = await shop.mutate("revokeApiKey", REVOKE, {"id": made["apiKey"]["id"]})
    revived = await shop.mutate("rotateApiKey", ROTATE, {"id": made["apiKey"]["id"], "overlap": 3_600})

    assert [(each["code"], each["field"]) for each in (twice, revived)] == [("INVALID_INPUT", "id")] * 2
    assert alive
    assert revoked["apiKey"]["active"] is False
    assert (await opens(shop, made["secret"]), await opens(shop, rotated["secret"])) == (False, True)
    assert len(await list_every_key(shop.services)) == 3


async def test_a_key_rotated_twenty_times_together_has_one_successor(shop: Any) -> None:
    made = await new_key(shop)

    answers = await asyncio.gather(
        *(shop.mutate("rotateApiKey", ROTATE, {"id": made["apiKey"]["id"], "overlap": 60}) for _ in range(20))
    )

    assert sorted(answer["__typename"] for answer in answers) == ["InvalidInputError"] * 19 + ["RotateApiKeySuccess"]
    assert len(await list_every_key(shop.services)) == 3


@pytest.mark.parametrize("overlap", [-1, OVERLAP_S_MAX + 1, 2**31 - 1])
async def test_an_overlap_out_of_bounds_rotates_nothing(shop: Any, overlap: int) -> None:
    made = await new_key(shop)

    answer = await shop.mutate("rotateApiKey", ROTATE, {"id": made["apiKey"]["id"], "overlap": overlap})

    assert (answer["code"], answer["field"]) == ("INVALID_INPUT", "overlapSeconds")
    assert await opens(shop, made["secret"])
    assert len(await list_every_key(shop.services)) == 2


async def test_the_key_that_a_setting_fixes_is_not_rotated_for_the_next_start_would_undo_it(shop: Any) -> None:
    answer = await shop.mutate("rotateApiKey", ROTATE, {"id": shop.principal.key_id})

    assert (answer["code"], answer["field"]) == ("INVALID_INPUT", "id")
    assert await opens(shop, "a-bootstrap-key")
    again = await ensure_bootstrap(shop.services, name="Shop", secret="a-bootstrap-key")
    other = await ensure_bootstrap(shop.services, name="Shop", secret="another-bootstrap-key")
    assert (again.id == shop.principal.key_id, other.id == again.id) == (True, False)
    assert (await opens(shop, "a-bootstrap-key"), await opens(shop, "another-bootstrap-key")) == (False, True)


async def test_a_revoked_key_stays_shut_although_the_setting_still_names_it(shop: Any) -> None:
    await revoke_key(shop.services, shop.principal.key_id)

    with pytest.raises(InvalidInput, match="was revoked; set another QUITTANCE_BOOTSTRAP_API_KEY"):
        await ensure_bootstrap(shop.services, name="Shop", secret="a-bootstrap-key")

    assert not await opens(shop, "a-bootstrap-key")


async def test_a_key_of_another_merchant_is_not_found_and_stays_as_it_is(shop: Any, other_shop: Any) -> None:
    theirs = await new_key(other_shop)
    ids = [theirs["apiKey"]["id"], *FOREIGN_IDS]

    revoked = [await shop.mutate("revokeApiKey", REVOKE, {"id": id_}) for id_ in ids]
    rotated = [await shop.mutate("rotateApiKey", ROTATE, {"id": id_}) for id_ in ids]

    assert [(answer["code"], answer["apiKeyId"]) for answer in revoked] == [("API_KEY_NOT_FOUND", id_) for id_ in ids]
    assert [answer["code"] for answer in rotated] == ["API_KEY_NOT_FOUND"] * len(ids)
    assert await opens(shop, theirs["secret"])
    assert [edge["node"]["name"] for edge in (await shop.run(KEYS))["apiKeys"]["edges"]] == ["bootstrap"]


async def test_the_command_line_reaches_every_merchants_keys(shop: Any, clock: SandboxClock) -> None:
    made = await create_merchant(shop.services, name="Books")
    created = await create_key(shop.services, merchant_id=made.merchant.id, name="till", scopes=["payments:read"])

    rotated = await rotate_key(shop.services, created.key.id, overlap_s=60)
    within = await opens(shop, created.secret)
    clock.advance(61)
    revoked = [await revoke_key(shop.services, id_) for id_ in (rotated.key.id, rotated.key.id, created.key.id)]

    assert (within, revoked) == (True, [True, False, False])
    assert not await opens(shop, created.secret)
    assert await opens(shop, made.first.secret)
    keys: list[ApiKey] = await list_every_key(shop.services)
    assert sorted((key.merchant_id == made.merchant.id, key.name) for key in keys) == [
        (False, "bootstrap"),
        (True, "first key"),
        (True, "till"),
        (True, "till"),
    ]
