"""Merchants and keys: who manages whom, what is refused, keys that turn over, policies that count, and the fence."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from quittance.domain.access import ANONYMOUS, ApiKey, Principal, Scope
from quittance.domain.errors import InvalidInput, PermissionDenied, QuittanceError, Unauthenticated
from quittance.domain.ids import BOOTSTRAP_MERCHANT
from quittance.domain.payment import PaymentStatus
from quittance.domain.secrets import OVERLAP_S_MAX
from quittance.gql.schema import schema
from quittance.resolvers.access import authenticate, still_valid
from quittance.resolvers.articles import ArticleDraft, create_article
from quittance.resolvers.keys import create_key, list_every_key, revoke_key, rotate_key
from quittance.resolvers.merchants import create_merchant, ensure_bootstrap, list_every_merchant
from quittance.sandbox.clock import SandboxClock

MERCHANT = """
  id name defaultProvider createdAt policy { late lateGraceSeconds under underTolerancePpm over }
"""
KEY = "id name prefix scopes createdAt lastUsedAt revokedAt active"
ERROR = """
  __typename
  ... on UserError { code message retryable }
  ... on InvalidInputError { field }
  ... on MerchantNotFoundError { merchantId }
  ... on ApiKeyNotFoundError { apiKeyId }
  ... on PermissionDeniedError { needed }
"""
NO_KEY_ERROR = ERROR.replace("... on ApiKeyNotFoundError { apiKeyId }", "")
NO_MERCHANT_ERROR = ERROR.replace("... on MerchantNotFoundError { merchantId }", "")
NEITHER_ERROR = NO_KEY_ERROR.replace("... on MerchantNotFoundError { merchantId }", "")
CREATE = f"""
mutation ($input: CreateMerchantInput!) {{ createMerchant(input: $input) {{
  {NEITHER_ERROR} ... on CreateMerchantSuccess {{ merchant {{ {MERCHANT} }} apiKey {{ {KEY} }} secret }} }} }}
"""
UPDATE = f"""
mutation ($input: UpdateMerchantInput!) {{ updateMerchant(input: $input) {{
  {NO_KEY_ERROR} ... on UpdateMerchantSuccess {{ merchant {{ {MERCHANT} }} }} }} }}
"""
CREATE_KEY = f"""
mutation ($input: CreateApiKeyInput!) {{ createApiKey(input: $input) {{
  {NEITHER_ERROR} ... on CreateApiKeySuccess {{ apiKey {{ {KEY} }} secret }} }} }}
"""
REVOKE = f"""
mutation ($id: ID!) {{ revokeApiKey(id: $id) {{
  {NO_MERCHANT_ERROR.replace("... on InvalidInputError { field }", "")}
  ... on RevokeApiKeySuccess {{ apiKey {{ {KEY} }} }} }} }}
"""
ROTATE = f"""
mutation ($id: ID!, $overlap: Int) {{ rotateApiKey(id: $id, overlapSeconds: $overlap) {{
  {NO_MERCHANT_ERROR} ... on RotateApiKeySuccess {{ apiKey {{ {KEY} }} secret }} }} }}
"""
MERCHANTS = f"query ($first: Int, $after: String) {{ merchants(first: $first, after: $after) {{ totalCount edges {{ cursor node {{ {MERCHANT} }} }} pageInfo {{ hasNextPage endCursor }} }} }}"  # noqa: E501
KEYS = f"query ($first: Int, $after: String) {{ apiKeys(first: $first, after: $after) {{ totalCount edges {{ cursor node {{ {KEY} }} }} pageInfo {{ hasNextPage endCursor }} }} }}"  # noqa: E501
NODE = "query ($id: ID!) { node(id: $id) { __typename id ... on Merchant { name } } }"
DEFAULT_POLICY = {
    "late": "ACCEPT",
    "lateGraceSeconds": 300,
    "under": "WAIT",
    "underTolerancePpm": 0,
    "over": "KEEP",
}
FOREIGN_IDS = ["", "\x00", "\ud800", "mer_" + "f" * 32, "key_" + "f" * 32, "' OR 1=1 --", "x" * 10_000]


async def new_merchant(shop: Any, name: str = "A shop") -> Any:
    return await shop.mutate("createMerchant", CREATE, {"input": {"name": name}})


async def new_key(shop: Any, *scopes: str, name: str = "a till", **more: Any) -> Any:
    given = {"name": name, "scopes": list(scopes or ["payments:read"])}
    return await shop.mutate("createApiKey", CREATE_KEY, {"input": given}, **more)


async def update(shop: Any, **more: Any) -> Any:
    return await shop.mutate("updateMerchant", UPDATE, {"input": {"id": shop.principal.merchant_id} | more})


async def caller(shop: Any, secret: str) -> Principal:
    return await authenticate(shop.services, authorization=f"Bearer {secret}", client_secret=None)


async def opens(shop: Any, secret: str) -> bool:
    try:
        await caller(shop, secret)
    except Unauthenticated:
        return False
    return True


async def refusals(shop: Any, document: str, variables: Any, as_: Principal) -> list[str]:
    result = await schema.execute(document, variables, shop.context(as_))
    assert all(isinstance(error.original_error, QuittanceError) for error in result.errors or [])
    return [error.original_error.code for error in result.errors or []]  # type: ignore[union-attr]


def narrow(principal: Principal, *scopes: Scope) -> Principal:
    return Principal(merchant_id=principal.merchant_id, key_id=principal.key_id, scopes=frozenset(scopes))


NOT_ADMIN = tuple(scope for scope in Scope if scope is not Scope.ADMIN)


async def test_a_new_merchant_has_an_admin_key_that_works_and_nothing_of_its_maker(shop: Any) -> None:
    made = await new_merchant(shop, "Books")

    principal = await caller(shop, made["secret"])
    own = (await shop.run(MERCHANTS, as_=principal))["merchants"]
    payments = await shop.run("{ payments { totalCount } articles { totalCount } }", as_=principal)
    assert made["merchant"] == own["edges"][0]["node"]
    assert own["totalCount"] == len(own["edges"]) == 1
    assert {name: made["merchant"][name] for name in ("name", "defaultProvider", "policy")} == {
        "name": "Books",
        "defaultProvider": "lnd",
        "policy": DEFAULT_POLICY,
    }
    assert (principal.merchant_id, principal.key_id) == (made["merchant"]["id"], made["apiKey"]["id"])
    assert principal.scopes == {Scope.ADMIN}
    assert (made["apiKey"]["scopes"], made["apiKey"]["active"], made["apiKey"]["lastUsedAt"]) == (["admin"], True, None)
    assert payments == {"payments": {"totalCount": 0}, "articles": {"totalCount": 0}}


async def test_only_an_admin_key_of_the_first_merchant_makes_merchants(shop: Any, other_shop: Any) -> None:
    callers = [other_shop.principal, narrow(shop.principal, *NOT_ADMIN), ANONYMOUS, Principal(payment_id=None)]

    answers = [await shop.mutate("createMerchant", CREATE, {"input": {"name": "X"}}, as_=who) for who in callers]

    assert {(answer["__typename"], answer["needed"]) for answer in answers} == {
        ("PermissionDeniedError", "admin of the first merchant")
    }
    assert len(await list_every_merchant(shop.services)) == 2
    with pytest.raises(PermissionDenied):
        other_shop.principal.require_operator()
    assert shop.principal.require_operator() == BOOTSTRAP_MERCHANT


async def test_every_list_and_change_of_keys_and_merchants_needs_admin(shop: Any) -> None:
    made = await new_key(shop)
    for who in (narrow(shop.principal, *NOT_ADMIN), ANONYMOUS):
        answers = [
            (await shop.mutate(field, document, variables, as_=who))["code"]
            for field, document, variables in (
                ("updateMerchant", UPDATE, {"input": {"id": shop.principal.merchant_id, "name": "Y"}}),
                ("createApiKey", CREATE_KEY, {"input": {"name": "x", "scopes": ["payments:read"]}}),
                ("revokeApiKey", REVOKE, {"id": made["apiKey"]["id"]}),
                ("rotateApiKey", ROTATE, {"id": made["apiKey"]["id"]}),
            )
        ]
        lists = [await refusals(shop, document, {}, who) for document in (MERCHANTS, KEYS)]

        assert answers == ["PERMISSION_DENIED"] * 4
        assert lists == [["PERMISSION_DENIED"]] * 2
    assert await opens(shop, made["secret"])
    assert {key.name for key in await list_every_key(shop.services)} == {"bootstrap", "a till"}
    assert len(await list_every_key(shop.services)) == 2


async def test_the_operator_sees_all_merchants_and_others_their_own(shop: Any) -> None:
    made = [await new_merchant(shop, f"M{n}") for n in range(5)]
    seen: list[str] = []
    after, more = None, True
    while more:
        page = (await shop.run(MERCHANTS, {"first": 2, "after": after}))["merchants"]
        seen += [edge["node"]["id"] for edge in page["edges"]]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
        assert page["totalCount"] == 6
    one = await caller(shop, made[0]["secret"])
    first, second = made[0]["merchant"]["id"], made[1]["merchant"]["id"]

    own = (await shop.run(MERCHANTS, as_=one))["merchants"]
    rest = (await shop.run(MERCHANTS, {"after": own["pageInfo"]["endCursor"]}, as_=one))["merchants"]
    nodes = [
        (await shop.run(NODE, {"id": id_}, as_=who))["node"]
        for id_, who in ((first, one), (second, one), (second, shop.principal), (first, ANONYMOUS), (second, ANONYMOUS))
    ]

    assert seen == sorted([BOOTSTRAP_MERCHANT, *(each["merchant"]["id"] for each in made)], reverse=True)
    assert [edge["node"]["id"] for edge in own["edges"]] == [first]
    assert (rest["edges"], rest["totalCount"]) == ([], 1)
    assert [node and node["name"] for node in nodes] == ["M0", None, "M1", None, None]
    assert nodes[0] == {"__typename": "Merchant", "id": first, "name": "M0"}


@pytest.mark.parametrize("document", [MERCHANTS, KEYS])
@pytest.mark.parametrize("after", ["", "x", "cDE6MA"])
async def test_a_cursor_of_another_list_is_refused(shop: Any, document: str, after: str) -> None:
    assert await refusals(shop, document, {"after": after}, shop.principal) == ["INVALID_CURSOR"]


async def test_each_list_takes_only_its_own_cursors_and_page_sizes_within_bounds(shop: Any) -> None:
    merchants = (await shop.run(MERCHANTS))["merchants"]["pageInfo"]["endCursor"]
    keys = (await shop.run(KEYS))["apiKeys"]["pageInfo"]["endCursor"]

    assert await refusals(shop, MERCHANTS, {"after": keys}, shop.principal) == ["INVALID_CURSOR"]
    assert await refusals(shop, KEYS, {"after": merchants}, shop.principal) == ["INVALID_CURSOR"]
    for first in (0, -1, 101):
        assert await refusals(shop, MERCHANTS, {"first": first}, shop.principal) == ["INVALID_INPUT"]
        assert await refusals(shop, KEYS, {"first": first}, shop.principal) == ["INVALID_INPUT"]


@pytest.mark.parametrize("name", ["", "  ", "x" * 192, "a\x00b", "a\nb", "a\x1bb", "a\x7fb", "\ud800"])
async def test_a_name_that_names_nothing_makes_nothing(shop: Any, name: str) -> None:
    answers = [
        await new_merchant(shop, name),
        await new_key(shop, name=name),
        await update(shop, name=name),
    ]

    assert {(answer["code"], answer["field"]) for answer in answers} == {("INVALID_INPUT", "name")}
    assert [merchant.name for merchant in await list_every_merchant(shop.services)] == ["Shop"]
    assert len(await list_every_key(shop.services)) == 1


async def test_a_rail_that_is_not_connected_is_no_default(shop: Any) -> None:
    made = await shop.mutate("createMerchant", CREATE, {"input": {"name": "X", "defaultProvider": "teleport"}})
    changed = [await update(shop, defaultProvider=name) for name in ("teleport", "", "\x00")]

    assert {answer["code"] for answer in [made, *changed]} == {"UNKNOWN_PROVIDER"}
    assert [merchant.default_provider for merchant in await list_every_merchant(shop.services)] == ["lnd"]


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"lateGraceSeconds": -1}, "policy.lateGraceSeconds"),
        ({"lateGraceSeconds": 366 * 86_400}, "policy.lateGraceSeconds"),
        ({"underTolerancePpm": -1}, "policy.underTolerancePpm"),
        ({"underTolerancePpm": 1_000_001}, "policy.underTolerancePpm"),
        *[({name: None}, f"policy.{name}") for name in DEFAULT_POLICY],
    ],
)
async def test_a_policy_that_cannot_be_meant_changes_nothing(shop: Any, said: Any, field: str) -> None:
    answer = await update(shop, name="Renamed", policy={"over": "REFUND"} | said)

    assert (answer["code"], answer["field"]) == ("INVALID_INPUT", field)
    after = (await shop.run(MERCHANTS))["merchants"]["edges"][0]["node"]
    assert (after["name"], after["policy"]) == ("Shop", DEFAULT_POLICY)


@pytest.mark.parametrize("field", ["name", "defaultProvider", "policy"])
async def test_a_null_in_update_merchant_changes_nothing(shop: Any, field: str) -> None:
    answer = await update(shop, **({"name": "Renamed"} | {field: None}))

    assert (answer["code"], answer["field"]) == ("INVALID_INPUT", field)
    assert [merchant.name for merchant in await list_every_merchant(shop.services)] == ["Shop"]


async def test_a_change_keeps_what_it_does_not_name(shop: Any) -> None:
    await update(shop, policy={"late": "REFUND", "lateGraceSeconds": 0})
    await update(shop, name="Renamed", defaultProvider="lnd")
    answer = await update(shop, policy={"under": "REFUND", "underTolerancePpm": 1_000_000, "over": "CREDIT"})
    nothing = [await update(shop), await update(shop, policy={})]

    assert answer["merchant"]["name"] == "Renamed"
    assert answer["merchant"]["policy"] == {
        "late": "REFUND",
        "lateGraceSeconds": 0,
        "under": "REFUND",
        "underTolerancePpm": 1_000_000,
        "over": "CREDIT",
    }
    assert {(each["code"], each["field"]) for each in nothing} == {("INVALID_INPUT", "input")}


async def test_the_operator_changes_any_merchant_and_an_admin_its_own_alone(shop: Any, other_shop: Any) -> None:
    theirs, own = other_shop.principal.merchant_id, shop.principal.merchant_id

    by_operator = await shop.mutate("updateMerchant", UPDATE, {"input": {"id": theirs, "name": "By operator"}})
    by_stranger = await other_shop.mutate("updateMerchant", UPDATE, {"input": {"id": own, "name": "Stolen"}})
    by_itself = await update(other_shop, policy={"over": "REFUND"})
    foreign = [await update(shop, id=id_, name="X") for id_ in FOREIGN_IDS]
    foreign += [await update(other_shop, id=id_, name="X") for id_ in FOREIGN_IDS]

    assert by_operator["merchant"]["name"] == by_itself["merchant"]["name"] == "By operator"
    assert by_itself["merchant"]["policy"]["over"] == "REFUND"
    assert (by_stranger["code"], by_stranger["merchantId"]) == ("MERCHANT_NOT_FOUND", own)
    assert [answer["code"] for answer in foreign] == ["MERCHANT_NOT_FOUND"] * 14
    assert [merchant.name for merchant in await list_every_merchant(shop.services)] == ["Shop", "By operator"]


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


@pytest.mark.parametrize(
    ("field", "document", "variables"),
    [
        ("createMerchant", CREATE, {"input": {"name": "X"}}),
        ("updateMerchant", UPDATE, {"input": {"id": BOOTSTRAP_MERCHANT, "name": "X"}}),
        ("createApiKey", CREATE_KEY, {"input": {"name": "x", "scopes": ["admin"]}}),
        ("revokeApiKey", REVOKE, {"id": "key_0"}),
        ("rotateApiKey", ROTATE, {"id": "key_0"}),
    ],
)
async def test_every_mutation_counts_against_the_budget(shop: Any, field: str, document: str, variables: Any) -> None:
    shop.services.limiter.left = 0

    answer = await shop.mutate(field, document, variables)

    assert answer["__typename"] == "RateLimitedError"
    assert [merchant.name for merchant in await list_every_merchant(shop.services)] == ["Shop"]


async def test_a_policy_set_through_the_api_decides_what_is_booked_from_then_on(till: Any, clock: SandboxClock) -> None:
    async def receive(**money: Any) -> PaymentStatus:
        payment_id = (await till.order(expires_in_s=600)).payment.id
        if "late_s" in money:
            money["at"] = clock.now() + timedelta(seconds=600 + money.pop("late_s"))
        await till.report(await till.money(payment_id, **money))
        status: PaymentStatus = (await till.payment(payment_id)).status
        return status

    before = [await receive(amount_msat=4_000), await receive(amount_msat=7_000), await receive(late_s=1_000)]
    booked_before = await till.balances()
    await update(
        till.shop,
        policy={
            "late": "REFUND",
            "lateGraceSeconds": 60,
            "under": "REFUND",
            "underTolerancePpm": 1_000,
            "over": "REFUND",
        },
    )
    after = [
        await receive(amount_msat=4_000),
        await receive(amount_msat=4_995),
        await receive(amount_msat=7_000),
        await receive(late_s=59),
        await receive(late_s=61),
    ]

    open_, complete = PaymentStatus.PENDING_PAYMENT, PaymentStatus.COMPLETE
    assert before == [open_, complete, complete]
    assert booked_before == {"PROVIDER": 16_000, "MERCHANT": -16_000}
    assert after == [open_, complete, complete, complete, open_]
    assert await till.balances() == {
        "PROVIDER": 16_000 + 25_995,
        "MERCHANT": -16_000 - (4_995 + 5_000 + 5_000),
        "REFUNDABLE": -(4_000 + 2_000 + 5_000),
    }


EVERYTHING = """
query ($own: ID!, $foreign: ID!, $article: ID!, $payment: ID!, $key: String!, $subject: ID!) {
  viewer { merchant { id name } balances { value } }
  merchants(first: 100) { totalCount edges { node { id name } } }
  apiKeys(first: 100) { totalCount edges { node { id name prefix } } }
  auditLog(first: 100) { totalCount edges { node { id actorId actorName subjectId detail } } }
  ofForeign: auditLog(first: 100, filter: {subjectId: $subject}) { totalCount edges { node { id } } }
  payments(first: 100) { totalCount edges { node { id description correlationId checkoutUrl } } }
  paymentsOfForeign: payments(filter: {articleId: $article}) { totalCount edges { node { id } } }
  articles(first: 100) { totalCount edges { node { id title manuscript payment { id } } } }
  own: node(id: $own) { id ... on Merchant { name } }
  foreign: node(id: $foreign) { id }
  foreignArticle: node(id: $article) { id }
  foreignPayment: node(id: $payment) { id }
  article(id: $article) { id }
  payment(id: $payment) { id }
  paymentByIdempotencyKey(key: $key) { id }
}
"""
CHANGES = """
mutation ($foreign: ID!, $article: ID!, $payment: ID!, $subject: ID!) {
  updateMerchant(input: {id: $foreign, name: "stolen", policy: {over: REFUND}}) { __typename }
  revokeApiKey(id: $subject) { __typename }
  rotateApiKey(id: $subject) { __typename }
  cancelPayment(id: $payment) { __typename }
  hideArticle(id: $article) { __typename }
}
"""
ROWS = 4
TOGETHER = 200


class Tenant:
    """A merchant that is not the first one, with rows in every table that can be listed."""

    def __init__(self, till: Any, principal: Principal, name: str) -> None:
        self.till = till
        self.principal = principal
        self.name = name
        self.articles: list[str] = []
        self.payments: list[str] = []

    async def fill(self) -> None:
        from quittance.domain.article import ArticleStatus
        from quittance.domain.money import msat

        shop = self.till.shop
        for n in range(ROWS):
            text = f"{self.name} {n}"
            draft = ArticleDraft(title=text, content=text, summary=None, price=msat(5_000), status=ArticleStatus.HIDDEN)
            self.articles.append((await create_article(shop.services, self.principal, draft)).id)
            made = await self.till.order(description=text, correlation_id=text, idempotency_key=f"{self.name}-{n}")
            self.payments.append(made.payment.id)
            await new_key(shop, "payments:read", name=text)
        await self.till.report(await self.till.pay(self.payments[0]))

    async def rows(self) -> set[str]:
        """Return the id of every row that is this merchant's, from the tables themselves."""
        merchant_id = str(self.principal.merchant_id)
        tables = ("article", "payment", "api_key", "audit_entry")
        held = [row for table in tables for row in await self.till.rows(table) if row["merchant_id"] == merchant_id]
        return {merchant_id, *(str(row["id"]) for row in held)}

    def variables(self, other: "Tenant") -> dict[str, Any]:
        return {
            "own": self.principal.merchant_id,
            "foreign": other.principal.merchant_id,
            "article": other.articles[0],
            "payment": other.payments[1],
            "key": f"{other.name}-0",
            "subject": other.principal.key_id,
        }


@pytest.fixture
async def tenants(till: Any) -> tuple[Tenant, Tenant]:
    made: list[Tenant] = []
    for name in ("alpha", "omega"):
        principal = await caller(till.shop, (await new_merchant(till.shop, name))["secret"])
        own = till.shop.__class__(services=till.services, principal=principal, broker=till.shop.broker)
        made.append(Tenant(till.of(own), principal, name))
        await made[-1].fill()
    return made[0], made[1]


async def test_two_merchants_with_200_requests_at_a_time_never_see_a_row_of_each_other(
    tenants: tuple[Tenant, Tenant],
) -> None:
    alpha, omega = tenants
    rows = {tenant.name: await tenant.rows() for tenant in tenants}
    assert not rows["alpha"] & rows["omega"]

    async def ask(tenant: Tenant, other: Tenant) -> tuple[str, dict[str, Any]]:
        return tenant.name, await tenant.till.shop.run(EVERYTHING, tenant.variables(other))

    answers = await asyncio.gather(*(ask(*((alpha, omega) if n % 2 else (omega, alpha))) for n in range(TOGETHER)))

    assert [name for name, _ in answers].count("alpha") == TOGETHER // 2
    for name, answer in answers:
        other = "omega" if name == "alpha" else "alpha"
        told = json.dumps(answer)
        assert other not in told
        assert [row for row in rows[other] if row in told] == []
        assert [row for row in rows[name] if row not in told] == []
        assert {field: answer[field]["totalCount"] for field in ("merchants", "apiKeys", "payments", "articles")} == {
            "merchants": 1,
            "apiKeys": ROWS + 1,
            "payments": ROWS,
            "articles": ROWS,
        }
        assert answer["auditLog"]["totalCount"] == len(answer["auditLog"]["edges"]) == 2 * ROWS + 2
        assert answer["viewer"] == {
            "merchant": {"id": answer["own"]["id"], "name": name},
            "balances": [{"value": "5000"}],
        }
        nothing = {"totalCount": 0, "edges": []}
        assert (answer["ofForeign"], answer["paymentsOfForeign"]) == (nothing, nothing)
        absent = ("foreign", "foreignArticle", "foreignPayment", "article", "payment", "paymentByIdempotencyKey")
        assert {answer[field] for field in absent} == {None}


async def test_two_merchants_with_200_requests_at_a_time_never_change_a_row_of_each_other(
    till: Any, tenants: tuple[Tenant, Tenant]
) -> None:
    alpha, omega = tenants
    tables = ("merchant", "api_key", "article", "payment", "payment_option", "audit_entry", "event")
    before = {table: await till.rows(table) for table in tables}

    async def meddle(tenant: Tenant, other: Tenant) -> dict[str, Any]:
        variables = tenant.variables(other)
        given = {name: variables[name] for name in ("foreign", "article", "payment", "subject")}
        data: dict[str, Any] = await tenant.till.shop.run(CHANGES, given)
        return data

    answers = await asyncio.gather(*(meddle(*((alpha, omega) if n % 2 else (omega, alpha))) for n in range(TOGETHER)))

    told = {field: {answer[field]["__typename"] for answer in answers} for field in answers[0]}
    assert told == {
        "updateMerchant": {"MerchantNotFoundError"},
        "revokeApiKey": {"ApiKeyNotFoundError"},
        "rotateApiKey": {"ApiKeyNotFoundError"},
        "cancelPayment": {"PaymentNotFoundError"},
        "hideArticle": {"ArticleNotFoundError"},
    }
    assert {table: await till.rows(table) for table in tables} == before
