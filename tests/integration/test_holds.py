"""Held money, from end to end: locked, then taken or given back, and nothing delivered meanwhile."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from pydantic import SecretStr
from tests.integration.holding import HOLD_S_MAX, REFUSED, START_MSAT, Holder

from quittance.domain.access import Principal, Scope
from quittance.domain.money import msat
from quittance.domain.payment import OptionState
from quittance.domain.policy import LatePolicy
from quittance.providers.lnd._proto import lnrpc_pb2 as ln
from quittance.providers.lnd.channel import LndConnection, open_channel
from quittance.providers.lnd.provider import LndProvider
from quittance.resolvers.orders import InvoiceOrder
from quittance.sandbox.rails import SandboxRails

ARTICLE = """
mutation {
  createArticle(input: {title: "T", content: "the text", price: {msat: "5000"}}) {
    ... on CreateArticleSuccess { article { id } }
  }
}
"""
BOUGHT = """
query ($id: ID!, $secret: String!) { payment(id: $id, clientSecret: $secret) { status article { content locked } } }
"""
RETRY = """
mutation ($id: ID!) { retryPayment(id: $id) { __typename ... on RetryPaymentSuccess { payment { status hold } } } }
"""
CANCEL = """
mutation ($id: ID!) { cancelPayment(id: $id) { __typename ... on PaymentNotPayableError { status } } }
"""


@pytest.fixture
def holder(till: Any) -> Holder:
    return Holder(till)


async def test_money_is_locked_then_captured_and_booked_once(holder: Holder) -> None:
    made = await holder.ask()
    payment_id = made["payment"]["id"]
    await holder.lock(payment_id)

    before = holder.till.clock.now()
    held = await holder.check(payment_id)
    after = holder.till.clock.now()
    books = (await holder.till.balances(), await holder.till.rows("settlement"))
    captured = await holder.capture(payment_id)

    assert (made["payment"]["status"], made["payment"]["hold"]) == ("PENDING_PAYMENT", True)
    assert (held["status"], held["received"]) == ("HELD", None)
    assert before <= datetime.fromisoformat(held["holdExpiresAt"]) - holder.hold_max <= after
    assert books == ({}, [])
    assert captured["payment"]["status"] == "COMPLETE"
    await holder.assert_taken_once(payment_id)


async def test_the_node_does_not_know_the_preimage_before_the_capture(holder: Holder) -> None:
    payment_id = await holder.held()

    assert (await holder.invoice(payment_id)).preimage == b""
    await holder.capture(payment_id)
    preimage = (await holder.invoice(payment_id)).preimage
    assert hashlib.sha256(preimage).hexdigest() == (await holder.read(payment_id))["paymentHash"]


async def test_nothing_is_delivered_while_money_is_only_held(holder: Holder, anonymous: Principal) -> None:
    article = (await holder.till.shop.run(ARTICLE))["createArticle"]["article"]
    made = await holder.ask(articleId=article["id"])
    payment_id, secret = made["payment"]["id"], made["clientSecret"]
    bought = {"id": payment_id, "secret": secret}
    await holder.lock(payment_id)
    await holder.check(payment_id)

    held = (await holder.till.shop.run(BOUGHT, bought, as_=anonymous))["payment"]
    views = [row["views"] for row in await holder.till.rows("article")]
    await holder.capture(payment_id)
    taken = (await holder.till.shop.run(BOUGHT, bought, as_=anonymous))["payment"]

    assert held == {"status": "HELD", "article": {"content": None, "locked": True}}
    assert views == [0]
    assert taken == {"status": "COMPLETE", "article": {"content": "the text", "locked": False}}


async def test_held_money_is_noticed_within_seconds_though_no_feed_tells_of_it(holder: Holder) -> None:
    payment_id = await holder.open()
    await holder.lock(payment_id)
    before = (await holder.read(payment_id))["status"]

    holder.wait(holder.till.services.rules.hold_check_s)
    await holder.till.reconcile()

    assert before == "PENDING_PAYMENT"
    assert (await holder.read(payment_id))["status"] == "HELD"
    assert (await holder.till.events(payment_id))[-1] == ("payment.updated", "HELD")


async def test_released_money_goes_back_to_its_payer(holder: Holder) -> None:
    payment_id = await holder.held()

    released = await holder.release(payment_id)
    again = await holder.release(payment_id)
    late = await holder.capture(payment_id)

    assert released["payment"]["status"] == again["payment"]["status"] == "CANCELED"
    assert late == REFUSED | {"status": "CANCELED"}
    await holder.assert_given_back(payment_id, "CANCELED", "RELEASED_BY_MERCHANT")


async def test_a_captured_payment_is_captured_again_without_effect_and_not_released(holder: Holder) -> None:
    payment_id = await holder.held()
    await holder.capture(payment_id)

    again = await holder.capture(payment_id)
    released = await holder.release(payment_id)

    assert again["payment"]["status"] == "COMPLETE"
    assert released == REFUSED | {"status": "COMPLETE"}
    await holder.assert_taken_once(payment_id)


async def test_what_nobody_has_paid_can_be_neither_captured_nor_released(holder: Holder) -> None:
    payment_id = await holder.open()

    assert await holder.capture(payment_id) == REFUSED | {"status": "PENDING_PAYMENT"}
    assert await holder.release(payment_id) == REFUSED | {"status": "PENDING_PAYMENT"}
    assert (await holder.invoice(payment_id)).state == ln.Invoice.OPEN


async def test_money_that_came_a_moment_ago_is_captured_without_waiting_for_a_check(holder: Holder) -> None:
    payment_id = await holder.open()
    await holder.lock(payment_id)

    captured = await holder.capture(payment_id)

    assert captured["payment"]["status"] == "COMPLETE"
    await holder.assert_taken_once(payment_id)


async def test_an_ordinary_payment_is_not_captured(holder: Holder) -> None:
    payment_id = await holder.open(hold=False)
    pending = await holder.capture(payment_id)
    await holder.till.report(await holder.till.pay(payment_id))

    assert pending == REFUSED | {"status": "PENDING_PAYMENT"}
    assert await holder.capture(payment_id) == REFUSED | {"status": "COMPLETE"}
    assert await holder.release(payment_id) == REFUSED | {"status": "COMPLETE"}


async def test_money_that_is_held_too_long_goes_back_and_the_payment_may_be_asked_for_again(holder: Holder) -> None:
    payment_id = await holder.held()
    holder.wait(HOLD_S_MAX - 1)
    await holder.till.reconcile()
    still = (await holder.read(payment_id))["status"]

    holder.wait(1)
    await holder.till.reconcile()

    assert still == "HELD"
    await holder.assert_given_back(payment_id, "EXPIRED", "HOLD_EXPIRED")
    assert await holder.capture(payment_id) == REFUSED | {"status": "EXPIRED"}
    retried = await holder.till.shop.mutate("retryPayment", RETRY, {"id": payment_id})
    assert retried["payment"] == {"status": "PENDING_PAYMENT", "hold": True}
    await holder.lock(payment_id)
    assert (await holder.capture(payment_id))["payment"]["status"] == "COMPLETE"
    assert await holder.till.balances() == {"PROVIDER": 5_000, "MERCHANT": -5_000}


@pytest.mark.parametrize("asked_first", ["the provider", "to capture"])
async def test_the_node_gives_money_back_by_itself_and_a_late_capture_is_refused(
    holder: Holder, asked_first: str
) -> None:
    rules = replace(holder.till.services.rules, hold_s_max=86_400)
    holder = holder.on(replace(holder.till.services, rules=rules))
    payment_id = await holder.held()
    holder.wait(62 * 600 + 1)  # blocks until 18 are left of 80

    if asked_first == "the provider":
        await holder.till.reconcile()
    late = await holder.capture(payment_id)

    assert late == REFUSED | {"status": "CANCELED"}
    await holder.assert_given_back(payment_id, "CANCELED", "CANCELED_AT_PROVIDER")


async def test_an_invoice_that_nobody_paid_expires_as_any_other(holder: Holder) -> None:
    payment_id = await holder.open(expiresIn=60)
    holder.wait(62)
    await holder.till.reconcile()
    holder.wait(2)
    await holder.till.reconcile()

    assert (await holder.read(payment_id))["status"] == "EXPIRED"
    assert await holder.capture(payment_id) == REFUSED | {"status": "EXPIRED"}


async def test_a_capture_after_the_invoice_s_time_is_not_late_money(holder: Holder) -> None:
    await holder.till.set_policy(late=LatePolicy.REFUND, late_grace_s=0)
    payment_id = await holder.held(expiresIn=60)
    holder.wait(600)
    await holder.till.reconcile()
    held = (await holder.read(payment_id))["status"]

    await holder.capture(payment_id)

    assert held == "HELD"
    await holder.assert_taken_once(payment_id)


async def test_a_held_payment_is_released_and_not_canceled(holder: Holder) -> None:
    payment_id = await holder.held()

    refused = await holder.till.shop.mutate("cancelPayment", CANCEL, {"id": payment_id})

    assert refused == {"__typename": "PaymentNotPayableError", "status": "HELD"}
    assert (await holder.invoice(payment_id)).state == ln.Invoice.ACCEPTED


async def test_money_that_nobody_noticed_goes_back_when_its_payment_is_canceled(holder: Holder) -> None:
    payment_id = await holder.open()
    await holder.lock(payment_id)

    canceled = await holder.till.shop.mutate("cancelPayment", CANCEL, {"id": payment_id})

    assert canceled["__typename"] == "CancelPaymentSuccess"
    await holder.assert_given_back(payment_id, "CANCELED", "CANCELED_BY_MERCHANT")


async def test_who_may_write_payments_ends_a_hold_and_nobody_else(holder: Holder, other_shop: Any) -> None:
    payment_id = await holder.held()
    reader = replace(holder.till.shop.principal, scopes=frozenset({Scope.PAYMENTS_READ}))
    stranger = holder.till.of(other_shop)

    for call in (holder.capture, holder.release):
        assert (await call(payment_id, as_=reader))["code"] == "PERMISSION_DENIED"
    for call in (Holder(stranger).capture, Holder(stranger).release):
        assert (await call(payment_id))["code"] == "PAYMENT_NOT_FOUND"
    assert (await holder.capture("pay_0"))["code"] == "PAYMENT_NOT_FOUND"
    assert (await holder.invoice(payment_id)).state == ln.Invoice.ACCEPTED


async def test_who_ended_a_hold_is_written_down(holder: Holder) -> None:
    captured = await holder.held()
    await holder.capture(captured)
    await holder.capture(captured)
    released = await holder.held()
    await holder.release(released)

    log = [(row["action"], row["subject_id"]) for row in await holder.till.rows("audit_entry")]
    assert [line for line in log if line[0].startswith("PAYMENT")] == [
        ("PAYMENT_CAPTURED", captured),
        ("PAYMENT_RELEASED", released),
    ]


async def test_hold_is_part_of_what_an_idempotency_key_stands_for(holder: Holder) -> None:
    first = await holder.ask(idempotencyKey="k")
    again = await holder.ask(idempotencyKey="k")
    other = await holder.ask(idempotencyKey="k", hold=False)
    plain = await holder.ask(idempotencyKey="p", hold=False)
    silent = await holder.ask(idempotencyKey="p", hold=None)

    assert again["payment"]["id"] == first["payment"]["id"]
    assert other["code"] == "IDEMPOTENCY_CONFLICT"
    assert (silent["replayed"], silent["payment"]["hold"]) == (True, False)
    assert plain["payment"]["hold"] is False


def test_keys_that_were_stored_before_payments_could_be_held_still_match() -> None:
    earlier = b'[null, null, [5000, "BTC", 11], null, [], null, null, null, null]'

    order = InvoiceOrder(amount=msat(5_000))

    assert order.fingerprint() == hashlib.sha256(earlier).digest()
    assert replace(order, hold=True).fingerprint() != order.fingerprint()


class Plain:
    """A rail without the two calls that hold."""

    def __init__(self, inside: LndProvider) -> None:
        self.name, self.asset = inside.name, inside.asset
        self.reference, self.create_invoice = inside.reference, inside.create_invoice
        self.lookup_invoice, self.cancel_invoice = inside.lookup_invoice, inside.cancel_invoice
        self.health = inside.health


async def test_a_rail_that_cannot_hold_says_so_and_makes_nothing(holder: Holder, lnd: LndProvider) -> None:
    plain = holder.on(replace(holder.till.services, rails={"lnd": Plain(lnd)}))

    refused = await plain.ask(idempotencyKey="k")

    assert refused == {"__typename": "HoldNotSupportedError", "code": "HOLD_NOT_SUPPORTED", "retryable": False}
    assert await plain.till.rows("payment") == []
    assert len(plain.till.rails.nodes["merchant"].invoices) == 0
    capabilities = await plain.till.shop.run("{ providers { capabilities } }")
    assert "HOLD" not in capabilities["providers"][0]["capabilities"]


async def test_a_rail_that_lost_its_ability_makes_no_invoice_that_would_be_taken_at_once(
    holder: Holder, lnd: LndProvider
) -> None:
    payment_id = await holder.open(expiresIn=60)
    holder.wait(62)
    await holder.till.reconcile()
    holder.wait(2)
    await holder.till.reconcile()
    plain = holder.on(replace(holder.till.services, rails={"lnd": Plain(lnd)}))

    retried = await plain.till.shop.mutate("retryPayment", RETRY, {"id": payment_id})

    assert retried["__typename"] == "HoldNotSupportedError"
    assert len(plain.till.rails.nodes["merchant"].invoices) == 1
    assert (await plain.read(payment_id))["status"] == "ERROR"


@pytest.fixture
async def second(rails: SandboxRails) -> AsyncIterator[LndProvider]:
    where = rails.node_coordinates("bob", "receive.macaroon")
    connection = LndConnection(
        address=where.address,
        tls_cert=where.tls_cert_path.read_bytes(),
        macaroon=SecretStr(where.macaroon_path.read_bytes().hex()),
    )
    provider = LndProvider(open_channel(connection), network="regtest", name="second", timeout_s=2.0)
    yield provider
    await provider.aclose()


async def test_money_is_held_on_one_rail_and_given_back_on_every_other(
    holder: Holder, lnd: LndProvider, second: LndProvider
) -> None:
    holder = holder.on(replace(holder.till.services, rails={"lnd": lnd, "second": second}))
    payment_id = await holder.open(alsoAccept=["second"])
    options = {option.provider: n for n, option in enumerate(await holder.till.options(payment_id))}
    await holder.lock(payment_id, option=options["lnd"])
    await holder.lock(payment_id, option=options["second"])

    holder.wait(holder.till.services.rules.hold_check_s)
    await holder.till.reconcile()

    states = {option.provider: option.state for option in await holder.till.options(payment_id)}
    nodes = {
        "lnd": (await holder.invoice(payment_id, option=options["lnd"])).state,
        "second": (await holder.invoice(payment_id, node="bob", option=options["second"])).state,
    }
    assert (await holder.read(payment_id))["status"] == "HELD"
    (kept,) = [name for name, state in states.items() if state is OptionState.HELD]
    (left,) = {"lnd", "second"} - {kept}
    assert states[left] is OptionState.CLOSED
    assert (nodes[kept], nodes[left]) == (ln.Invoice.ACCEPTED, ln.Invoice.CANCELED)
    assert holder.till.rails.nodes["alice"].balance_msat == START_MSAT - 5_000 - 1_000
    assert (await holder.capture(payment_id))["payment"]["status"] == "COMPLETE"
    assert sum(row["value"] for row in await holder.till.rows("ledger_entry") if row["value"] > 0) == 5_000
