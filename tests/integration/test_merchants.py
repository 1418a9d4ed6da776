"""Merchants: who manages whom, what is refused, and policies that count."""

from datetime import timedelta
from typing import Any

import pytest
from tests.integration.merchant_calls import (
    CREATE,
    CREATE_KEY,
    FOREIGN_IDS,
    KEYS,
    MERCHANTS,
    NOT_ADMIN,
    REVOKE,
    ROTATE,
    UPDATE,
    caller,
    narrow,
    new_key,
    new_merchant,
    opens,
    refusals,
    update,
)

from quittance.domain.access import ANONYMOUS, Principal, Scope
from quittance.domain.errors import PermissionDenied
from quittance.domain.ids import BOOTSTRAP_MERCHANT
from quittance.domain.payment import PaymentStatus
from quittance.resolvers.keys import list_every_key
from quittance.resolvers.merchants import list_every_merchant
from quittance.sandbox.clock import SandboxClock

NODE = "query ($id: ID!) { node(id: $id) { __typename id ... on Merchant { name } } }"
DEFAULT_POLICY = {
    "late": "ACCEPT",
    "lateGraceSeconds": 300,
    "under": "WAIT",
    "underTolerancePpm": 0,
    "over": "KEEP",
}


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
