"""Money of a payment that goes back: whole, in part, again, and never more than came in."""

import asyncio

import pytest
from tests.integration.conftest import ServicesFactory, Shop, Till
from tests.integration.outgoing_money import PAYMENT, found, refund, value

from quittance.domain.access import Principal, Scope
from quittance.domain.ids import PaymentId
from quittance.domain.money import msat
from quittance.domain.payment import Payment
from quittance.domain.policy import OverPolicy
from quittance.resolvers.invoices import retry_payment
from quittance.store import refund_totals

PRICE_MSAT = 1_000_000
FEE_MAX_MSAT = 10_000


@pytest.fixture
async def sold(till: Till) -> Payment:
    """A payment that was paid, and enough in the till to give it back with its way."""
    await till.sold(amount_msat=10 * PRICE_MSAT)
    return await till.sold(amount_msat=PRICE_MSAT)


def address(till: Till, node: str = "bob") -> str:
    found_at = till.rails.address_of(node)
    assert found_at is not None
    return found_at


async def totals(till: Till, payment: Payment) -> tuple[int, int]:
    """Return what is refunded and what is refundable, in millisatoshi."""
    shown = (await till.shop.run(PAYMENT, {"id": payment.id}))["payment"]
    return int(shown["refunded"]["value"]), int(shown["refundable"]["value"])


async def refusals(till: Till) -> list[tuple[str, str]]:
    """Return of what, and why, money was refused its way, the oldest first."""
    rows = await till.rows("audit_entry")
    return [(row["subject_id"], row["detail"].split(":")[0]) for row in rows if row["action"] == "DESTINATION_REFUSED"]


async def test_a_refund_reaches_the_payer_s_address_and_is_booked_to_the_millisatoshi(
    till: Till, sold: Payment
) -> None:
    before, bob = await till.balances(), till.rails.nodes["bob"].balance_msat

    begun = await refund(till, sold.id, destination=address(till), comment="Sorry!")
    reserved = (await till.balances())["RESERVED"]
    await till.send()

    done = await found(till, begun["id"])
    fee = value(done["fee"])
    assert (done["status"], value(done["amount"]), done["destinationKind"]) == ("SUCCEEDED", PRICE_MSAT, "ADDRESS")
    assert fee is not None
    assert 0 < fee <= FEE_MAX_MSAT
    assert reserved == -(PRICE_MSAT + FEE_MAX_MSAT)
    assert till.rails.nodes["bob"].balance_msat == bob + PRICE_MSAT
    after = await till.balances()
    assert after["MERCHANT"] - before["MERCHANT"] == PRICE_MSAT + fee
    assert after["PROVIDER"] - before["PROVIDER"] == -(PRICE_MSAT + fee)
    assert after["RESERVED"] == 0
    assert await totals(till, sold) == (PRICE_MSAT, 0)


async def test_an_invoice_of_the_payer_s_is_paid(till: Till, sold: Payment) -> None:
    invoice = till.rails.new_invoice("carol", amount_msat=400_000)

    begun = await refund(till, sold.id, destination=invoice)
    await till.send()

    done = await found(till, begun["id"])
    assert (done["status"], value(done["amount"])) == ("SUCCEEDED", 400_000)
    assert done["attempts"][0]["paymentRequest"] == invoice
    assert await totals(till, sold) == (400_000, 0)


async def test_a_refund_goes_to_the_address_that_the_payment_came_with(till: Till) -> None:
    await till.sold(amount_msat=10 * PRICE_MSAT)
    sold = await till.sold(amount_msat=PRICE_MSAT, refund_address=address(till, "carol"))

    begun = await refund(till, sold.id)
    await till.send()

    assert (await found(till, begun["id"]))["status"] == "SUCCEEDED"
    assert begun["destination"] == address(till, "carol")


async def test_what_the_way_of_a_refund_used_up_of_a_part_is_asked_for_again(till: Till) -> None:
    """The payer bears the way of this refund, so what is missing of the price is what arrived and what it cost."""
    await till.sold(amount_msat=10 * PRICE_MSAT)
    part = (await till.order(amount=msat(PRICE_MSAT), expires_in_s=60)).payment
    await till.report(await till.money(part.id, amount_msat=600_000))
    await refund(till, part.id, destination=address(till), feeFromAmount=True)
    await till.send()
    till.clock.advance(60 + till.services.rules.expiry_grace_s + 1)
    await till.reconcile()
    refunded, _ = await totals(till, part)

    await retry_payment(till.services, till.shop.principal, part.id)

    asked = (await till.options(part.id))[-1].amount
    assert 590_000 < refunded <= 600_000
    assert asked == msat(PRICE_MSAT - (600_000 - refunded))


async def test_partial_refunds_add_up_to_what_came_and_no_further(till: Till, sold: Payment) -> None:
    parts = [
        await refund(till, sold.id, key=str(part), amount={"msat": str(part)}, destination=address(till))
        for part in (300_000, 500_000)
    ]
    too_much = await refund(till, sold.id, key="more", amount={"msat": "200001"}, destination=address(till))
    rest = await refund(till, sold.id, key="rest", destination=address(till))
    nothing = await refund(till, sold.id, key="again", destination=address(till))
    await till.send()

    assert (too_much["code"], value(too_much["left"])) == ("REFUND_TOO_LARGE", 200_000)
    assert value(rest["amount"]) == 200_000
    assert nothing["code"] == "NOTHING_TO_REFUND"
    ended = [(await found(till, one["id"]))["status"] for one in (*parts, rest)]
    assert ended == ["SUCCEEDED"] * 3
    assert await totals(till, sold) == (PRICE_MSAT, 0)


async def test_of_two_refunds_that_are_too_much_together_one_succeeds(
    till: Till, sold: Payment, new_services: ServicesFactory
) -> None:
    """R4."""
    other = till.on(new_services())
    invoices = [till.rails.new_invoice("bob", amount_msat=600_000) for _ in range(2)]

    answers = await asyncio.gather(
        *(
            refund(one, sold.id, key=str(number), destination=invoices[number])
            for number, one in enumerate((till, other))
        )
    )

    assert sorted(answer.get("code") or answer["status"] for answer in answers) == ["PENDING", "REFUND_TOO_LARGE"]
    assert await totals(till, sold) == (600_000, 0)


async def test_the_database_itself_refuses_to_give_back_more_than_came(till: Till, sold: Payment) -> None:
    """R4: whatever the code before it decided."""
    await refund(till, sold.id, amount={"msat": "600000"}, destination=address(till))

    with pytest.raises(Exception, match=r"(?i)check|constraint"):
        await till.services.database.write(
            lambda t: refund_totals.move(t, PaymentId(sold.id), refundable=0, refunded=400_001)
        )

    assert await totals(till, sold) == (600_000, 0)


async def test_equal_refunds_are_two_and_a_repeated_one_is_one(
    till: Till, sold: Payment, new_services: ServicesFactory
) -> None:
    """R5: twenty of one key together, then another of the same amount."""
    processes = [till, till.on(new_services())]
    said = {"amount": {"msat": "400000"}, "destination": address(till)}

    same = await asyncio.gather(*(refund(processes[n % 2], sold.id, key="one", **said) for n in range(20)))
    second = await refund(till, sold.id, key="two", **said)
    conflict = await refund(till, sold.id, key="one", amount={"msat": "100"}, destination=address(till))
    await till.send()
    again = await refund(till, sold.id, key="one", **said)

    assert len({one["id"] for one in same}) == 1
    assert second["id"] != same[0]["id"]
    assert conflict["code"] == "IDEMPOTENCY_CONFLICT"
    assert (again["id"], again["status"]) == (same[0]["id"], "SUCCEEDED")
    assert len(await till.rows("transfer")) == 2
    assert await totals(till, sold) == (800_000, 0)


async def test_a_refund_and_late_money_meet_in_one_legal_state(
    till: Till, sold: Payment, new_services: ServicesFactory
) -> None:
    """R6: both are booked, whichever comes first, and what goes back is what came."""
    await till.set_policy(over=OverPolicy.REFUND)
    made = await till.order(amount=msat(PRICE_MSAT), refund_address=address(till))
    till.clock.advance(made.payment.expires_in_s + 120)
    await till.reconcile()
    await retry_payment(till.services, till.shop.principal, made.payment.id)
    await till.report(await till.money(made.payment.id, amount_msat=PRICE_MSAT, option=0))
    surplus = await till.money(made.payment.id, amount_msat=PRICE_MSAT, option=1)

    begun, _ = await asyncio.gather(
        refund(till, made.payment.id, destination=address(till)), till.on(new_services()).report(surplus)
    )
    await till.send()
    rest = await refund(till, made.payment.id, key="rest", destination=address(till))
    await till.send()

    payment = await till.payment(made.payment.id)
    assert (payment.status.value, payment.received) == ("COMPLETE", msat(2 * PRICE_MSAT))
    assert value(begun["amount"]) in {PRICE_MSAT, 2 * PRICE_MSAT}
    assert rest.get("code") in {None, "NOTHING_TO_REFUND"}
    assert await totals(till, payment) == (2 * PRICE_MSAT, 0)
    assert {row["state"] for row in await till.rows("transfer")} == {"SUCCEEDED"}
    assert (await till.balances())["RESERVED"] == 0


@pytest.mark.parametrize(
    ("destination", "flaw"),
    [
        ("nobody", "MALFORMED"),
        ("", "MALFORMED"),
        ("bob@", "MALFORMED"),
        ("lnbcrt1nonsense", "MALFORMED"),
        ("lnurl1nonsense", "MALFORMED"),
        ("bob\x00@example.com", "MALFORMED"),
    ],
)
async def test_who_cannot_be_paid_is_refused_and_nothing_is_set_aside(
    till: Till, sold: Payment, destination: str, flaw: str
) -> None:
    before = await till.balances()

    answer = await refund(till, sold.id, destination=destination)

    assert (answer["code"], answer.get("flaw")) == ("INVALID_DESTINATION", flaw)
    assert await refusals(till) == [(sold.id, flaw)]
    assert await till.rows("transfer") == []
    assert await till.balances() == before


async def test_an_invoice_of_another_amount_network_or_time_is_refused(till: Till, sold: Payment) -> None:
    invoice = till.rails.new_invoice("bob", amount_msat=100_000, expiry_s=60)
    mainnet = (
        "lnbc2500u1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzq"
        "fqqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpu9qrsgquk0rl77nj30yxdy8j9vdx85fkpmdla2087ne0xh8nhedh8w27kyk"
        "e0lp53ut353s06fv3qfegext0eh0ymjpf39tuven09sam30g4vgpfna3rh"
    )

    other = await refund(till, sold.id, amount={"msat": "100001"}, destination=invoice)
    foreign = await refund(till, sold.id, destination=mainnet)
    till.clock.advance(61)
    expired = await refund(till, sold.id, destination=invoice)

    assert [one["flaw"] for one in (other, foreign, expired)] == ["AMOUNT", "NETWORK", "EXPIRED"]
    assert await refusals(till) == [(sold.id, flaw) for flaw in ("AMOUNT", "NETWORK", "EXPIRED")]
    assert await till.rows("transfer") == []


async def test_one_invoice_is_paid_for_one_refund_alone(till: Till, sold: Payment) -> None:
    invoice = till.rails.new_invoice("bob", amount_msat=100_000)

    first = await refund(till, sold.id, key="1", destination=invoice)
    second = await refund(till, sold.id, key="2", destination=invoice.upper())
    await till.send()
    third = await refund(till, sold.id, key="3", destination=invoice)

    assert (await found(till, first["id"]))["status"] == "SUCCEEDED"
    assert [one["flaw"] for one in (second, third)] == ["USED", "USED"]
    assert await totals(till, sold) == (100_000, 0)


async def test_a_merchant_who_cannot_pay_the_way_refunds_less_what_it_may_cost(till: Till) -> None:
    sold = await till.sold(amount_msat=PRICE_MSAT)

    short = await refund(till, sold.id, destination=address(till))
    begun = await refund(till, sold.id, key="2", destination=address(till), feeFromAmount=True)
    await till.send()

    assert (short["code"], value(short["available"])) == ("INSUFFICIENT_BALANCE", PRICE_MSAT - FEE_MAX_MSAT)
    done = await found(till, begun["id"])
    assert (done["status"], value(done["amount"])) == ("SUCCEEDED", PRICE_MSAT - FEE_MAX_MSAT)
    assert (await till.balances())["RESERVED"] == 0


async def test_only_a_key_that_may_refund_refunds(till: Till, sold: Payment, other_shop: Shop) -> None:
    seller = Principal(merchant_id=sold.merchant_id, scopes=frozenset({Scope.PAYMENTS_WRITE, Scope.PAYMENTS_READ}))
    refunder = Principal(merchant_id=sold.merchant_id, scopes=frozenset({Scope.REFUNDS_WRITE}))

    refused = await refund(till.of(Shop(till.services, seller, till.shop.broker)), sold.id, destination=address(till))
    foreign = await refund(till.of(other_shop), sold.id, destination=address(till))
    begun = await refund(till.of(Shop(till.services, refunder, till.shop.broker)), sold.id, destination=address(till))

    assert (refused["code"], foreign["code"], begun["status"]) == ("PERMISSION_DENIED", "PAYMENT_NOT_FOUND", "SENDING")
    assert [row["action"] for row in await till.rows("audit_entry") if row["subject_id"] == begun["id"]] == [
        "PAYMENT_REFUNDED"
    ]


async def test_a_refund_is_told_in_the_log_and_seen_by_who_may_see_its_payment(
    till: Till, sold: Payment, other_shop: Shop
) -> None:
    begun = await refund(till, sold.id, destination=address(till))
    await till.send()

    told = [
        (row["kind"], row["status"]) for row in await till.rows("event") if begun["id"] in (row["subject_id"] or "")
    ]
    assert told == [("refund.updated", "PENDING"), ("refund.updated", "SENDING"), ("refund.updated", "SUCCEEDED")]
    assert await found(till.of(other_shop), begun["id"]) is None
    secret = till.services.derive.client_secret(PaymentId(sold.id))
    holder = Principal(payment_id=till.services.derive.payment_opened_by(secret))
    assert (await found(till, begun["id"], as_=holder))["status"] == "SUCCEEDED"


async def test_a_part_that_went_back_does_not_count_when_the_rest_comes(till: Till) -> None:
    await till.sold(amount_msat=10 * PRICE_MSAT)
    made = await till.order(amount=msat(PRICE_MSAT))
    await till.report(await till.money(made.payment.id, amount_msat=600_000))
    till.clock.advance(made.payment.expires_in_s + 120)
    await till.reconcile()
    await refund(till, made.payment.id, destination=address(till))
    await till.send()

    await retry_payment(till.services, till.shop.principal, made.payment.id)
    asked = (await till.options(made.payment.id))[-1]
    await till.report(await till.money(made.payment.id, amount_msat=400_000))
    short = await till.payment(made.payment.id)

    assert asked.amount == msat(PRICE_MSAT)
    assert short.status.value != "COMPLETE"
