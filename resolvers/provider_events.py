"""What happened at a provider whether or not it could tell us: listed, and taken in as if it had been told."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from quittance.domain.access import Principal
from quittance.domain.audit import AuditAction
from quittance.domain.callback import Callback
from quittance.domain.errors import InvalidInput
from quittance.domain.provider_webhook import CATCH_UP_DAYS, CATCH_UP_DAYS_MAX, EVENTS_MAX
from quittance.providers.callbacks import ProviderCallback
from quittance.providers.subscriptions import ManagesCallbacks, ProviderEvent
from quittance.resolvers import audit
from quittance.resolvers.callbacks import Receipt, take_in
from quittance.resolvers.provider_webhooks import manager_of
from quittance.resolvers.services import Services
from quittance.store import callbacks

BATCH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownEvent:
    """An event of the provider; ``callback`` is what we know of it, None where it never reached us."""

    event: ProviderEvent
    callback: Callback | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaughtUp:
    """How many events there were since ``since``, and how many of them were new to us.

    ``goes_on_at`` is None when all were read; else there are more, and asking again from there reads them.
    """

    since: datetime
    seen: int
    stored: int
    goes_on_at: datetime | None


async def list_events(
    services: Services,
    principal: Principal,
    *,
    provider: str,
    since: datetime | None,
    undelivered_only: bool,
    limit: int,
) -> list[KnownEvent]:
    """Return what happened at the provider since then, the oldest first, each event once.

    Raises:
        PermissionDenied, InvalidInput, CannotManageWebhooks, ProviderUnavailable, ProviderMisconfigured.
    """
    principal.require_operator()
    manager = manager_of(services, provider)
    begin = _since(services, since)
    found: dict[str, ProviderEvent] = {}
    async for event in manager.events(since=begin, undelivered_only=undelivered_only):
        found.setdefault(event.event_id, event)
        if len(found) >= limit:
            break
    known = await services.database.read(
        lambda t: callbacks.callbacks_of_events(t, provider=provider, event_ids=list(found))
    )
    return [KnownEvent(event=event, callback=known.get(event_id)) for event_id, event in found.items()]


async def catch_up(
    services: Services, principal: Principal, *, provider: str, since: datetime | None, events_max: int = EVENTS_MAX
) -> CaughtUp:
    """Take in every event since then that webhooks tell of; those that are known change nothing.

    Delivered ones too: they may have been delivered elsewhere, or answered by a process that then lost its database.
    An event is stored once for its id, whichever way and however often it comes, and asks for one job.

    Raises:
        PermissionDenied, RateLimited, InvalidInput, CannotManageWebhooks: the provider was not asked.
        ProviderUnavailable, ProviderMisconfigured: some events may have been taken in; ask again.
    """
    principal.require_operator()
    await services.admit_mutation(principal)
    manager = manager_of(services, provider)
    begin = _since(services, since)
    seen, stored, goes_on_at = set[str](), 0, None
    async for batch in _batches(manager, since=begin):
        receipts = await take_in(services, provider=provider, told=[_as_told(event) for event in batch])
        stored += receipts.count(Receipt.STORED)
        seen.update(event.event_id for event in batch)
        if len(seen) >= events_max:
            goes_on_at = batch[-1].created_at
            break
    caught = CaughtUp(since=begin, seen=len(seen), stored=stored, goes_on_at=goes_on_at)
    action, detail = AuditAction.PROVIDER_EVENTS_CAUGHT_UP, f"{stored} new of {len(seen)} since {begin.isoformat()}"
    await services.database.write(
        lambda t: audit.record(t, services, principal, action=action, subject_id=provider, detail=detail)
    )
    return caught


async def _batches(manager: ManagesCallbacks, *, since: datetime) -> AsyncIterator[list[ProviderEvent]]:
    """Yield what happened since then of the types that webhooks tell of, in lists that one unit can store."""
    batch: list[ProviderEvent] = []
    async for event in manager.events(since=since, undelivered_only=False):
        if event.kind in manager.kinds:
            batch.append(event)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _as_told(event: ProviderEvent) -> ProviderCallback:
    return ProviderCallback(event_id=event.event_id, kind=event.kind, reference=None, entity=event.entity)


def _since(services: Services, since: datetime | None) -> datetime:
    """Return from when on to look: longer ago than any provider tries to deliver, unless it was said.

    Raises:
        InvalidInput: it lies ahead, or too far back.
    """
    now = services.now()
    if since is None:
        return now - timedelta(days=CATCH_UP_DAYS)
    if since.tzinfo is None or not now - timedelta(days=CATCH_UP_DAYS_MAX) <= since <= now:
        raise InvalidInput("since", f"since lies in the past, at most {CATCH_UP_DAYS_MAX} days ago, with an offset")
    return since
