"""What stays of a sale on Strike, and what a shop may call it: no row is ever moved or deleted (W21, W22)."""

import base64
from typing import Any

from tests.integration.strike_account import RAIL, StrikeAccount
from tests.unit.test_qr import decode, read_png

from quittance.domain.money import msat
from quittance.domain.payment import PaymentStatus
from quittance.domain.policy import LatePolicy

PRICE_MSAT = 10_000_000
GRANTED_S = 120
LONG_NAME = "an-order-whose-name-is-longer-than-what-strike-takes/0001"
PNG = "data:image/png;base64,"
QR_CODE = "query ($id: ID!) { payment(id: $id) { paymentRequest qrCode(format: PNG) } }"


async def test_w22_a_correlation_id_that_is_longer_than_strike_s_is_ours_alone(strike: StrikeAccount) -> None:
    till = strike.till
    first, second = [await strike.order(correlation_id=LONG_NAME, idempotency_key=key) for key in ("1", "2")]

    for made in (first, second):
        await strike.pay(made.payment.id)
    await strike.catch_up()

    paid = [await till.payment(made.payment.id) for made in (first, second)]
    names = [body.correlation_id or "" for body in await strike.client.newest_invoices(count=10)]
    assert len(LONG_NAME) > 40
    assert [(one.status, one.correlation_id) for one in paid] == [(PaymentStatus.COMPLETE, LONG_NAME)] * 2
    assert len(set(names)) == len([name for name in names if 0 < len(name) <= 40]) == 2


async def rows_of(strike: StrikeAccount, payment_id: str) -> dict[str, list[dict[str, Any]]]:
    """Return every row that tells of a payment."""
    found = {table: await strike.till.rows(table) for table in ("payment", "payment_option", "settlement", "transfer")}
    ours = {
        table: [row for row in rows if payment_id in {row.get("payment_id"), row["id"]}]
        for table, rows in found.items()
    }
    names = {payment_id, *(f"{payment_id}/{row['id']}" for row in ours["transfer"])}
    events = [row for row in await strike.till.rows("event") if names & {row["payment_id"], row["subject_id"]}]
    return ours | {"event": events}


async def test_w21_a_sale_that_lapsed_was_paid_late_and_was_given_back_is_all_still_there(
    strike: StrikeAccount,
) -> None:
    """The seed moved its row from table to table and deleted it in the end: nothing told that it was refunded."""
    till = strike.till
    await strike.sold(amount=msat(10 * PRICE_MSAT))
    await till.set_policy(late=LatePolicy.REFUND, late_grace_s=0)
    refund_address = till.rails.address_of("bob")
    late = await strike.order(amount=msat(PRICE_MSAT), expires_in_s=GRANTED_S, refund_address=refund_address)
    till.clock.advance(GRANTED_S + till.services.rules.expiry_grace_s + 1)
    await till.reconcile()
    await strike.pay(late.payment.id)
    await strike.catch_up()
    await till.send()
    for _ in range(30):
        till.clock.advance(86_400)
        await till.reconcile()
        await till.send()

    found = await rows_of(strike, late.payment.id)
    (payment,), (option,), (settlement,), (transfer,) = [found[name] for name in list(found)[:4]]
    told = [(event["kind"], event["status"]) for event in found["event"]]
    assert (payment["refund_address"], option["provider"]) == (refund_address, RAIL)
    assert (settlement["reference"], settlement["disposition"]) == (option["reference"], "LATE_REFUNDABLE")
    assert (transfer["reason"], transfer["state"], transfer["destination"]) == ("LATE", "SUCCEEDED", refund_address)
    assert [status for kind, status in told if kind == "payment.updated"] == [
        "PENDING_INVOICE", "PENDING_PAYMENT", "EXPIRED", "EXPIRED",
    ]  # fmt: skip
    assert [status for kind, status in told if kind == "refund.updated"] == ["PENDING", "SENDING", "SUCCEEDED"]
    assert len(told) == 7


async def test_the_qr_code_of_a_payment_can_be_had_as_png(strike: StrikeAccount) -> None:
    made = await strike.order()

    shown = (await strike.till.shop.run(QR_CODE, {"id": made.payment.id}))["payment"]

    assert shown["qrCode"].startswith(PNG)
    png = base64.b64decode(shown["qrCode"].removeprefix(PNG), validate=True)
    assert decode(read_png(png)).text.lower().removeprefix("lightning:") == shown["paymentRequest"]
