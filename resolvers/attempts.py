"""One try of one delivery: what is sent, and what follows from the answer."""

import random
from dataclasses import replace
from datetime import datetime, timedelta

from quittance.domain.delivery import disables, is_delivered, retry_after_s, retry_delay_s, throttles
from quittance.domain.endpoint import (
    TEST_TYPE,
    DeliveryState,
    EndpointStatus,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
)
from quittance.domain.errors import ForbiddenAddress, InvalidDocument
from quittance.domain.event import EVERYTHING, EventKind
from quittance.domain.ids import DeliveryId
from quittance.domain.job import CRASHED, Job, JobEnd, JobState
from quittance.domain.webhook import payload, signature_headers
from quittance.providers.base import OutgoingAnswer, OutgoingFailed
from quittance.resolvers.jobs import JobRun
from quittance.resolvers.payloads import NotConcerned
from quittance.resolvers.services import Services
from quittance.store import deliveries, endpoints, events
from quittance.store.transaction import EventDraft, Transaction

GIVEN_UP_MAX = 5  # deliveries given up in a row before an endpoint is taken for dead


async def deliver(services: Services, job: Job) -> JobRun:
    """Try one delivery once, and say what came of it."""
    delivery, endpoint = await services.database.read(lambda t: _found(t, DeliveryId(job.subject)))
    if delivery is None or delivery.state is not DeliveryState.PENDING:
        return JobRun(end=JobEnd(state=JobState.DONE))
    if endpoint is None or endpoint.deleted_at is not None or endpoint.status is not EndpointStatus.ENABLED:
        return _canceled(services, delivery, why="ENDPOINT_GONE")
    begun_at = services.now()
    try:
        answer = await _post(services, delivery, endpoint, at=begun_at)
    except NotConcerned:
        return _canceled(services, delivery, why="NOT_CONCERNED")
    except (InvalidDocument, ForbiddenAddress) as error:
        attempt = _attempt(delivery, begun_at, error=error.code)
        return _given_up(services, delivery, attempt, fails=isinstance(error, InvalidDocument))
    except OutgoingFailed as error:
        took_s = (services.now() - begun_at).total_seconds()
        return _failed(services, job, delivery, _attempt(delivery, begun_at, took_s=took_s, error=error.reason))
    return _answered(services, job, delivery, answer, begun_at=begun_at)


def abandon(services: Services, job: Job, transaction: Transaction) -> None:
    """Give up the delivery of a job that crashed too often, so that its merchant sees it, and can redeliver it."""
    delivery, _ = _found(transaction, DeliveryId(job.subject))
    if delivery is not None and delivery.state is DeliveryState.PENDING:
        attempt = _attempt(delivery, services.now(), error=CRASHED)
        _given_up(services, delivery, attempt, fails=False).also(transaction)


def _found(transaction: Transaction, delivery_id: DeliveryId) -> tuple[WebhookDelivery | None, WebhookEndpoint | None]:
    delivery = deliveries.deliveries_by_id(transaction, [delivery_id])[0]
    if delivery is None:
        return None, None
    return delivery, endpoints.endpoints_by_id(transaction, [delivery.endpoint_id])[0]


async def _post(
    services: Services, delivery: WebhookDelivery, endpoint: WebhookEndpoint, *, at: datetime
) -> OutgoingAnswer:
    body = await _body(services, delivery, endpoint)
    return await services.webhooks.outgoing.post(
        endpoint.url, body=body, headers=_headers(services, delivery, endpoint, body, at=at)
    )


def _answered(
    services: Services, job: Job, delivery: WebhookDelivery, answer: OutgoingAnswer, *, begun_at: datetime
) -> JobRun:
    attempt = _attempt(delivery, begun_at, took_s=answer.took_s, status_code=answer.status_code)
    if is_delivered(answer.status_code):
        return _delivered(services, delivery, attempt)
    if disables(answer.status_code):
        return _given_up(services, delivery, attempt, fails=True)
    return _failed(services, job, delivery, attempt, answer)


async def _body(services: Services, delivery: WebhookDelivery, endpoint: WebhookEndpoint) -> bytes:
    position = delivery.event_position
    if position is None:
        return test_payload(endpoint, at=delivery.created_at)
    found = await services.database.scan(
        lambda t: events.events_after(t, EVERYTHING, after=position - 1, up_to=position, limit=1)
    )
    if not found:
        raise RuntimeError(f"delivery {delivery.id} is about an event that is not in the log")
    data = await services.webhooks.payloads.render(endpoint, found[0])
    return payload(type=delivery.event_type, timestamp=found[0].occurred_at, data=data)


def test_payload(endpoint: WebhookEndpoint, *, at: datetime) -> bytes:
    """Return the body of a message that tells of nothing but itself."""
    data = {"endpointId": endpoint.id, "message": "This is a test; nothing happened."}
    return payload(type=TEST_TYPE, timestamp=at, data=data)


def _headers(
    services: Services, delivery: WebhookDelivery, endpoint: WebhookEndpoint, body: bytes, *, at: datetime
) -> dict[str, str]:
    secrets = [services.derive.webhook_secret(endpoint.id, version) for version in endpoint.secret.signing(at=at)]
    signed = signature_headers(message_id=delivery.event_id, at=at, body=body, secrets=secrets)
    return {**signed, "content-type": "application/json", "user-agent": "Quittance-Webhooks"}


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


def _delivered(services: Services, delivery: WebhookDelivery, attempt: WebhookAttempt) -> JobRun:
    def also(transaction: Transaction) -> None:
        _close(transaction, services, delivery, attempt, DeliveryState.DELIVERED)
        endpoint = endpoints.lock_endpoint(transaction, delivery.endpoint_id)
        if endpoint is not None and endpoint.failures:
            endpoints.change_endpoint(transaction, replace(endpoint, failures=0))

    return JobRun(end=JobEnd(state=JobState.DONE), also=also)


def _failed(
    services: Services,
    job: Job,
    delivery: WebhookDelivery,
    attempt: WebhookAttempt,
    answer: OutgoingAnswer | None = None,
) -> JobRun:
    """Plan the next try, later each time and as late as the receiver asks; or give the delivery up."""
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
        lane_rests_until=rests_until,
    )
    return JobRun(end=end, also=also)


def _given_up(services: Services, delivery: WebhookDelivery, attempt: WebhookAttempt, *, fails: bool) -> JobRun:
    """End a delivery that did not arrive; ``fails``, or too many of them in a row, end its endpoint with it."""
    reason = attempt.error or f"HTTP_{attempt.status_code}"

    def also(transaction: Transaction) -> None:
        _close(transaction, services, delivery, attempt, DeliveryState.FAILED)
        endpoint = endpoints.lock_endpoint(transaction, delivery.endpoint_id)
        if endpoint is None or endpoint.status is not EndpointStatus.ENABLED:
            return
        failures = endpoint.failures + 1
        after = replace(endpoint, failures=failures, modified_at=services.now())
        if fails or failures >= GIVEN_UP_MAX:
            after = replace(after, status=EndpointStatus.FAILED, status_reason=reason)
            transaction.emit(_notice(EventKind.WEBHOOK_ENDPOINT_DISABLED, delivery, endpoint.id, after.status.value))
        endpoints.change_endpoint(transaction, after)

    return JobRun(end=JobEnd(state=JobState.DEAD, error=reason), also=also)


def _close(
    transaction: Transaction,
    services: Services,
    delivery: WebhookDelivery,
    attempt: WebhookAttempt,
    state: DeliveryState,
) -> None:
    deliveries.add_attempt(transaction, attempt)
    deliveries.move_delivery(transaction, delivery, state, attempts=attempt.number, ended_at=services.now())
    transaction.emit(
        _notice(EventKind.WEBHOOK_DELIVERED, delivery, f"{delivery.endpoint_id}/{delivery.id}", state.value)
    )


def _notice(kind: EventKind, delivery: WebhookDelivery, subject_id: str, status: str) -> EventDraft:
    return EventDraft(kind=kind, merchant_id=delivery.merchant_id, subject_id=subject_id, status=status)
