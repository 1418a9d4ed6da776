"""Deliveries: every event goes out to who asked for it, at least once, in order for each payment."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from quittance.domain.access import Principal, Scope
from quittance.domain.audit import AuditAction
from quittance.domain.cursor import encode_position
from quittance.domain.endpoint import (
    DELIVERY_NEXT,
    TEST_TYPE,
    TOLD,
    DeliveryCause,
    DeliveryFilter,
    DeliveryState,
    EndpointStatus,
    Target,
    WebhookDelivery,
    WebhookEndpoint,
    notify_target,
)
from quittance.domain.errors import DeliveryNotFound, InvalidInput
from quittance.domain.event import EVERYTHING, Event, EventKind, EventSelector
from quittance.domain.ids import DELIVERY, EVENT, DeliveryId, EndpointId, EventId, MerchantId, PaymentId
from quittance.domain.job import Job, JobKind
from quittance.domain.payment import NoticeFormat
from quittance.domain.webhook import payload
from quittance.resolvers import audit
from quittance.resolvers.attempts import test_payload
from quittance.resolvers.endpoints import check_enabled, locked_endpoint, own_endpoint
from quittance.resolvers.jobs import new_job
from quittance.resolvers.payloads import NotConcerned
from quittance.resolvers.services import Services
from quittance.store import deliveries, endpoints, events, jobs, notify, settlements
from quittance.store.notify import OwnAddress
from quittance.store.transaction import Transaction

FEED = "webhooks"
UNIT_DELIVERIES = 200  # the loop runs a unit in one go on SQLite
REPLAY_EVENTS_MAX = 10_000
DRY_RUN_EVENTS = 1_000
DRY_RUN_RENDERED = 20

_ON_ITS_WAY = "its event is on its way already; wait for what comes of it"

_Told = tuple[Event, Target]
_Interests = Mapping[tuple[MerchantId, EventKind], Sequence[WebhookEndpoint]]


async def fan_out(services: Services, *, after: int) -> int:
    """Make a delivery for each event behind ``after`` and each target that wants it; return the position reached.

    Targets are the endpoints, and the address that the event's payment brought along. Deliveries, their jobs and the
    position are one unit: after a crash it is made whole, once. A unit ends where it would grow too large. Where nobody
    is to be told the log is passed over: an endpoint that is made later is told of later events. Where nothing is told
    nothing is written: :func:`keep_position` now and then is enough.
    """
    ahead = await services.database.read(lambda t: notify.look_ahead(t, after=after, events_max=events.SCAN_ROWS_MAX))
    if ahead.up_to == after:
        return after
    listening = await services.database.read(endpoints.is_anybody_listening)
    if not listening and not ahead.notifies:
        return ahead.up_to
    page = await services.database.scan(
        lambda t: events.events_after(t, EVERYTHING, after=after, up_to=ahead.up_to, limit=events.SCAN_ROWS_MAX)
    )
    told_of = [event for event in page if event.kind in TOLD]
    if not told_of:
        return ahead.up_to
    interests = await _interests(services, told_of) if listening else {}
    addresses = await _addresses(services, told_of) if ahead.notifies else {}
    reached, told = _one_unit([(event, _targets(event, interests, addresses)) for event in told_of], end=ahead.up_to)
    if not told:
        return reached
    moved = await services.database.write(
        lambda transaction: _send_all(transaction, services, told, after=after, reached=reached)
    )
    services.wake_jobs()
    return reached if moved else await position_told(services)


async def _interests(services: Services, page: Sequence[Event]) -> _Interests:
    """Return who wants to be told of what, of the merchants whom these events concern."""
    concerned = sorted({event.merchant_id for event in page})
    interests: dict[tuple[MerchantId, EventKind], list[WebhookEndpoint]] = defaultdict(list)
    for endpoint in await services.database.scan(lambda t: endpoints.listening_endpoints(t, concerned)):
        for kind in endpoint.event_types:
            interests[endpoint.merchant_id, kind].append(endpoint)
    return interests


async def _addresses(services: Services, page: Sequence[Event]) -> Mapping[PaymentId, OwnAddress]:
    payment_ids = {event.payment_id for event in page if event.payment_id is not None}
    return await services.database.scan(lambda t: notify.own_addresses(t, sorted(payment_ids)))


def _targets(event: Event, interests: _Interests, addresses: Mapping[PaymentId, OwnAddress]) -> Sequence[Target]:
    """Return who is told of an event; an endpoint is not of what was before it."""
    wanting = interests.get((event.merchant_id, event.kind), ())
    targets = [endpoint.target for endpoint in wanting if event.occurred_at >= endpoint.created_at]
    address = None if event.payment_id is None else addresses.get(event.payment_id)
    if address is not None and (address.written_as is NoticeFormat.EVENTS or event.kind is EventKind.PAYMENT_SETTLED):
        targets.append(notify_target(event.merchant_id, address.url))
    return targets


def _one_unit(page: Sequence[tuple[Event, Sequence[Target]]], *, end: int) -> tuple[int, list[_Told]]:
    """Return up to which event the first unit goes, and what it tells to whom: whole events, and at least one."""
    told: list[_Told] = []
    reached = 0
    for event, targets in page:
        if told and len(told) + len(targets) > UNIT_DELIVERIES:
            return reached, told
        told += [(event, target) for target in targets]
        reached = event.position
    return end, told


def _send_all(transaction: Transaction, services: Services, told: Sequence[_Told], *, after: int, reached: int) -> bool:
    """Store the position and what was told up to it; False, and nothing else, where another process was further."""
    moved = settlements.move_feed(transaction, provider=FEED, after=after, index=reached, at=services.now())
    if moved:
        for event, target in told:
            _send(transaction, services, target, event, cause=DeliveryCause.EVENT)
    return moved


async def keep_position(services: Services, position: int) -> None:
    """Store how far the log was followed, so that the next who follows it need not look at what nobody wanted."""
    await services.database.write(
        lambda t: settlements.move_feed(t, provider=FEED, after=position, index=position, at=services.now())
    )


async def position_told(services: Services) -> int:
    """Return up to which event deliveries were made, as far as it is stored."""
    found = await services.database.read(lambda t: settlements.feed_position(t, FEED))
    return 0 if found is None else found[1]


async def send_test(services: Services, principal: Principal, endpoint_id: EndpointId) -> WebhookDelivery:
    """Send an endpoint a payload of the type ``webhook.test``, now.

    Raises:
        PermissionDenied, EndpointNotFound, RateLimited: nothing is sent.
        InvalidInput: the endpoint is disabled.
    """
    merchant_id = principal.require(Scope.ADMIN)
    await services.admit_mutation(principal)

    def unit(transaction: Transaction) -> WebhookDelivery:
        endpoint = locked_endpoint(transaction, merchant_id, endpoint_id)
        check_enabled(endpoint)
        test = _send(transaction, services, endpoint.target, None, cause=DeliveryCause.TEST)
        assert test is not None, "a test is no event, so none can be on its way"
        audit.record(
            transaction,
            services,
            principal,
            action=AuditAction.WEBHOOK_TEST_SENT,
            subject_id=endpoint.id,
            detail=test.id,
        )
        return test

    sent = await services.database.write(unit)
    services.wake_jobs()
    return sent


async def redeliver(services: Services, principal: Principal, delivery_id: DeliveryId) -> WebhookDelivery:
    """Let a delivery that failed or was canceled go out again, with the same id and all its tries.

    Raises:
        PermissionDenied, DeliveryNotFound, RateLimited: nothing changed.
        InvalidInput: it arrived, or is on its way, or its endpoint is disabled or was deleted.
    """
    merchant_id = principal.require(Scope.ADMIN)
    await services.admit_mutation(principal)

    def unit(transaction: Transaction) -> WebhookDelivery:
        found = deliveries.deliveries_by_id(transaction, [delivery_id])[0]
        if found is None or found.merchant_id != merchant_id:
            raise DeliveryNotFound(delivery_id)
        if found.state is DeliveryState.PENDING:
            raise InvalidInput("deliveryId", _ON_ITS_WAY)
        if DeliveryState.PENDING not in DELIVERY_NEXT[found.state]:
            raise InvalidInput("deliveryId", f"the delivery is {found.state}; use replayWebhooks to send events again")
        _check_endpoint(transaction, found)
        if not deliveries.move_delivery(
            transaction, found, DeliveryState.PENDING, attempts=found.attempts, ended_at=None
        ):
            raise InvalidInput("deliveryId", _ON_ITS_WAY)  # another redelivery was faster
        audit.record(
            transaction,
            services,
            principal,
            action=AuditAction.WEBHOOK_REDELIVERED,
            subject_id=found.id,
            detail=found.event_type,
        )
        jobs.plan_job(transaction, _job(services, found))
        return replace(found, state=DeliveryState.PENDING, ended_at=None)

    again = await services.database.write(unit)
    services.wake_jobs()
    return again


def _check_endpoint(transaction: Transaction, delivery: WebhookDelivery) -> None:
    """Refuse what would not be sent, or beside another delivery of the same event; nobody begins one meanwhile."""
    if delivery.endpoint_id is None:
        return
    endpoint = endpoints.lock_endpoint(transaction, delivery.endpoint_id)
    if endpoint is None or endpoint.deleted_at is not None:
        raise InvalidInput("deliveryId", "its endpoint was deleted; use replayWebhooks to tell another of its event")
    if endpoint.status is not EndpointStatus.ENABLED:
        raise InvalidInput("deliveryId", "its endpoint is disabled; enable it first")
    position = delivery.event_position
    if position is not None and deliveries.is_pending(transaction, delivery.endpoint_id, position):
        raise InvalidInput("deliveryId", _ON_ITS_WAY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """How many events are sent again, and how many were on their way already, which nothing is sent beside."""

    sent: int
    already_pending: int


async def replay(services: Services, principal: Principal, endpoint_id: EndpointId, *, after: int) -> Replay:
    """Send an endpoint every event behind ``after`` once more, with the same event ids.

    An event that is on its way to the endpoint, as it happened or by another replay, is not sent beside: asking again
    while a replay lasts, or after an answer was lost, changes nothing.

    Raises:
        PermissionDenied, EndpointNotFound, RateLimited: nothing is sent.
        InvalidInput: the endpoint is disabled, or more than the limit would go out.
    """
    merchant_id = principal.require(Scope.ADMIN)
    await services.admit_mutation(principal)
    endpoint = await services.database.read(lambda t: own_endpoint(t, merchant_id, endpoint_id))
    check_enabled(endpoint)
    selector = EventSelector(kinds=endpoint.event_types, merchant_id=merchant_id)
    newest = await services.database.read(events.newest_position)
    found = await services.database.scan(
        lambda t: events.events_after(t, selector, after=after, up_to=newest, limit=REPLAY_EVENTS_MAX + 1)
    )
    if len(found) > REPLAY_EVENTS_MAX:
        raise InvalidInput("after", f"more than {REPLAY_EVENTS_MAX} events follow; start from a later cursor")

    sent = 0
    for begin in range(0, len(found), UNIT_DELIVERIES):
        page = found[begin : begin + UNIT_DELIVERIES]
        asked = None if begin else f"{len(found)} behind {encode_position(after)}"
        sent += await services.database.write(partial(_send_again, services, principal, endpoint, page, asked))
    services.wake_jobs()
    return Replay(sent=sent, already_pending=len(found) - sent)


def _send_again(
    services: Services,
    principal: Principal,
    endpoint: WebhookEndpoint,
    page: Sequence[Event],
    asked: str | None,
    transaction: Transaction,
) -> int:
    """Send one unit of a replay; the first says in the log what was ``asked``."""
    endpoints.lock_endpoint(transaction, endpoint.id)
    if asked is not None:
        audit.record(
            transaction,
            services,
            principal,
            action=AuditAction.WEBHOOKS_REPLAYED,
            subject_id=endpoint.id,
            detail=asked,
        )
    sent = [_send(transaction, services, endpoint.target, event, cause=DeliveryCause.REPLAY) for event in page]
    return sum(delivery is not None for delivery in sent)


def _send(
    transaction: Transaction,
    services: Services,
    target: Target,
    event: Event | None,
    *,
    cause: DeliveryCause,
) -> WebhookDelivery | None:
    """Remember a delivery, and the job that sends it.

    None, and nothing is made, where the event is on its way to the target already.
    """
    now = services.now()
    delivery = WebhookDelivery(
        id=DeliveryId(services.new_id(DELIVERY)),
        endpoint_id=target.endpoint_id,
        url=target.url,
        merchant_id=target.merchant_id,
        event_position=None if event is None else event.position,
        event_id=EventId(services.new_id(EVENT)) if event is None else event.id,
        event_type=TEST_TYPE if event is None else event.kind.value,
        payment_id=None if event is None else event.payment_id,
        cause=cause,
        state=DeliveryState.PENDING,
        attempts=0,
        created_at=now,
        ended_at=None,
    )
    if not deliveries.insert_delivery(transaction, delivery):
        return None
    jobs.add_job(transaction, _job(services, delivery))
    return delivery


def _job(services: Services, delivery: WebhookDelivery) -> Job:
    """Return the job that sends a delivery now, behind others of the same payment to the same target."""
    order = None
    if delivery.event_position is not None and delivery.payment_id is not None:
        order = delivery.target.order_key(delivery.payment_id), delivery.event_position
    return new_job(
        services,
        JobKind.WEBHOOK_DELIVERY,
        subject=delivery.id,
        lane=delivery.target.lane,
        order=order,
        due_at=services.now(),
    )


async def dry_run(services: Services, principal: Principal, endpoint_id: EndpointId) -> bytes:
    """Return the body that the newest event this endpoint wants would be sent with; nothing is sent.

    Where its document passes over the newest of them, it is the body of a test.

    Raises:
        PermissionDenied, EndpointNotFound, RateLimited: nothing to show.
        InvalidDocument: the endpoint's document does not fit the schema any more.
    """
    merchant_id = principal.require(Scope.ADMIN)
    await services.admit_mutation(principal)
    endpoint = await services.database.read(lambda t: own_endpoint(t, merchant_id, endpoint_id))
    selector = EventSelector(kinds=endpoint.event_types, merchant_id=merchant_id)
    newest = await services.database.read(events.newest_position)
    found = await services.database.scan(
        lambda t: events.events_after(
            t, selector, after=max(0, newest - DRY_RUN_EVENTS), up_to=newest, limit=DRY_RUN_EVENTS
        )
    )
    for event in reversed(found[-DRY_RUN_RENDERED:]):
        with suppress(NotConcerned):
            data = await services.webhooks.payloads.render(event, document=endpoint.document)
            return payload(type=event.kind.value, timestamp=event.occurred_at, data=data)
    return test_payload(endpoint.id, at=services.now())


async def list_deliveries(
    services: Services, principal: Principal, narrowed: DeliveryFilter, *, after_id: str | None, limit: int
) -> list[WebhookDelivery]:
    """Return the caller's deliveries, the newest first; nothing without an admin key."""
    merchant_id = principal.merchant_with(Scope.ADMIN)
    if merchant_id is None:
        return []
    return await services.database.scan(
        lambda t: deliveries.list_deliveries(
            t, merchant_id=merchant_id, narrowed=narrowed, after_id=after_id, limit=limit
        )
    )


async def count_deliveries(services: Services, principal: Principal, narrowed: DeliveryFilter) -> int:
    merchant_id = principal.merchant_with(Scope.ADMIN)
    if merchant_id is None:
        return 0
    return await services.database.scan(
        lambda t: deliveries.count_deliveries(t, merchant_id=merchant_id, narrowed=narrowed)
    )
