"""One try of one delivery: what is sent, and what follows from the answer."""

import random
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from quittance.domain.delivery import disables, is_delivered, retry_after_s, retry_delay_s, throttles
from quittance.domain.endpoint import (
    TEST_TYPE,
    DeliveryState,
    EndpointStatus,
    WebhookAttempt,
    WebhookDelivery,
)
from quittance.domain.errors import ForbiddenAddress, InvalidDocument
from quittance.domain.event import EVERYTHING, EventKind
from quittance.domain.ids import DeliveryId, EndpointId
from quittance.domain.job import CRASHED, Job, JobEnd, JobState
from quittance.domain.lnpay import shop_notice
from quittance.domain.payment import NoticeFormat, Payment
from quittance.domain.webhook import payload, signature_headers
from quittance.providers.base import Outgoing, OutgoingAnswer, OutgoingFailed
from quittance.resolvers.jobs import JobRun
from quittance.resolvers.notify import caller_of
from quittance.resolvers.payloads import NotConcerned, PayloadUnavailable
from quittance.resolvers.services import Services
from quittance.resolvers.signing import SigningKeys, endpoint_keys, notify_keys
from quittance.store import deliveries, endpoints, events, given_invoices, merchants, options, payments
from quittance.store.transaction import EventDraft, Transaction

SLOW_S = 5.0  # who takes longer has one place like those that do not answer
GIVEN_UP_MAX = 5  # deliveries given up in a row before an endpoint is taken for dead


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recipient:
    """Where a try goes, by which way, whose document shapes what it says, and what signs it.

    ``notice`` is the whole body where there is no other.
    """

    url: str = field(repr=False)
    document: str | None
    keys: SigningKeys
    outgoing: Outgoing
    notice: bytes | None = None


async def deliver(services: Services, job: Job) -> JobRun:
    """Try one delivery once, and say what came of it."""
    begun_at = services.now()
    delivery, recipient = await services.database.read(
        lambda t: _found(t, services, DeliveryId(job.subject), at=begun_at)
    )
    if delivery is None or delivery.state is not DeliveryState.PENDING:
        return JobRun(end=JobEnd(state=JobState.DONE))
    if recipient is None:
        return _canceled(services, delivery, why="ENDPOINT_GONE")
    return await _tried(services, job, delivery, recipient, begun_at=begun_at)


async def _tried(
    services: Services, job: Job, delivery: WebhookDelivery, recipient: _Recipient, *, begun_at: datetime
) -> JobRun:
    try:
        answer = await _post(services, delivery, recipient, at=begun_at)
    except NotConcerned:
        return _canceled(services, delivery, why="NOT_CONCERNED")
    except PayloadUnavailable as error:
        attempt = _attempt(delivery, begun_at, error=error.reason)
        return _failed(services, job, delivery, attempt, was_called=False)
    except InvalidDocument as error:
        return _given_up(services, delivery, _attempt(delivery, begun_at, error=error.code), fails=True)
    except ForbiddenAddress as error:  # no connection was made; names lead astray for a while, and back
        return _failed(services, job, delivery, _attempt(delivery, begun_at, error=error.code))
    except OutgoingFailed as error:
        took_s = (services.now() - begun_at).total_seconds()
        return _failed(services, job, delivery, _attempt(delivery, begun_at, took_s=took_s, error=error.reason))
    return _answered(services, job, delivery, answer, begun_at=begun_at)


def abandon(services: Services, job: Job, transaction: Transaction) -> None:
    """Give up the delivery of a job that crashed too often, so that its merchant sees it, and can redeliver it."""
    delivery = deliveries.deliveries_by_id(transaction, [DeliveryId(job.subject)])[0]
    if delivery is not None and delivery.state is DeliveryState.PENDING:
        attempt = _attempt(delivery, services.now(), error=CRASHED)
        _given_up(services, delivery, attempt, fails=False).also(transaction)


def _found(
    transaction: Transaction, services: Services, delivery_id: DeliveryId, *, at: datetime
) -> tuple[WebhookDelivery | None, _Recipient | None]:
    """Return a delivery, and who takes it: nobody where its endpoint is gone."""
    delivery = deliveries.deliveries_by_id(transaction, [delivery_id])[0]
    if delivery is None:
        return None, None
    if delivery.url is not None:
        return delivery, _payment_s_own(transaction, services, delivery, url=delivery.url, at=at)
    return delivery, _endpoint_s(transaction, services, delivery, at=at)


def _endpoint_s(
    transaction: Transaction, services: Services, delivery: WebhookDelivery, *, at: datetime
) -> _Recipient | None:
    if delivery.endpoint_id is None:
        raise RuntimeError(f"delivery {delivery.id} goes nowhere")
    endpoint = endpoints.endpoints_by_id(transaction, [delivery.endpoint_id])[0]
    if endpoint is None or endpoint.deleted_at is not None or endpoint.status is not EndpointStatus.ENABLED:
        return None
    return _Recipient(
        url=endpoint.url,
        document=endpoint.document,
        keys=endpoint_keys(services, endpoint, at=at),
        outgoing=services.webhooks.outgoing,
    )


def _payment_s_own(
    transaction: Transaction, services: Services, delivery: WebhookDelivery, *, url: str, at: datetime
) -> _Recipient:
    merchant = merchants.merchant_by_id(transaction, delivery.merchant_id)
    if merchant is None:
        raise RuntimeError(f"delivery {delivery.id} of an unknown merchant")
    payment = None if delivery.payment_id is None else payments.payments_by_id(transaction, [delivery.payment_id])[0]
    if payment is None:
        raise RuntimeError(f"delivery {delivery.id} is about no payment")
    return _Recipient(
        url=url,
        document=None,
        keys=notify_keys(services, merchant, at=at),
        outgoing=caller_of(services, payment.notify_format),
        notice=None if payment.notify_format is NoticeFormat.EVENTS else _shop_notice(transaction, payment),
    )


def _shop_notice(transaction: Transaction, payment: Payment) -> bytes:
    """Return the notice with the invoice that the shop was given (S6).

    A process that died before it gave any left one that nobody can pay, unless the merchant hands it out.
    """
    given = given_invoices.given_invoice(transaction, payment.id)
    if given is None:
        every = options.options_of_payments(transaction, [payment.id])[0]
        given = next((option.payment_request for option in every if option.payment_request is not None), None)
    if given is None:
        raise RuntimeError(f"payment {payment.id} was settled without an invoice")
    return shop_notice(given)


async def _post(
    services: Services, delivery: WebhookDelivery, recipient: _Recipient, *, at: datetime
) -> OutgoingAnswer:
    body = recipient.notice or await _body(services, delivery, document=recipient.document)
    keys = recipient.keys
    signed = signature_headers(
        message_id=delivery.event_id, at=at, body=body, secrets=keys.secrets, ed25519=keys.ed25519
    )
    headers = {**signed, "content-type": "application/json", "user-agent": "Quittance-Webhooks"}
    return await recipient.outgoing.post(recipient.url, body=body, headers=headers)


def _answered(
    services: Services, job: Job, delivery: WebhookDelivery, answer: OutgoingAnswer, *, begun_at: datetime
) -> JobRun:
    attempt = _attempt(delivery, begun_at, took_s=answer.took_s, status_code=answer.status_code)
    if is_delivered(answer.status_code):
        return _delivered(services, delivery, attempt, is_quick=answer.took_s < SLOW_S)
    if disables(answer.status_code):
        return _given_up(services, delivery, attempt, fails=True)
    return _failed(services, job, delivery, attempt, answer)


async def _body(services: Services, delivery: WebhookDelivery, *, document: str | None) -> bytes:
    position = delivery.event_position
    if position is None:
        return test_payload(delivery.endpoint_id, at=delivery.created_at)
    found = await services.database.scan(
        lambda t: events.events_after(t, EVERYTHING, after=position - 1, up_to=position, limit=1)
    )
    if not found:
        raise RuntimeError(f"delivery {delivery.id} is about an event that is not in the log")
    data = await services.webhooks.payloads.render(found[0], document=document)
    return payload(type=delivery.event_type, timestamp=found[0].occurred_at, data=data)


def test_payload(endpoint_id: EndpointId | None, *, at: datetime) -> bytes:
    """Return the body of a message that tells of nothing but itself."""
    data = {"endpointId": endpoint_id, "message": "This is a test; nothing happened."}
    return payload(type=TEST_TYPE, timestamp=at, data=data)


def _attempt(
    delivery: WebhookDelivery,
    begun_at: datetime,
    *,
    took_s: float = 0.0,
    status_code: int | None = None,
    error: str | None = None,
) -> WebhookAttempt:
    return WebhookAttempt(
        delivery_id=delivery.id,
        number=delivery.attempts + 1,
        begun_at=begun_at,
        took_us=int(took_s * 1_000_000),
        status_code=status_code,
        error=error,
    )


def _canceled(services: Services, delivery: WebhookDelivery, *, why: str) -> JobRun:
    def also(transaction: Transaction) -> None:
        deliveries.move_delivery(
            transaction, delivery, DeliveryState.CANCELED, attempts=delivery.attempts, ended_at=services.now()
        )

    return JobRun(end=JobEnd(state=JobState.DONE, error=why), also=also)


def _delivered(services: Services, delivery: WebhookDelivery, attempt: WebhookAttempt, *, is_quick: bool) -> JobRun:
    def also(transaction: Transaction) -> None:
        _close(transaction, services, delivery, attempt, DeliveryState.DELIVERED)
        if delivery.endpoint_id is not None:
            _forget_failures(transaction, delivery.endpoint_id)

    return JobRun(end=JobEnd(state=JobState.DONE, lane_answers=is_quick), also=also)


def _failed(
    services: Services,
    job: Job,
    delivery: WebhookDelivery,
    attempt: WebhookAttempt,
    answer: OutgoingAnswer | None = None,
    *,
    was_called: bool = True,
) -> JobRun:
    """Plan the next try, later each time and as late as the receiver asks; or give the delivery up.

    Where nobody ``was_called``, nothing is learnt of whether the receiver answers.
    """
    delay_s = retry_delay_s(job.attempts, jitter=random.random())  # noqa: S311 - jitter
    if delay_s is None:
        return _given_up(services, delivery, attempt, fails=False)
    now = services.now()
    rests_until = None
    if answer is not None and throttles(answer.status_code):
        asked_s = retry_after_s(answer.headers.get("retry-after"), now=now)
        rests_until = None if asked_s is None else now + timedelta(seconds=asked_s)
    again_at = now + timedelta(seconds=delay_s)

    def also(transaction: Transaction) -> None:
        deliveries.add_attempt(transaction, attempt)
        deliveries.move_delivery(transaction, delivery, DeliveryState.PENDING, attempts=attempt.number, ended_at=None)

    end = JobEnd(
        state=JobState.WAITING,
        error=attempt.error or f"HTTP {attempt.status_code}",
        again_at=again_at if rests_until is None else max(again_at, rests_until),
        lane_rests_until=None if delivery.endpoint_id is None else rests_until,  # other servers share such a lane
        lane_answers=(answer is not None and answer.took_s < SLOW_S) if was_called else None,
    )
    return JobRun(end=end, also=also)


def _given_up(services: Services, delivery: WebhookDelivery, attempt: WebhookAttempt, *, fails: bool) -> JobRun:
    """End a delivery that did not arrive; ``fails``, or too many of them in a row, end its endpoint with it."""
    reason = attempt.error or f"HTTP_{attempt.status_code}"

    def also(transaction: Transaction) -> None:
        _close(transaction, services, delivery, attempt, DeliveryState.FAILED)
        endpoint = None if delivery.endpoint_id is None else endpoints.lock_endpoint(transaction, delivery.endpoint_id)
        if endpoint is None or endpoint.status is not EndpointStatus.ENABLED:
            return
        failures = endpoint.failures + 1
        after = replace(endpoint, failures=failures, modified_at=services.now())
        if fails or failures >= GIVEN_UP_MAX:
            after = replace(after, status=EndpointStatus.FAILED, status_reason=reason)
            transaction.emit(_notice(EventKind.WEBHOOK_ENDPOINT_DISABLED, delivery, endpoint.id, after.status.value))
        endpoints.change_endpoint(transaction, after)

    return JobRun(end=JobEnd(state=JobState.DEAD, error=reason), also=also)


def _forget_failures(transaction: Transaction, endpoint_id: EndpointId) -> None:
    endpoint = endpoints.lock_endpoint(transaction, endpoint_id)
    if endpoint is not None and endpoint.failures:
        endpoints.change_endpoint(transaction, replace(endpoint, failures=0))


def _close(
    transaction: Transaction,
    services: Services,
    delivery: WebhookDelivery,
    attempt: WebhookAttempt,
    state: DeliveryState,
) -> None:
    deliveries.add_attempt(transaction, attempt)
    deliveries.move_delivery(transaction, delivery, state, attempts=attempt.number, ended_at=services.now())
    subject_id = delivery.id if delivery.endpoint_id is None else f"{delivery.endpoint_id}/{delivery.id}"
    transaction.emit(_notice(EventKind.WEBHOOK_DELIVERED, delivery, subject_id, state.value))


def _notice(kind: EventKind, delivery: WebhookDelivery, subject_id: str, status: str) -> EventDraft:
    return EventDraft(kind=kind, merchant_id=delivery.merchant_id, subject_id=subject_id, status=status)
