"""Names of merchants that wallets can pay: one merchant each, for ever, and set by who may."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.integration.payee_doors import SET, PayeeDoors

from quittance.domain.access import ANONYMOUS, Scope
from quittance.domain.payee_name import NAMES_MAX
from quittance.resolvers.services import Services

WRONG_NAMES = [
    "", " ", "a b", "-a", "a-", ".a", "a..b", "a@b", "ä", "a/b", "a+b", "x" * 65, "art_" + "0" * 32, "mer_" + "a" * 32,
    "\x00", "\ud800", "a\x7f",
]  # fmt: skip


async def test_a_name_is_its_first_merchants_for_ever(doors: PayeeDoors, other_shop: Any) -> None:
    other = {"id": other_shop.principal.merchant_id, "as_": other_shop.principal}
    await doors.named("shop")
    taken = await doors.named("SHOP ", **other)
    renamed = await doors.named("market")
    still_taken = await doors.named("shop", **other)
    theirs = await doors.named("bazaar", **other)
    back = await doors.named("shop")
    gone = await doors.named(None)
    still_theirs = await doors.told("/.well-known/lnurlp/bazaar")

    assert taken == {"__typename": "LightningNameTakenError", "code": "LIGHTNING_NAME_TAKEN", "name": "shop"}
    assert still_taken == taken
    assert renamed["merchant"]["lightningAddress"].startswith("market@")
    assert theirs["merchant"]["lightningAddress"].startswith("bazaar@")
    assert back["merchant"]["lightningAddress"].startswith("shop@")
    assert (gone["merchant"]["lightningAddress"], gone["merchant"]["lnurl"], gone["merchant"]["lnurlQrCode"]) == (
        None, None, None
    )  # fmt: skip
    assert still_theirs["tag"] == "payRequest"
    for name in ("shop", "market"):
        assert (await doors.told(f"/.well-known/lnurlp/{name}"))["status"] == "ERROR"
    log = await doors.till.rows("audit_entry")
    assert [row["detail"] for row in log if "lightningName" in (row["detail"] or "")] == [
        "lightningName: none -> shop",
        "lightningName: shop -> market",
        "lightningName: none -> bazaar",
        "lightningName: market -> shop",
        "lightningName: shop -> none",
    ]


async def test_of_two_merchants_that_take_a_name_together_one_has_it(
    doors: PayeeDoors, other_shop: Any, new_services: Callable[[], Services]
) -> None:
    shops = [doors.till.shop, other_shop.with_services(new_services())]

    answers = await asyncio.gather(
        *(
            shops[n % 2].mutate(
                "setLightningAddress", SET, {"input": {"id": shops[n % 2].principal.merchant_id, "name": "shop"}}
            )
            for n in range(8)
        )
    )

    kinds = [{answer["__typename"] for answer in answers[n::2]} for n in (0, 1)]
    assert sorted(kinds, key=repr) == [{"LightningNameTakenError"}, {"SetLightningAddressSuccess"}]
    (row,) = await doors.till.rows("lightning_name")
    assert row["in_use"] == 1


async def test_what_cannot_be_a_name_is_refused(doors: PayeeDoors) -> None:
    refused = {"__typename": "InvalidInputError", "code": "INVALID_INPUT", "field": "name"}

    assert [await doors.named(name) for name in WRONG_NAMES] == [refused] * len(WRONG_NAMES)


async def test_a_name_must_be_said(doors: PayeeDoors) -> None:
    await doors.named("shop")
    document = "mutation ($input: SetLightningAddressInput!) { setLightningAddress(input: $input) { __typename } }"

    answer = await doors.till.shop.run(document, {"input": {"id": doors.till.shop.principal.merchant_id}})

    assert answer == {"setLightningAddress": {"__typename": "InvalidInputError"}}
    assert (await doors.told("/.well-known/lnurlp/shop"))["tag"] == "payRequest"


async def test_only_admins_of_the_merchant_and_the_operator_set_its_name(doors: PayeeDoors, other_shop: Any) -> None:
    shop = doors.till.shop
    clerk = replace(shop.principal, scopes=frozenset({Scope.PAYMENTS_WRITE, Scope.ARTICLES_WRITE}))

    answers = [
        await doors.named("shop", as_=clerk),
        await doors.named("shop", as_=ANONYMOUS),
        await doors.named("shop", as_=other_shop.principal),
        await doors.named("shop", id="mer_" + "f" * 32),
        await doors.named("theirs", id=other_shop.principal.merchant_id),
    ]

    assert [answer["__typename"] for answer in answers] == [
        "PermissionDeniedError",
        "PermissionDeniedError",
        "MerchantNotFoundError",
        "MerchantNotFoundError",
        "SetLightningAddressSuccess",
    ]
    assert (await doors.told("/.well-known/lnurlp/shop"))["status"] == "ERROR"


async def test_a_merchant_has_so_many_names_for_ever(doors: PayeeDoors, other_shop: Any) -> None:
    names = [f"shop{number}" for number in range(NAMES_MAX)]
    for name in names:
        await doors.named(name)

    refused = await doors.named("onemore")
    back = await doors.named(names[0])
    none = await doors.named(None)
    still = await doors.named("onemore")
    elsewhere = await doors.named("onemore", id=other_shop.principal.merchant_id, as_=other_shop.principal)

    assert (refused["__typename"], refused["code"]) == ("LightningNamesUsedUpError", "LIGHTNING_NAMES_USED_UP")
    assert back["merchant"]["lightningAddress"].startswith(f"{names[0]}@")
    assert none["merchant"]["lightningAddress"] is None
    assert still == refused
    assert elsewhere["merchant"]["lightningAddress"].startswith("onemore@")
    rows = await doors.till.rows("lightning_name")
    assert sorted(row["name"] for row in rows) == ["onemore", *names]


async def test_a_name_that_is_refused_leaves_the_merchant_its_own(doors: PayeeDoors) -> None:
    for number in range(NAMES_MAX):
        await doors.named(f"shop{number}")

    await doors.named("onemore")

    assert (await doors.told(f"/.well-known/lnurlp/shop{NAMES_MAX - 1}"))["tag"] == "payRequest"
    assert (await doors.told("/.well-known/lnurlp/onemore"))["status"] == "ERROR"


async def test_names_taken_together_are_not_more_than_a_merchant_may_have(
    doors: PayeeDoors, new_services: Callable[[], Services]
) -> None:
    shops = [doors.till.shop, doors.till.shop.with_services(new_services())]
    merchant_id = doors.till.shop.principal.merchant_id

    answers = await asyncio.gather(
        *(
            shops[n % 2].mutate("setLightningAddress", SET, {"input": {"id": merchant_id, "name": f"shop{n}"}})
            for n in range(NAMES_MAX + 4)
        )
    )

    kinds = [answer["__typename"] for answer in answers]
    assert sorted(kinds) == ["LightningNamesUsedUpError"] * 4 + ["SetLightningAddressSuccess"] * NAMES_MAX
    assert len(await doors.till.rows("lightning_name")) == NAMES_MAX


@pytest.mark.parametrize("name", ["admin", "Support", " postmaster ", "no-reply"])
async def test_names_like_the_servers_own_are_the_operators(doors: PayeeDoors, other_shop: Any, name: str) -> None:
    merchant_id = other_shop.principal.merchant_id

    refused = await doors.named(name, id=merchant_id, as_=other_shop.principal)
    given = await doors.named(name, id=merchant_id)

    assert refused == {"__typename": "InvalidInputError", "code": "INVALID_INPUT", "field": "name"}
    assert given["merchant"]["lightningAddress"].startswith(f"{name.strip().lower()}@")
