"""Callbacks of providers: proved, stored once, answered, and then the provider is asked; nothing is believed."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from structlog.testing import capture_logs
from tests.integration.callback_door import CALLBACKS, SECRET, CallbackDoor, NewDoor, hint, paid

from quittance.domain.access import ANONYMOUS, Principal, Scope
from quittance.domain.callback import BODY_KEPT_DAYS
from quittance.domain.errors import PermissionDenied
from quittance.domain.ids import BOOTSTRAP_MERCHANT
from quittance.domain.payment import PaymentStatus
from quittance.gql.schema import schema
from quittance.providers.callbacks import CallbackRefused, ProviderCallback
from quittance.providers.hints import SignedHints
from quittance.resolvers.callbacks import FORGOTTEN_AT_ONCE
from quittance.sandbox.clock import SandboxClock
from quittance.store.models import Row

SOME_HASH = "ab" * 32


async def test_a_hint_is_stored_and_answered_and_then_the_provider_is_asked(door: CallbackDoor) -> None:
    payment_id, reference = await paid(door)

    answer = await door.hear(reference)
    before = await door.listed()
    status_before = (await door.till.payment(payment_id)).status
    await door.work()

    assert (answer.status_code, answer.json()) == (202, {"status": "STORED"})
    assert (before[0]["state"], before[0]["processedAt"], before[0]["payment"]) == ("RECEIVED", None, None)
    assert status_before is PaymentStatus.PENDING_PAYMENT
    (one,) = await door.listed()
    assert {name: one[name] for name in ("provider", "eventId", "type", "reference", "state", "reason")} == {
        "provider": "lnd",
        "eventId": "msg_1",
        "type": "invoice.settled",
        "reference": reference,
        "state": "PROCESSED",
        "reason": None,
    }
    assert one["processedAt"] >= one["receivedAt"]
    assert one["paymentId"] == payment_id
    assert one["payment"] == {"id": payment_id, "status": "COMPLETE"}
    assert await door.till.balances() == {"PROVIDER": 5_000, "MERCHANT": -5_000}
    assert [row["body"] for row in await door.till.rows("provider_callback_body")] == [hint(reference)]
    assert door.counted("STORED") == 1


async def test_a_hint_wakes_the_workers_of_its_process(door: CallbackDoor) -> None:
    _, reference = await paid(door)
    door.runner.wake.clear()

    await door.hear(reference)

    assert door.runner.wake.is_set()


async def test_a_callback_that_claims_what_the_node_does_not_say_books_nothing(door: CallbackDoor) -> None:
    payment_id = (await door.till.order()).payment.id
    (option,) = await door.till.options(payment_id)

    answer = await door.hear(option.reference)
    await door.work()

    assert answer.status_code == 202
    assert await door.standing() == [("msg_1", "PROCESSED", None)]
    assert (await door.till.payment(payment_id)).status is PaymentStatus.PENDING_PAYMENT
    assert await door.till.rows("settlement") == []
    assert await door.till.balances() == {}


async def test_what_is_about_nothing_of_ours_is_stored_and_has_no_effect(door: CallbackDoor) -> None:
    payment_id, ours = await paid(door)
    foreign: list[tuple[object, str, str]] = [
        (SOME_HASH, "invoice.settled", "UNKNOWN_REFERENCE"),
        (ours.upper(), "invoice.settled", "UNKNOWN_REFERENCE"),
        ("a" * 256, "invoice.settled", "NO_REFERENCE"),
        ("\x00", "invoice.settled", "NO_REFERENCE"),
        ("\ud800", "invoice.settled", "NO_REFERENCE"),
        (17, "invoice.settled", "NO_REFERENCE"),
        (None, "invoice.settled", "NO_REFERENCE"),
        (ours, "invoice.exploded", "NO_REFERENCE"),
    ]

    answers = [
        await door.hear(reference, type_=type_, event_id=f"msg_{number}")
        for number, (reference, type_, _) in enumerate(foreign)
    ]
    planned = len(await door.jobs())
    await door.work()

    assert [answer.status_code for answer in answers] == [202] * len(foreign)
    assert planned == 2  # only a reference is looked for
    listed = await door.listed()
    assert [(one["state"], one["reason"], one["type"]) for one in listed] == [
        ("IGNORED", reason, type_) for _, type_, reason in foreign
    ]
    assert {one["paymentId"] for one in listed} == {None}
    assert None not in {one["processedAt"] for one in listed}
    assert (await door.till.payment(payment_id)).status is PaymentStatus.PENDING_PAYMENT
    assert await door.till.rows("settlement") == []


async def test_an_event_id_that_is_known_is_answered_and_changes_nothing(door: CallbackDoor) -> None:
    _, reference = await paid(door)
    await door.hear(reference)
    before = await door.effects()

    again = await door.hear(reference)

    assert (again.status_code, again.json()) == (200, {"status": "REPEATED"})
    assert await door.effects() == before
    assert door.counted("REPEATED") == 1


async def test_an_event_id_that_comes_with_another_body_keeps_the_first_and_is_told_to_the_operator(
    door: CallbackDoor,
) -> None:
    payment_id, reference = await paid(door)
    await door.hear(SOME_HASH)
    await door.work()
    before = await door.effects()

    with capture_logs() as logs:
        again = await door.hear(reference)
    await door.work()

    assert (again.status_code, again.json()) == (200, {"status": "DIFFERS"})
    assert await door.effects() == before
    assert await door.standing() == [("msg_1", "IGNORED", "UNKNOWN_REFERENCE")]
    assert (await door.till.payment(payment_id)).status is PaymentStatus.PENDING_PAYMENT
    assert [(line["log_level"], line["event_id"], line["receipt"]) for line in logs] == [
        ("warning", "msg_1", "DIFFERS")
    ]


async def test_the_same_event_id_of_another_provider_is_another_callback(new_door: NewDoor) -> None:
    door = new_door(readers={name: SignedHints([SECRET]) for name in ("lnd", "other")})
    _, reference = await paid(door)
    body = hint(reference)

    answers = [await door.send(body, door.signed(body), provider=name) for name in ("lnd", "other")]
    await door.work()

    assert [answer.status_code for answer in answers] == [202, 202]
    assert [(one["provider"], one["state"]) for one in await door.listed()] == [
        ("lnd", "PROCESSED"),
        ("other", "IGNORED"),  # the reference is the other rail's there
    ]


async def test_another_merchants_money_is_booked_to_that_merchant_and_shown_to_nobody_else(
    door: CallbackDoor, other_shop: Any
) -> None:
    theirs = door.till.of(replace(other_shop, services=door.services))
    payment_id = (await theirs.order()).payment.id
    settlement = await theirs.pay(payment_id)

    await door.hear(settlement.reference)
    await door.work()

    (one,) = await door.listed()
    assert (one["state"], one["paymentId"], one["payment"]) == ("PROCESSED", payment_id, None)
    owners = {row["owner"] for row in await door.till.rows("ledger_account")}
    assert owners == {"lnd", other_shop.principal.merchant_id}


async def test_only_the_operator_sees_what_providers_said(door: CallbackDoor, other_shop: Any) -> None:
    reader = Principal(merchant_id=BOOTSTRAP_MERCHANT, scopes=frozenset({Scope.PAYMENTS_READ}))
    await door.hear(SOME_HASH)

    answers = [
        await schema.execute(CALLBACKS, {"first": 5}, door.till.shop.context(who))
        for who in (other_shop.principal, reader, ANONYMOUS)
    ]

    assert [answer.data for answer in answers] == [None] * 3
    for answer in answers:
        assert answer.errors is not None
        assert isinstance(answer.errors[0].original_error, PermissionDenied)


async def test_callbacks_are_listed_in_pages_the_newest_first(door: CallbackDoor) -> None:
    for number in range(5):
        await door.hear(SOME_HASH, event_id=f"msg_{number}")

    seen: list[str] = []
    after = None
    for _ in range(3):
        page = (await door.till.shop.run(CALLBACKS, {"first": 2, "after": after}))["providerCallbacks"]
        seen += [edge["node"]["eventId"] for edge in page["edges"]]
        after = page["pageInfo"]["endCursor"]

    assert page["totalCount"] == 5
    assert page["pageInfo"]["hasNextPage"] is False
    assert seen == ["msg_4", "msg_3", "msg_2", "msg_1", "msg_0"]


async def test_bodies_are_let_go_after_their_time_and_event_ids_never(door: CallbackDoor, clock: SandboxClock) -> None:
    for number in range(FORGOTTEN_AT_ONCE + 1):
        await door.hear(SOME_HASH, event_id=f"old_{number}")
    clock.advance(BODY_KEPT_DAYS * 86_400 - 60)
    await door.hear(SOME_HASH, event_id="within")
    kept = len(await door.till.rows("provider_callback_body"))

    clock.advance(120)
    again = await door.hear(SOME_HASH, event_id="old_0")
    await door.hear(SOME_HASH, event_id="first")
    after_first = len(await door.till.rows("provider_callback_body"))
    await door.hear(SOME_HASH, event_id="second")
    repeated = await door.send(hint("x"), door.signed(hint("x"), event_id="old_0"))

    callbacks = {row["id"]: row["event_id"] for row in await door.till.rows("provider_callback")}
    held = [callbacks[row["callback_id"]] for row in await door.till.rows("provider_callback_body")]
    assert kept == FORGOTTEN_AT_ONCE + 2
    assert again.json() == {"status": "REPEATED"}
    assert after_first == kept - FORGOTTEN_AT_ONCE + 1
    assert held == ["within", "first", "second"]
    assert repeated.json() == {"status": "REPEATED"}  # with what, nobody knows any more
    assert len(callbacks) == FORGOTTEN_AT_ONCE + 4


async def test_both_secrets_of_a_rotation_are_accepted(new_door: NewDoor) -> None:
    old, new = bytes(32), bytes(range(32, 64))
    door = new_door(readers={"lnd": SignedHints([new, old])})
    body = hint(SOME_HASH)

    answers = [
        await door.send(body, door.signed(body, event_id=f"msg_{secret[0]}", secret=secret))
        for secret in (old, new, SECRET)
    ]

    assert [answer.status_code for answer in answers] == [202, 202, 401]


class HexSigned:
    """Another provider's way: HMAC over the body alone, in hex, in a header of its own; the event id is in the body."""

    def read_callback(self, *, headers: Mapping[str, str], body: bytes, at: datetime) -> ProviderCallback:
        del at
        expected = hmac.digest(b"fake_secret", body, hashlib.sha256)
        try:
            given = bytes.fromhex(headers.get("X-Webhook-Signature", ""))
        except ValueError as error:
            raise CallbackRefused("not hex") from error
        if not hmac.compare_digest(expected, given):
            raise CallbackRefused("another signature")
        event = json.loads(body)
        return ProviderCallback(event_id=event["id"], kind=event["eventType"], reference=event["data"]["entityId"])


async def test_a_provider_with_another_way_of_signing_fits_the_port(new_door: NewDoor) -> None:
    door = new_door(readers={"hex": HexSigned()})
    body = (
        b'{"id":"11111111-1111-1111-1111-111111111111","eventType":"invoice.updated","webhookVersion":"v1",'
        b'"data":{"entityId":"22222222-2222-2222-2222-222222222222","changes":["state"]},'
        b'"created":"2022-11-05T15:14:35.5054944+00:00"}'
    )
    signature = "2173BE86FA37CFCB9D6BDB58C6D3DEA2327EB0EA2DC848D82DA2C2A967EF8DD5"

    shouted = await door.send(body, {"x-webhook-signature": signature}, provider="hex")
    whispered = await door.send(body, {"X-Webhook-Signature": signature.lower()}, provider="hex")
    forged = await door.send(body + b" ", {"X-Webhook-Signature": signature}, provider="hex")

    assert [answer.status_code for answer in (shouted, whispered, forged)] == [202, 200, 401]
    (one,) = await door.listed()
    assert (one["eventId"], one["type"], one["reference"]) == (
        "11111111-1111-1111-1111-111111111111",
        "invoice.updated",
        "22222222-2222-2222-2222-222222222222",
    )


async def test_s1_neither_a_table_nor_a_repr_holds_the_secret(door: CallbackDoor) -> None:
    _, reference = await paid(door)
    headers = door.signed(hint(reference))
    await door.send(hint(reference), headers)
    await door.work()

    rows = [row for table in Row.metadata.tables for row in await door.till.rows(table)]
    dump = "\n".join(
        f"{value!r} {value.hex() if isinstance(value, bytes) else ''}" for row in rows for value in row.values()
    )
    shown = f"{door.services!r} {door.services.callbacks['lnd']!r}"

    assert reference in dump
    for secret in (SECRET.hex(), repr(SECRET)[2:-1], headers["webhook-signature"]):
        assert secret not in dump
        assert secret not in shown
