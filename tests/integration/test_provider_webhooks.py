"""The webhooks that providers call us by: subscribed once, changed, taken away; their secrets are ours (L20, L21)."""

import asyncio
from dataclasses import replace
from typing import Any

from tests.integration.callback_door import SECRET, paid
from tests.integration.provider_account import (
    PROVIDER,
    SUBSCRIBE,
    UNSUBSCRIBE,
    UPDATE,
    Account,
    ManagedDoor,
    NewManagedDoor,
    signature,
)

from quittance.domain.access import ANONYMOUS, Principal, Scope
from quittance.domain.ids import BOOTSTRAP_MERCHANT
from quittance.domain.provider_webhook import WEBHOOKS_MAX
from quittance.gql.schema import schema

OUR_URL = "http://127.0.0.1:8000/callbacks/lnd"
ELSEWHERE = "https://elsewhere.example/hook"


async def ours(managed: ManagedDoor) -> dict[str, Any]:
    made: dict[str, Any] = (await managed.subscribe(url=OUR_URL))["webhook"]
    return made


async def test_a_subscription_is_made_with_a_secret_that_proves_what_comes_and_that_nobody_is_shown(
    managed: ManagedDoor, account: Account
) -> None:
    _, reference = await paid(managed.door)

    made = await managed.subscribe(url=OUR_URL)
    answer = await account.deliver(managed.door, account.happens(reference))
    await managed.door.work()

    webhook = made["webhook"]
    assert webhook == {
        "id": "sub-0001",
        "url": OUR_URL,
        "eventTypes": ["invoice.updated"],
        "enabled": True,
        "isOurs": True,
        "secretRotatedAt": None,
        "previousSecretUntil": None,
        "isRotating": False,
    }
    assert answer.status_code == 202
    assert await managed.door.standing() == [("evt-0000", "PROCESSED", None)]
    assert await managed.door.till.balances() == {"PROVIDER": 5_000, "MERCHANT": -5_000}
    (secret,) = account.secrets.values()
    stored = [row for table in ("provider_webhook", "audit_entry") for row in await managed.door.till.rows(table)]
    assert secret not in f"{made} {stored} {managed.door.services!r}"


async def test_without_an_address_our_own_door_is_told(managed: ManagedDoor) -> None:
    managed.door.services.public_url = "https://shop.test"

    made = await managed.subscribe()

    assert made["webhook"]["url"] == "https://shop.test/callbacks/lnd"


async def test_subscribing_an_address_again_brings_its_webhook_to_what_is_asked(
    managed: ManagedDoor, account: Account
) -> None:
    made = await ours(managed)
    account.held[made["id"]] = replace(account.held[made["id"]], enabled=False)

    again = await managed.subscribe(url=OUR_URL, eventTypes=["invoice.created", "invoice.updated", "invoice.created"])

    assert again["webhook"] == made | {"eventTypes": ["invoice.created", "invoice.updated"]}
    assert [one["id"] for one in await managed.listed()] == [made["id"]]
    assert len(await managed.door.till.rows("provider_webhook")) == 1


async def test_many_who_subscribe_together_in_two_processes_end_with_one_webhook_whose_secret_is_accepted(
    managed: ManagedDoor, new_managed: NewManagedDoor, account: Account
) -> None:
    other = new_managed(another=True)
    event = account.happens("ab" * 32)

    made = await asyncio.gather(*(door.subscribe(url=OUR_URL) for door in (managed, other) * 5))

    (held,) = account.held.values()
    assert {one["webhook"]["id"] for one in made} == {held.id}
    assert [
        (row["subscription_id"], row["generation"]) for row in await managed.door.till.rows("provider_webhook")
    ] == [(held.id, 1)]
    assert (await account.deliver(other.door, event)).status_code == 202


async def test_a_subscription_whose_answer_was_lost_is_found_and_not_made_again(
    managed: ManagedDoor, account: Account
) -> None:
    account.lost = 1

    lost = await managed.subscribe(url=OUR_URL)
    event = await account.deliver(managed.door, account.happens("ab" * 32))
    again = await managed.subscribe(url=OUR_URL)

    assert (lost["code"], lost["retryable"]) == ("PROVIDER_UNAVAILABLE", True)
    assert event.status_code == 202  # accepted although we do not know that the provider has the secret
    assert again["webhook"]["id"] == "sub-0001"
    assert account.made == 1


async def test_what_stands_beside_the_webhook_of_an_address_is_taken_away_and_others_are_left_alone(
    managed: ManagedDoor, account: Account
) -> None:
    for url in (OUR_URL, ELSEWHERE, OUR_URL):
        account.set_up(url, secret="set up by hand")

    made = await managed.subscribe(url=OUR_URL)

    assert made["webhook"]["id"] == "sub-0001"
    assert [(one["id"], one["url"], one["isOurs"]) for one in await managed.listed()] == [
        ("sub-0001", OUR_URL, True),
        ("sub-0002", ELSEWHERE, False),
    ]
    assert account.secrets["sub-0002"] == "set up by hand"
    assert account.secrets["sub-0001"] != "set up by hand"


async def test_a_provider_that_refuses_leaves_nothing_behind(managed: ManagedDoor, account: Account) -> None:
    account.refuses = "TOO_MANY"

    refused = await managed.subscribe(url=OUR_URL)

    assert (refused["__typename"], refused["code"]) == ("ProviderWebhookRejectedError", "PROVIDER_WEBHOOK_REJECTED")
    assert await managed.door.till.rows("provider_webhook") == []
    assert (await account.deliver(managed.door, account.happens("ab" * 32), secret="")).status_code == 401


async def test_an_address_or_a_type_that_is_none_is_refused_before_the_provider_is_asked(
    managed: ManagedDoor, account: Account
) -> None:
    wrong: list[dict[str, Any]] = [
        {"url": "http://shop.example/x"},
        {"url": ""},
        {"url": OUR_URL, "eventTypes": []},
        {"url": OUR_URL, "eventTypes": [""]},
    ]

    refused = [await managed.subscribe(**said) for said in wrong[:1] + wrong[2:]]

    assert [one["code"] for one in refused] == ["INVALID_INPUT"] * 3
    assert account.asked == 0


async def test_there_is_a_most_of_addresses(managed: ManagedDoor, account: Account) -> None:
    made = [await managed.subscribe(url=f"{ELSEWHERE}/{number}") for number in range(WEBHOOKS_MAX)]
    before = account.asked

    refused = await managed.subscribe(url=OUR_URL)
    again = await managed.subscribe(url=f"{ELSEWHERE}/0")

    assert (refused["code"], account.made) == ("INVALID_INPUT", WEBHOOKS_MAX)
    assert again["webhook"]["id"] == made[0]["webhook"]["id"]
    assert account.asked > before


async def test_a_webhook_is_changed_without_its_secret(managed: ManagedDoor, account: Account) -> None:
    made = await ours(managed)
    secret = account.secrets[made["id"]]
    change = {"provider": PROVIDER, "id": made["id"], "url": ELSEWHERE, "enabled": False, "eventTypes": ["a", "a", "b"]}

    changed = await managed.run(UPDATE, {"input": change})
    moved_back = await managed.run(UPDATE, {"input": {"provider": PROVIDER, "id": made["id"], "url": OUR_URL}})

    assert changed["webhook"] == made | {"url": ELSEWHERE, "enabled": False, "eventTypes": ["a", "b"]}
    assert moved_back["webhook"] == changed["webhook"] | {"url": OUR_URL}
    assert account.secrets[made["id"]] == secret
    assert [row["url"] for row in await managed.door.till.rows("provider_webhook")] == [OUR_URL]


async def test_a_change_that_cannot_be_is_refused(managed: ManagedDoor, account: Account) -> None:
    made = await ours(managed)
    second = (await managed.subscribe(url=ELSEWHERE))["webhook"]
    before = dict(account.held)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"id": "sub-9999", "enabled": False}, "PROVIDER_WEBHOOK_NOT_FOUND"),
        ({"id": made["id"], "url": ELSEWHERE}, "INVALID_INPUT"),
        ({"id": made["id"], "url": "ftp://x"}, "INVALID_INPUT"),
        ({"id": made["id"], "eventTypes": []}, "INVALID_INPUT"),
        ({"id": made["id"], "url": None}, "INVALID_INPUT"),
        ({"id": made["id"], "eventTypes": None}, "INVALID_INPUT"),
        ({"id": second["id"], "enabled": None}, "INVALID_INPUT"),
    ]

    refused = [await managed.run(UPDATE, {"input": {"provider": PROVIDER, **said}}) for said, _ in wrong]

    assert [one["code"] for one in refused] == [code for _, code in wrong]
    assert account.held == before


async def test_what_is_unsubscribed_is_gone_and_its_secret_proves_nothing(
    managed: ManagedDoor, account: Account
) -> None:
    made = await ours(managed)
    secret = account.secrets[made["id"]]
    variables = {"provider": PROVIDER, "id": made["id"]}

    gone = await managed.run(UNSUBSCRIBE, variables)
    late = await account.deliver(managed.door, account.happens("ab" * 32), secret=secret)
    again = await managed.run(UNSUBSCRIBE, variables)
    anew = await ours(managed)

    assert gone == {"__typename": "UnsubscribeProviderWebhookSuccess", "id": made["id"]}
    assert late.status_code == 401
    assert (again["__typename"], again["code"]) == ("ProviderWebhookNotFoundError", "PROVIDER_WEBHOOK_NOT_FOUND")
    assert account.secrets[anew["id"]] != secret


async def test_a_lost_answer_to_unsubscribing_is_safe_to_repeat(managed: ManagedDoor, account: Account) -> None:
    made = await ours(managed)
    account.lost = 1
    variables = {"provider": PROVIDER, "id": made["id"]}

    lost = await managed.run(UNSUBSCRIBE, variables)
    again = await managed.run(UNSUBSCRIBE, variables)

    assert (lost["code"], again["__typename"]) == ("PROVIDER_UNAVAILABLE", "UnsubscribeProviderWebhookSuccess")
    assert await managed.door.till.rows("provider_webhook") == []


async def test_a_secret_that_was_set_is_accepted_beside_ours_and_nothing_is_without_any(
    new_managed: NewManagedDoor, account: Account
) -> None:
    without, managed = new_managed(), new_managed(secrets=[SECRET])
    events = [account.happens("ab" * 32) for _ in range(3)]

    refused = await account.deliver(without.door, events[0], secret="")
    by_hand = await managed.door.send(b'{"id":"x","eventType":"t","entity":null}', _signed_by_setting())
    await ours(managed)
    derived = await account.deliver(managed.door, events[1])

    assert [one.status_code for one in (refused, by_hand, derived)] == [401, 202, 202]


def _signed_by_setting() -> dict[str, str]:
    return signature(b'{"id":"x","eventType":"t","entity":null}', SECRET.decode())


async def test_only_the_operator_manages_and_each_change_is_in_the_log_once(
    managed: ManagedDoor, account: Account, other_shop: Any
) -> None:
    reader = Principal(merchant_id=BOOTSTRAP_MERCHANT, scopes=frozenset({Scope.PAYMENTS_WRITE, Scope.PAYMENTS_READ}))

    refused = [
        await managed.run(SUBSCRIBE, {"input": {"provider": PROVIDER, "url": OUR_URL}}, as_=who)
        for who in (ANONYMOUS, reader, other_shop.principal)
    ]
    hidden = await schema.execute(
        '{ providerWebhooks(provider: "lnd") { id } }', None, managed.door.till.shop.context(other_shop.principal)
    )
    asked = account.asked
    made = await ours(managed)
    await managed.run(UPDATE, {"input": {"provider": PROVIDER, "id": made["id"], "enabled": True}})
    await managed.rotate(made["id"])
    await managed.catch_up()
    await managed.run(UNSUBSCRIBE, {"provider": PROVIDER, "id": made["id"]})

    assert [one["code"] for one in refused] == ["PERMISSION_DENIED"] * 3
    assert (hidden.data, asked) == (None, 0)
    log = [row for row in await managed.door.till.rows("audit_entry") if row["action"].startswith("PROVIDER_")]
    assert [(row["action"], row["subject_id"]) for row in log] == [
        ("PROVIDER_WEBHOOK_SUBSCRIBED", made["id"]),
        ("PROVIDER_WEBHOOK_UPDATED", made["id"]),
        ("PROVIDER_WEBHOOK_SECRET_ROTATED", made["id"]),
        ("PROVIDER_EVENTS_CAUGHT_UP", PROVIDER),
        ("PROVIDER_WEBHOOK_UNSUBSCRIBED", made["id"]),
    ]
    assert log[0]["detail"] == "lnd to 127.0.0.1:8000"


async def test_a_rail_without_webhooks_says_so(managed: ManagedDoor) -> None:
    refused = await managed.run(SUBSCRIBE, {"input": {"provider": "cln"}})
    capabilities = await managed.run("{ providers { name capabilities } }")

    assert (refused["__typename"], refused["code"]) == ("CannotManageWebhooksError", "CANNOT_MANAGE_WEBHOOKS")
    assert ["WEBHOOKS" in one["capabilities"] for one in capabilities] == [True]
