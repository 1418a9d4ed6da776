"""The one notice that a shop is sent: what it says, where it may go, that it arrives (strike.md, L22, S6, W5, W17)."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from standardwebhooks import Webhook
from tests.integration.lnpay_shop import LnpayShop, NewShop
from tests.integration.test_migrated_rows import go_back
from tests.integration.webhook_post import AGAIN, STATUS
from tests.integration.webhook_receiver import Receiver

from quittance.domain.delivery import ATTEMPTS_MAX
from quittance.domain.errors import ForbiddenAddress
from quittance.domain.ids import PaymentId
from quittance.domain.payment import PaymentStatus
from quittance.domain.policy import LatePolicy
from quittance.providers.outgoing import EVERYWHERE, OutgoingClient, OutgoingRules
from quittance.resolvers.invoices import retry_payment
from quittance.resolvers.payments import cancel_payment
from quittance.resolvers.services import Services
from quittance.sandbox.clock import SandboxClock
from quittance.store.migrate import upgrade


async def status_of(shop: LnpayShop, payment_id: str) -> tuple[str, int]:
    found = (await shop.till.shop.run(STATUS, {"id": payment_id}))["payment"]
    return found["deliveryStatus"], found["deliveries"]["totalCount"]


async def test_l22_s6_a_shop_is_told_once_and_in_its_own_words(lnpay: LnpayShop, receiver: Receiver) -> None:
    secret = await lnpay.post.notify_secret()
    data = await lnpay.ordered()
    payment_id = data["invoice"]["invoiceId"]
    await lnpay.tell()
    before = await status_of(lnpay, payment_id)

    await lnpay.till.report(await lnpay.till.pay(payment_id))
    await lnpay.make_deliveries()
    waiting = await status_of(lnpay, payment_id)
    await lnpay.tell()
    await lnpay.tell()

    (received,) = receiver.received
    assert received.message == {
        "status": "success",
        "message": "Payment processed successfully!",
        "invoice": data["quote"]["lnInvoice"],
    }
    assert received.headers["content-type"] == "application/json"
    assert Webhook(secret).verify(received.body, received.headers) == received.message  # S8, W17
    (settled,) = [row for row in await lnpay.till.rows("event") if row["kind"] == "payment.settled"]
    assert received.headers["webhook-id"] == settled["id"]
    assert (before, waiting) == (("NONE", 0), ("PENDING", 1))
    assert await status_of(lnpay, payment_id) == ("DELIVERED", 1)


async def test_nothing_is_told_of_what_was_not_paid(lnpay: LnpayShop, receiver: Receiver, clock: SandboxClock) -> None:
    canceled, expired, short = [await lnpay.ordered(correlation_id=f"order-{n}") for n in range(3)]
    services, principal = lnpay.till.services, lnpay.till.shop.principal
    await cancel_payment(services, principal, PaymentId(canceled["invoice"]["invoiceId"]))
    await lnpay.till.report(await lnpay.till.money(short["invoice"]["invoiceId"], amount_msat=1_000))
    clock.advance(3_600)
    await lnpay.till.reconcile()

    await lnpay.tell()

    found = await lnpay.till.payment(expired["invoice"]["invoiceId"])
    assert found.status is PaymentStatus.EXPIRED
    assert receiver.connections == 0
    assert await lnpay.post.deliveries() == []


async def test_late_money_that_is_refunded_sells_nothing(
    lnpay: LnpayShop, receiver: Receiver, clock: SandboxClock
) -> None:
    """The seed's rule: money after the seconds that the merchant grants is late, however long the invoice lives."""
    await lnpay.till.set_policy(late=LatePolicy.REFUND, late_grace_s=0)
    in_time, late = await lnpay.ordered(), await lnpay.ordered(correlation_id="order-2")
    ids = [data["invoice"]["invoiceId"] for data in (in_time, late)]
    clock.advance(lnpay.terms.expires_in_s - 2)
    await lnpay.till.report(await lnpay.till.money(ids[0], amount_msat=25_000_000))
    clock.advance(4)
    await lnpay.till.report(await lnpay.till.money(ids[1], amount_msat=25_000_000))

    await lnpay.tell()

    assert [one.message["invoice"] for one in receiver.received] == [in_time["quote"]["lnInvoice"]]
    assert [(await lnpay.till.payment(id_)).status for id_ in ids] == [
        PaymentStatus.COMPLETE,
        PaymentStatus.PENDING_PAYMENT,
    ]
    assert [row["disposition"] for row in await lnpay.till.rows("settlement")] == ["ACCEPTED", "LATE_REFUNDABLE"]


@pytest.mark.parametrize("refusal", ["400 Bad Request", "500 Broken", "302 Found\r\nLocation: /elsewhere"])
async def test_w5_w17_what_the_shop_does_not_take_is_sent_again(
    lnpay: LnpayShop, receiver: Receiver, clock: SandboxClock, refusal: str
) -> None:
    receiver.answers = [refusal]
    data = await lnpay.paid()
    await lnpay.tell()
    first = await status_of(lnpay, data["invoice"]["invoiceId"])

    clock.advance(10)
    await lnpay.tell()

    assert first == ("PENDING", 1)
    assert await status_of(lnpay, data["invoice"]["invoiceId"]) == ("DELIVERED", 1)
    one, other = receiver.received
    assert one.body == other.body
    assert one.headers["webhook-id"] == other.headers["webhook-id"]


async def test_a_notice_that_was_given_up_is_seen_and_sent_again_by_hand(
    lnpay: LnpayShop, receiver: Receiver, clock: SandboxClock
) -> None:
    receiver.answers = ["503 Away"] * ATTEMPTS_MAX
    data = await lnpay.paid()
    for _ in range(ATTEMPTS_MAX):
        await lnpay.tell()
        clock.advance(30 * 3_600)
    failed = await status_of(lnpay, data["invoice"]["invoiceId"])
    (delivery,) = await lnpay.post.deliveries()

    again = await lnpay.till.shop.mutate("redeliverWebhook", AGAIN, {"id": delivery["id"]})
    await lnpay.tell()

    assert (failed, len(delivery["attempts"])) == (("FAILED", 1), ATTEMPTS_MAX)
    assert again["__typename"] == "RedeliverWebhookSuccess"
    assert await status_of(lnpay, data["invoice"]["invoiceId"]) == ("DELIVERED", 1)
    assert {one.body for one in receiver.received} == {receiver.received[0].body}


async def test_a_shop_hears_of_the_invoice_that_it_was_given_though_another_was_paid(
    lnpay: LnpayShop, receiver: Receiver, clock: SandboxClock
) -> None:
    data = await lnpay.ordered()
    payment_id = PaymentId(data["invoice"]["invoiceId"])
    clock.advance(3_600)
    await lnpay.till.reconcile()
    await retry_payment(lnpay.till.services, lnpay.till.shop.principal, payment_id)
    await lnpay.till.report(await lnpay.till.pay(payment_id))

    await lnpay.tell()

    first, second = await lnpay.till.options(payment_id)
    assert first.payment_request != second.payment_request
    assert [one.message["invoice"] for one in receiver.received] == [first.payment_request]
    assert first.payment_request == data["quote"]["lnInvoice"]


async def test_localhost_that_leads_to_ipv6_first_reaches_a_shop_on_ipv4(lnpay: LnpayShop, receiver: Receiver) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        assert host == "localhost"
        return ["::1", "127.0.0.1"]

    services = lnpay.till.services
    rules = OutgoingRules(private_networks=EVERYWHERE, plain_http=True, timeout_s=2.0)
    async with OutgoingClient(rules, resolve=resolve) as to_shop:
        services.webhook_tools = replace(services.webhooks, shop=to_shop)
        lnpay.terms = replace(lnpay.terms, notice_url=f"http://localhost:{receiver.port}/webhook")
        payment_id = (await lnpay.order_here()).payment.id
        await lnpay.till.report(await lnpay.till.pay(payment_id))
        await lnpay.tell()

    assert [one.path for one in receiver.received] == ["/webhook"]
    assert await status_of(lnpay, payment_id) == ("DELIVERED", 1)


async def test_the_shop_s_address_opens_no_private_network_to_merchants(lnpay: LnpayShop, receiver: Receiver) -> None:
    services = lnpay.till.services
    async with OutgoingClient(OutgoingRules(timeout_s=2.0)) as strict:
        services.webhook_tools = replace(services.webhooks, outgoing=strict)
        for url in (receiver.url, f"http://localhost:{receiver.port}/hook", "http://10.0.0.1/webhook"):
            with pytest.raises(ForbiddenAddress):
                await lnpay.till.order(notify_url=url)
        data = await lnpay.paid()
        await lnpay.tell()

    assert await status_of(lnpay, data["invoice"]["invoiceId"]) == ("DELIVERED", 1)


async def test_endpoints_of_the_merchant_hear_of_the_sale_as_of_any_other(lnpay: LnpayShop, receiver: Receiver) -> None:
    await lnpay.post.endpoint(receiver, eventTypes=["PAYMENT_SETTLED"])
    data = await lnpay.paid()

    await lnpay.tell()

    event, notice = sorted((one.message for one in receiver.received), key=lambda body: "invoice" in body)
    assert (event["type"], event["data"]["payment"]["id"]) == ("payment.settled", data["invoice"]["invoiceId"])
    assert notice["invoice"] == data["quote"]["lnInvoice"]
    assert await status_of(lnpay, data["invoice"]["invoiceId"]) == ("DELIVERED", 2)


async def test_the_version_before_sends_a_shop_nothing_that_it_cannot_read(
    lnpay: LnpayShop, receiver: Receiver, database_url: str
) -> None:
    await lnpay.paid()
    await lnpay.make_deliveries()

    await go_back(database_url, "correlation ids that are used once, and notices to shops")
    await asyncio.to_thread(upgrade, database_url)
    await lnpay.tell()

    assert [row["notify_url"] for row in await lnpay.till.rows("payment")] == [None]
    (delivery,) = await lnpay.till.rows("webhook_delivery")
    assert (delivery["state"], delivery["ended_at_us"]) == ("CANCELED", delivery["created_at_us"])
    assert receiver.connections == 0


async def test_w4_two_processes_tell_a_shop_once(
    lnpay: LnpayShop, new_lnpay: NewShop, new_services: Callable[[], Services], receiver: Receiver
) -> None:
    other = new_lnpay(services=new_services())
    data = await lnpay.ordered()
    paid: Any = await lnpay.till.pay(data["invoice"]["invoiceId"])

    for shop in (lnpay, other, lnpay, other):
        await shop.till.report(paid)
        await shop.tell()

    assert len(receiver.received) == 1
    assert len(await lnpay.till.rows("settlement")) == 1
