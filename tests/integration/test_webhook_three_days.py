"""H4: a receiver that is back when the last try has not been made yet: everything that happened meanwhile arrives."""

from collections import Counter

from tests.integration.webhook_post import Post, sale
from tests.integration.webhook_receiver import Receiver

from quittance.domain.delivery import ATTEMPTS_MAX, RETRY_DELAYS_S
from quittance.sandbox.clock import SandboxClock

HOUR_S = 3_600
AWAY_HOURS = 3 * 24


async def test_h4_after_three_days_everything_arrives_in_the_order_of_each_payment(
    post: Post, receiver: Receiver, clock: SandboxClock
) -> None:
    await post.endpoint(receiver)
    receiver.answers = ["503 Away"] * 1_000
    early = [await sale(post) for _ in range(2)]
    late = []
    for hour in range(AWAY_HOURS):
        await post.tell()
        clock.advance(HOUR_S)
        if hour % 24 == 12:
            late.append(await sale(post))
    in_vain = Counter(one.headers["webhook-id"] for one in receiver.received)
    receiver.received.clear()
    receiver.answers.clear()

    for _ in range(max(RETRY_DELAYS_S) // HOUR_S + 3):  # the longest rest, its jitter, and the step of this loop
        await post.tell()
        clock.advance(HOUR_S)

    log = [(row["payment_id"], row["id"]) for row in await post.till.rows("event") if row["payment_id"] is not None]
    of_payment = {payment: [id_ for of, id_ in log if of == payment] for payment in early + late}
    arrived = [one.headers["webhook-id"] for one in receiver.received]
    assert sum(RETRY_DELAYS_S) > AWAY_HOURS * HOUR_S
    assert [in_vain[of_payment[payment][0]] for payment in early] == [ATTEMPTS_MAX - 1] * 2
    assert len(log) == 3 * len(early + late)
    assert sorted(arrived) == sorted(id_ for _, id_ in log)
    assert {payment: [id_ for id_ in arrived if id_ in ids] for payment, ids in of_payment.items()} == of_payment
    assert {one["state"] for one in await post.deliveries()} == {"DELIVERED"}
    assert [row["status"] for row in await post.till.rows("webhook_endpoint")] == ["ENABLED"]
