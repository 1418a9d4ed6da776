"""What Strike tells at the address of LNPay backends: proved, answered as they do, and done once (L10 to L14)."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.integration.lnpay_shop import (
    BODY_BYTES_MAX,
    SECRET,
    LnpayShop,
    NewShop,
    OnStrike,
    event,
    id_at_strike,
    signature_of,
)
from tests.integration.webhook_receiver import Receiver

from quittance.domain.payment import PaymentStatus
from quittance.providers.callbacks import ProviderCallback
from quittance.resolvers.merchants import MerchantChange, update_merchant
from quittance.resolvers.services import ASKING_BUDGET, MUTATION_BUDGET, Services
from quittance.server.access import ADDRESS_BUDGET, KEY_BUDGET
from quittance.server.limiter import MinuteLimiter

SUCCESS = (200, {"status": "success"})
REFUSED = (400, {"error": "Invalid signature"})
EFFECTS = ("provider_callback", "settlement", "ledger_entry")


@pytest.fixture
async def strike(new_lnpay: NewShop, till: Any) -> LnpayShop:
    """A shop whose merchant is paid on a rail that is called Strike."""
    shop = new_lnpay()
    shop.till.services.rails = {"strike": OnStrike(till.services.rails["lnd"])}
    principal = shop.till.shop.principal
    await update_merchant(
        shop.till.services, principal, principal.merchant_id, MerchantChange(default_provider="strike")
    )
    return shop


async def paid_and_unheard(shop: LnpayShop) -> tuple[str, str]:
    """Have an order paid that nobody told us of; return the payment and what Strike calls its invoice."""
    payment_id = str((await shop.ordered())["invoice"]["invoiceId"])
    return payment_id, id_at_strike((await shop.till.pay(payment_id)).reference)


async def effects(shop: LnpayShop) -> dict[str, int]:
    return {table: len(await shop.till.rows(table)) for table in EFFECTS}


@pytest.mark.parametrize("written", [str.upper, str.lower])
async def test_l10_l13_a_notice_has_the_provider_asked_and_the_shop_told(
    strike: LnpayShop, receiver: Receiver, written: Callable[[str], str]
) -> None:
    payment_id, invoice_id = await paid_and_unheard(strike)
    body = event(invoice_id)

    answer = await strike.hear(body, written(signature_of(body)))
    before = (await strike.till.payment(payment_id)).status
    await strike.work()
    await strike.tell()

    assert (answer.status_code, answer.json()) == SUCCESS
    assert before is PaymentStatus.PENDING_PAYMENT  # nothing that is said is believed
    assert (await strike.till.payment(payment_id)).status is PaymentStatus.COMPLETE
    assert len(receiver.received) == 1


async def test_l13_w4_a_notice_that_comes_again_has_one_effect(strike: LnpayShop, receiver: Receiver) -> None:
    _, invoice_id = await paid_and_unheard(strike)
    body, later = event(invoice_id), event(invoice_id, id_="22222222-2222-2222-2222-222222222222")

    answers = [await strike.hear(said) for said in (body, body, later)]
    await strike.work()
    answers += [await strike.hear(said) for said in (body, later)]
    await strike.work()
    await strike.tell()

    assert [(answer.status_code, answer.json()) for answer in answers] == [SUCCESS] * 5
    assert await effects(strike) == {"provider_callback": 2, "settlement": 1, "ledger_entry": 2}
    assert len(receiver.received) == 1


async def test_a_notice_of_what_was_not_paid_books_nothing(strike: LnpayShop, receiver: Receiver) -> None:
    data = await strike.ordered()
    (option,) = await strike.till.options(data["invoice"]["invoiceId"])

    answer = await strike.hear(event(id_at_strike(option.reference)))
    await strike.work()
    await strike.tell()

    assert (answer.status_code, answer.json()) == SUCCESS
    assert await effects(strike) == {"provider_callback": 1, "settlement": 0, "ledger_entry": 0}
    assert receiver.connections == 0


async def test_w10_a_notice_of_somebody_else_s_invoice_does_nothing(strike: LnpayShop) -> None:
    answer = await strike.hear(event("22222222-2222-2222-2222-222222222222"))
    await strike.work()

    assert (answer.status_code, answer.json()) == SUCCESS
    assert [(row["state"], row["reason"]) for row in await strike.till.rows("provider_callback")] == [
        ("IGNORED", "UNKNOWN_REFERENCE")
    ]
    assert await strike.till.rows("transfer") == []


SOME_ID = id_at_strike("ab" * 16)
GOOD = event(SOME_ID)


@pytest.mark.parametrize(
    "signature",
    ["", "00" * 32, signature_of(GOOD)[:-2], signature_of(GOOD) + "00", signature_of(GOOD, secret=b"another"),
     signature_of(event(id_at_strike("cd" * 16))), "nonsense", "é" * 64, b"\xff\xfe", "0x" + signature_of(GOOD)],
)  # fmt: skip
async def test_l11_a_forged_notice_is_refused_and_changes_nothing(strike: LnpayShop, signature: str | bytes) -> None:
    with capture_logs() as logs:
        answer = await strike.hear(GOOD, signature)

    assert (answer.status_code, answer.json()) == REFUSED
    assert await effects(strike) == dict.fromkeys(EFFECTS, 0)
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == ["callback_refused"]
    assert SECRET.decode() not in str(logs)


async def test_l11_a_notice_without_a_signature_is_refused(strike: LnpayShop) -> None:
    answer = await strike.http.post("/webhook", content=GOOD)

    assert (answer.status_code, answer.json()) == REFUSED
    assert await effects(strike) == dict.fromkeys(EFFECTS, 0)


@pytest.mark.parametrize(
    "kind", ["invoice.created", "payment.updated", "receive-request.receive-completed", "new.kind"]
)
async def test_l12_other_events_are_ignored(strike: LnpayShop, kind: str) -> None:
    answer = await strike.hear(event(SOME_ID, kind=kind))
    await strike.work()

    assert (answer.status_code, answer.json()) == (200, {"message": "Event ignored"})
    assert await effects(strike) == {"provider_callback": 1, "settlement": 0, "ledger_entry": 0}


class Crashes:
    def read_callback(self, **_: Any) -> ProviderCallback:
        raise RuntimeError("SELECT secrets")


async def test_h1_a_reader_that_crashes_lets_nobody_in(strike: LnpayShop) -> None:
    strike.till.services.callbacks = {"strike": Crashes()}

    answer = await strike.hear(GOOD)

    assert (answer.status_code, answer.json()) == REFUSED
    assert await effects(strike) == dict.fromkeys(EFFECTS, 0)


class Broken:
    def __init__(self, inside: Any) -> None:
        self._inside = inside

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inside, name)

    async def write(self, _unit: Any) -> Any:
        raise OSError("the disk is full at /var/lib/quittance")


async def test_l14_what_could_not_be_stored_is_to_be_sent_again(
    new_lnpay: NewShop, strike: LnpayShop, new_services: Callable[[], Services]
) -> None:
    broken = replace(new_services(), database=Broken(strike.till.services.database))
    failing = new_lnpay(services=broken)

    failed = await failing.hear(GOOD)
    again = await strike.hear(GOOD)

    assert (failed.status_code, failed.json()) == (500, {"error": "Webhook handling failed"})
    assert (again.status_code, again.json()) == SUCCESS
    assert len(await strike.till.rows("provider_callback")) == 1


async def test_without_a_secret_of_strike_s_there_is_no_such_door(new_lnpay: NewShop) -> None:
    deaf = new_lnpay(hears=False)

    answer = await deaf.hear(GOOD)

    assert (answer.status_code, answer.json()) == (404, {"error": "not found"})


async def test_long_and_frequent_notices_are_refused_before_they_are_read(strike: LnpayShop) -> None:
    long = GOOD + b" " * BODY_BYTES_MAX
    too_long = await strike.hear(long)
    plenty = dict.fromkeys((MUTATION_BUDGET, KEY_BUDGET, ASKING_BUDGET), 1_000)
    strike.till.services.limiter = MinuteLimiter(plenty | {ADDRESS_BUDGET: 1})
    accepted, too_often = await strike.hear(GOOD), await strike.hear(GOOD)

    assert [answer.status_code for answer in (too_long, accepted, too_often)] == [413, 200, 429]
    assert list(too_long.json()) == list(too_often.json()) == ["error"]
    assert int(too_often.headers["retry-after"]) >= 1
    assert len(await strike.till.rows("provider_callback")) == 1


async def test_l14_unreadable_notices_are_refused_though_they_are_signed(strike: LnpayShop) -> None:
    """The seed answers 500, and Strike sends what nobody will ever read for nine days."""
    unreadable = (b"", b"{", b"[]", b"\xff", json.dumps({"id": "1"}).encode(), event("no id"))
    answers = [await strike.hear(body) for body in unreadable]

    assert [(answer.status_code, answer.json()) for answer in answers] == [REFUSED] * len(unreadable)
    assert await effects(strike) == dict.fromkeys(EFFECTS, 0)
