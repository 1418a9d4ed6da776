"""Webhook endpoints: made, changed, taken away; their secrets are derived, shown once, and rotated with an overlap."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from quittance.domain.access import Principal, Scope
from quittance.domain.audit import AuditAction
from quittance.domain.endpoint import TOLD, EndpointStatus, WebhookEndpoint
from quittance.domain.errors import EndpointNotFound, InvalidDocument, InvalidInput
from quittance.domain.event import EventKind
from quittance.domain.ids import ENDPOINT, EndpointId, MerchantId
from quittance.domain.rotation import SHOWN_ONCE
from quittance.domain.secrets import check_overlap
from quittance.domain.text import is_storable
from quittance.domain.webhook import shown_secret
from quittance.resolvers import audit
from quittance.resolvers.jobs import wake_lane
from quittance.resolvers.services import Services
from quittance.store import endpoints, lanes
from quittance.store.transaction import Transaction

DESCRIPTION_MAX = 255
ENDPOINTS_MAX = 1_000
MESSAGES_PER_SECOND_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointDraft:
    """What a merchant asks for. Without types it is told of all that its ``document``, if any, can tell of."""

    url: str
    event_types: Sequence[EventKind] | None = None
    document: str | None = None
    description: str | None = None
    ed25519: bool = False
    messages_per_second: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointChange:
    """What to change; None leaves a field as it is. ``clear_…`` takes a text away."""

    url: str | None = None
    event_types: Sequence[EventKind] | None = None
    document: str | None = None
    clear_document: bool = False
    description: str | None = None
    clear_description: bool = False
    enabled: bool | None = None
    ed25519: bool | None = None
    messages_per_second: int | None = None
    clear_messages_per_second: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointWithSecret:
    """``secret`` in its ``whsec_`` form, shown this once."""

    endpoint: WebhookEndpoint
    secret: str = field(repr=False)


async def create_endpoint(services: Services, principal: Principal, draft: EndpointDraft) -> EndpointWithSecret:
    """Add an endpoint; it is told of what happens from now on.

    Raises:
        PermissionDenied, InvalidInput, InvalidDocument, ForbiddenAddress, RateLimited: nothing was made.
    """
    merchant_id = principal.require(Scope.ADMIN)
    await services.admit_mutation(principal)
    _check_rate(draft.messages_per_second)
    await _check(services, merchant_id, url=draft.url, description=draft.description, document=draft.document)
    told = _told(services, draft.event_types, document=draft.document)
    now = services.now()
    endpoint = WebhookEndpoint(
        id=EndpointId(services.new_id(ENDPOINT)),
        merchant_id=merchant_id,
        url=draft.url,
        description=draft.description,
        event_types=told,
        document=draft.document,
        status=EndpointStatus.ENABLED,
        status_reason=None,
        secret=SHOWN_ONCE,
        failures=0,
        created_at=now,
        modified_at=now,
        deleted_at=None,
        ed25519=draft.ed25519,
    )

    def unit(transaction: Transaction) -> None:
        if endpoints.count_endpoints(transaction, merchant_id=merchant_id) >= ENDPOINTS_MAX:
            raise InvalidInput("url", f"a merchant has at most {ENDPOINTS_MAX} endpoints; delete one first")
        endpoints.insert_endpoint(transaction, endpoint)
        if draft.messages_per_second is not None:
            lanes.limit_lane(transaction, endpoint.target.lane, per_second=draft.messages_per_second)
        _note(transaction, services, principal, AuditAction.WEBHOOK_ENDPOINT_CREATED, endpoint)

    await services.database.write(unit)
    return EndpointWithSecret(endpoint=endpoint, secret=_secret(services, endpoint))


async def update_endpoint(
    services: Services, principal: Principal, endpoint_id: EndpointId, change: EndpointChange
) -> WebhookEndpoint:
    """Change an endpoint; enabling one, or moving it, ends its rest, and enabling forgets its failures.

    Raises:
        PermissionDenied, EndpointNotFound, InvalidInput, InvalidDocument, ForbiddenAddress, RateLimited: no change.
    """
    merchant_id = principal.require(Scope.ADMIN)
    await services.admit_mutation(principal)
    _check_rate(change.messages_per_second)
    await _check(services, merchant_id, url=change.url, description=change.description, document=change.document)

    def unit(transaction: Transaction) -> WebhookEndpoint:
        before = locked_endpoint(transaction, merchant_id, endpoint_id)
        document = None if change.clear_document else _either(change.document, before.document)
        kinds = before.event_types if change.event_types is None else frozenset(change.event_types)
        if (kinds, document) != (before.event_types, before.document) or change.enabled:
            kinds = _told(services, kinds, document=document)
        after = replace(
            before,
            url=before.url if change.url is None else change.url,
            event_types=kinds,
            document=document,
            description=None if change.clear_description else _either(change.description, before.description),
            modified_at=services.now(),
            ed25519=before.ed25519 if change.ed25519 is None else change.ed25519,
        )
        if change.enabled is not None:
            status = EndpointStatus.ENABLED if change.enabled else EndpointStatus.DISABLED
            after = replace(after, status=status, status_reason=None, failures=0 if change.enabled else after.failures)
        endpoints.change_endpoint(transaction, after)
        if change.messages_per_second is not None or change.clear_messages_per_second:
            lanes.limit_lane(transaction, after.target.lane, per_second=change.messages_per_second)
        _note(transaction, services, principal, AuditAction.WEBHOOK_ENDPOINT_UPDATED, after)
        return after

    changed = await services.database.write(unit)
    if change.enabled or change.url is not None:
        await wake_lane(services, changed.target.lane)  # what kept them waiting may be mended
    services.wake_jobs()
    return changed


async def delete_endpoint(services: Services, principal: Principal, endpoint_id: EndpointId) -> WebhookEndpoint:
    """Take an endpoint away; what was on its way to it is canceled, and its history stays.

    Raises:
        PermissionDenied, EndpointNotFound, RateLimited: nothing changed.
    """
    merchant_id = principal.require(Scope.ADMIN)
    await services.admit_mutation(principal)

    def unit(transaction: Transaction) -> WebhookEndpoint:
        now = services.now()
        before = locked_endpoint(transaction, merchant_id, endpoint_id)
        after = replace(before, status=EndpointStatus.DISABLED, deleted_at=now, modified_at=now)
        endpoints.change_endpoint(transaction, after)
        _note(transaction, services, principal, AuditAction.WEBHOOK_ENDPOINT_DELETED, after)
        return after

    gone = await services.database.write(unit)
    await wake_lane(services, gone.target.lane)  # each finds its endpoint gone, and ends
    return gone


async def rotate_secret(
    services: Services, principal: Principal, endpoint_id: EndpointId, *, overlap_s: int
) -> EndpointWithSecret:
    """Give an endpoint a new secret; for ``overlap_s`` seconds deliveries are signed with the old one too.

    Without an overlap every older secret ends at once, which is what a leaked one needs.

    Raises:
        PermissionDenied, EndpointNotFound, InvalidInput, RateLimited: nothing changed.
    """
    merchant_id = principal.require(Scope.ADMIN)
    await services.admit_mutation(principal)
    check_overlap(overlap_s)

    def unit(transaction: Transaction) -> WebhookEndpoint:
        now = services.now()
        before = locked_endpoint(transaction, merchant_id, endpoint_id)
        after = replace(before, secret=before.secret.rotated(overlap_s=overlap_s, at=now), modified_at=now)
        endpoints.change_endpoint(transaction, after)
        _note(transaction, services, principal, AuditAction.WEBHOOK_SECRET_ROTATED, after)
        return after

    changed = await services.database.write(unit)
    return EndpointWithSecret(endpoint=changed, secret=_secret(services, changed))


async def list_endpoints(
    services: Services, principal: Principal, *, after_id: str | None, limit: int
) -> list[WebhookEndpoint]:
    """Return the caller's endpoints, the newest first; nothing without an admin key."""
    merchant_id = principal.merchant_with(Scope.ADMIN)
    if merchant_id is None:
        return []
    return await services.database.read(
        lambda t: endpoints.list_endpoints(t, merchant_id=merchant_id, after_id=after_id, limit=limit)
    )


async def count_endpoints(services: Services, principal: Principal) -> int:
    merchant_id = principal.merchant_with(Scope.ADMIN)
    if merchant_id is None:
        return 0
    return await services.database.read(lambda t: endpoints.count_endpoints(t, merchant_id=merchant_id))


def _note(
    transaction: Transaction, services: Services, principal: Principal, action: AuditAction, endpoint: WebhookEndpoint
) -> None:
    host = urlsplit(endpoint.url).netloc  # a path may be a secret between both sides
    audit.record(transaction, services, principal, action=action, subject_id=endpoint.id, detail=host)


def _either(wanted: str | None, before: str | None) -> str | None:
    return before if wanted is None else wanted


def own_endpoint(transaction: Transaction, merchant_id: MerchantId, endpoint_id: EndpointId) -> WebhookEndpoint:
    """Return an endpoint of this merchant.

    Raises:
        EndpointNotFound: there is none, or it was deleted.
    """
    return _checked(endpoints.endpoints_by_id(transaction, [endpoint_id])[0], merchant_id, endpoint_id)


def locked_endpoint(transaction: Transaction, merchant_id: MerchantId, endpoint_id: EndpointId) -> WebhookEndpoint:
    """Return it as :func:`own_endpoint`, locked against other units until this one commits."""
    return _checked(endpoints.lock_endpoint(transaction, endpoint_id), merchant_id, endpoint_id)


def check_enabled(endpoint: WebhookEndpoint) -> None:
    """Refuse to send to an endpoint that is not told of anything.

    Raises:
        InvalidInput: it is disabled.
    """
    if endpoint.status is not EndpointStatus.ENABLED:
        raise InvalidInput("endpointId", "the endpoint is disabled; enable it first")


def _checked(found: WebhookEndpoint | None, merchant_id: MerchantId, endpoint_id: EndpointId) -> WebhookEndpoint:
    if found is None or found.merchant_id != merchant_id or found.deleted_at is not None:
        raise EndpointNotFound(endpoint_id)
    return found


def _told(services: Services, kinds: Iterable[EventKind] | None, *, document: str | None) -> frozenset[EventKind]:
    """Return the events to tell of: those named, or all that the document can tell of."""
    possible = TOLD if document is None else services.webhooks.payloads.kinds_of(document)
    wanted = possible if kinds is None else frozenset(kinds)
    if not wanted or not wanted <= possible:
        named = ", ".join(sorted(kind.name for kind in possible))
        raise InvalidInput("eventTypes", f"name at least one of the types that can be told here: {named}")
    return wanted


async def _check(
    services: Services, merchant_id: MerchantId, *, url: str | None, description: str | None, document: str | None
) -> None:
    if description is not None and not (is_storable(description) and len(description) <= DESCRIPTION_MAX):
        raise InvalidInput("description", f"a description has at most {DESCRIPTION_MAX} characters")
    if document is not None and not is_storable(document):
        raise InvalidDocument("it holds a NUL character or half of a character")
    if url is not None:
        services.webhooks.outgoing.check(url)
    if document is not None:
        await services.webhooks.payloads.check(document, merchant_id)


def _check_rate(messages_per_second: int | None) -> None:
    if messages_per_second is not None and not 1 <= messages_per_second <= MESSAGES_PER_SECOND_MAX:
        raise InvalidInput("messagesPerSecond", f"messagesPerSecond lies between 1 and {MESSAGES_PER_SECOND_MAX}")


def _secret(services: Services, endpoint: WebhookEndpoint) -> str:
    return shown_secret(services.derive.webhook_secret(endpoint.id, endpoint.secret.newest))
