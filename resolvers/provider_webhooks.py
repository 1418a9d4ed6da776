"""The webhooks that providers call us by: subscribed once, changed, taken away; their secrets derived and rotated."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from quittance.domain.access import Principal
from quittance.domain.audit import AuditAction
from quittance.domain.errors import InvalidInput
from quittance.domain.ids import PROVIDER_WEBHOOK, ProviderWebhookId
from quittance.domain.provider_webhook import (
    WEBHOOKS_MAX,
    CannotManageWebhooks,
    ProviderWebhook,
    ProviderWebhookNotFound,
    ProviderWebhookRejected,
    check_kinds,
    check_url,
)
from quittance.domain.secrets import check_overlap
from quittance.providers.subscriptions import (
    CallbackSubscription,
    ManagesCallbacks,
    SubscriptionChange,
    SubscriptionMissing,
    SubscriptionRejected,
)
from quittance.resolvers import audit
from quittance.resolvers.services import Services
from quittance.store import provider_webhooks
from quittance.store.transaction import Transaction

OVERLAP_S_DEFAULT = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedWebhook:
    """A webhook at the provider; ``own`` is what we know of its secrets, None where somebody else set it up."""

    subscription: CallbackSubscription
    own: ProviderWebhook | None


def can_manage(services: Services, provider: str) -> bool:
    """Tell whether the webhooks of this provider can be managed."""
    return provider in services.callback_tools


def manager_of(services: Services, provider: str) -> ManagesCallbacks:
    """Return what manages the webhooks of a provider.

    Raises:
        CannotManageWebhooks: nothing does.
    """
    try:
        return services.callback_tools[provider].manager
    except KeyError:
        raise CannotManageWebhooks(provider) from None


async def list_webhooks(services: Services, principal: Principal, *, provider: str) -> list[ManagedWebhook]:
    """Return every webhook of the provider's account, ours or not, the oldest first.

    Raises:
        PermissionDenied, CannotManageWebhooks, ProviderUnavailable, ProviderMisconfigured: nothing is known.
    """
    principal.require_operator()
    found = _oldest_first(await manager_of(services, provider).subscriptions())
    own = {one.subscription_id: one for one in await _own(services, provider)}
    return [ManagedWebhook(subscription=one, own=own.get(one.id)) for one in found]


async def subscribe(
    services: Services,
    principal: Principal,
    *,
    provider: str,
    url: str | None = None,
    kinds: Sequence[str] | None = None,
) -> ManagedWebhook:
    """Have the provider tell an address, our own door unless another is given, and return that webhook.

    One webhook stands for one address: where there is one already it is brought to what is asked, its secret too, and
    what an earlier call with a lost answer left beside it is taken away. So asking again is safe, also together.

    Raises:
        PermissionDenied, RateLimited, InvalidInput, CannotManageWebhooks: the provider was not asked.
        ProviderWebhookRejected: the provider refused, and nothing changed.
        ProviderUnavailable, ProviderMisconfigured, ProviderWebhookNotFound: not done, or not known to be; ask again.
    """
    principal.require_operator()
    await services.admit_mutation(principal)
    manager = manager_of(services, provider)
    asked = url or services.callback_url(provider)
    wanted = manager.kinds if kinds is None else tuple(dict.fromkeys(kinds))
    check_url(asked)
    check_kinds(wanted)
    own = await services.database.write(lambda t: _accept(t, services, provider, asked))  # before it is signed with
    secret = services.derive.provider_webhook_secret(own.id, own.generation)
    try:
        with _answers(provider, asked):
            made = await _put(manager, url=asked, secret=secret, kinds=wanted)
    except ProviderWebhookRejected:
        await services.database.write(lambda t: provider_webhooks.delete_untold(t, own.id))
        raise

    def unit(transaction: Transaction) -> ProviderWebhook:
        after, _ = _told(transaction, services, own, made, overlap_s=OVERLAP_S_DEFAULT)
        _note(transaction, services, principal, AuditAction.PROVIDER_WEBHOOK_SUBSCRIBED, provider, made)
        return after

    return ManagedWebhook(subscription=made, own=await services.database.write(unit))


async def update(
    services: Services, principal: Principal, *, provider: str, webhook_id: str, change: SubscriptionChange
) -> ManagedWebhook:
    """Change where a webhook goes, of what it tells, or whether it is enabled; its secret stays as it is.

    Raises:
        PermissionDenied, RateLimited, InvalidInput, CannotManageWebhooks: the provider was not asked.
        ProviderWebhookNotFound, ProviderWebhookRejected: nothing changed.
        ProviderUnavailable, ProviderMisconfigured: not done, or not known to be; ask again.
    """
    principal.require_operator()
    await services.admit_mutation(principal)
    manager = manager_of(services, provider)
    if change.url is not None:
        check_url(change.url)
        if any(one.url == change.url and one.subscription_id != webhook_id for one in await _own(services, provider)):
            raise InvalidInput("url", "another webhook goes there; unsubscribe one of them first")
    if change.kinds is not None:
        check_kinds(change.kinds)
    with _answers(provider, webhook_id):
        changed = await manager.change(webhook_id, replace(change, secret=None))

    def unit(transaction: Transaction) -> ProviderWebhook | None:
        own = _owned(transaction, provider, changed.id)
        if own is not None and not _is_taken(transaction, own, url=changed.url):
            own = replace(own, url=changed.url)
            provider_webhooks.change_webhook(transaction, own)
        _note(transaction, services, principal, AuditAction.PROVIDER_WEBHOOK_UPDATED, provider, changed)
        return own

    return ManagedWebhook(subscription=changed, own=await services.database.write(unit))


async def unsubscribe(services: Services, principal: Principal, *, provider: str, webhook_id: str) -> None:
    """Take a webhook away at the provider, whoever set it up; its secrets prove nothing from then on.

    Raises:
        PermissionDenied, RateLimited, CannotManageWebhooks: the provider was not asked.
        ProviderWebhookNotFound: neither the provider nor we know it.
        ProviderUnavailable, ProviderMisconfigured: not done, or not known to be; ask again.
    """
    principal.require_operator()
    await services.admit_mutation(principal)
    with _answers(provider, webhook_id):
        was_there = await manager_of(services, provider).unsubscribe(webhook_id)

    def unit(transaction: Transaction) -> None:
        was_ours = provider_webhooks.delete_webhook(transaction, provider=provider, subscription_id=webhook_id)
        if not (was_there or was_ours):
            raise ProviderWebhookNotFound(webhook_id)
        action = AuditAction.PROVIDER_WEBHOOK_UNSUBSCRIBED
        audit.record(transaction, services, principal, action=action, subject_id=webhook_id, detail=provider)

    await services.database.write(unit)


async def rotate_secret(
    services: Services, principal: Principal, *, provider: str, webhook_id: str, overlap_s: int
) -> ManagedWebhook:
    """Give one of our webhooks a new secret: accepted first, then told to the provider, then alone after the overlap.

    Until the provider has answered, both are accepted: after a lost answer nothing is refused, and asking again goes on
    with the same secret.

    Raises:
        PermissionDenied, RateLimited, InvalidInput, CannotManageWebhooks: nothing changed.
        ProviderWebhookNotFound: it is none of ours, or the provider has lost it; subscribe its address.
        ProviderUnavailable, ProviderMisconfigured, ProviderWebhookRejected: both are accepted until it succeeds.
    """
    principal.require_operator()
    await services.admit_mutation(principal)
    check_overlap(overlap_s)
    manager = manager_of(services, provider)

    def begin(transaction: Transaction) -> ProviderWebhook:
        before = _owned(transaction, provider, webhook_id)
        if before is None:
            raise ProviderWebhookNotFound(webhook_id)
        after = before.begin_rotation(overlap_s=overlap_s, at=services.now())
        provider_webhooks.change_webhook(transaction, after)
        return after

    begun = await services.database.write(begin)
    secret = services.derive.provider_webhook_secret(begun.id, begun.generation)
    with _answers(provider, webhook_id):
        changed = await manager.change(webhook_id, SubscriptionChange(secret=secret))

    def end(transaction: Transaction) -> ProviderWebhook:
        after, is_first = _told(transaction, services, begun, changed, overlap_s=overlap_s)
        if is_first:  # who rotates together does it once
            _note(transaction, services, principal, AuditAction.PROVIDER_WEBHOOK_SECRET_ROTATED, provider, changed)
        return after

    return ManagedWebhook(subscription=changed, own=await services.database.write(end))


async def _put(manager: ManagesCallbacks, *, url: str, secret: str, kinds: tuple[str, ...]) -> CallbackSubscription:
    """Bring the provider to exactly one webhook for an address. Who does it together keeps the same one: the oldest."""
    made = None
    found = _at(url, await manager.subscriptions())
    if not found:
        made = await manager.subscribe(url=url, secret=secret, kinds=kinds)
        found = _at(url, await manager.subscriptions()) or [made]
    kept, *surplus = found
    for one in surplus:
        await manager.unsubscribe(one.id)
    if made is not None and made.id == kept.id:
        return made
    return await manager.change(kept.id, SubscriptionChange(kinds=kinds, enabled=True, secret=secret))


def _at(url: str, found: Sequence[CallbackSubscription]) -> list[CallbackSubscription]:
    return [one for one in _oldest_first(found) if one.url == url]


def _oldest_first(found: Sequence[CallbackSubscription]) -> list[CallbackSubscription]:
    return sorted(found, key=lambda one: (one.created_at, one.id))


@contextmanager
def _answers(provider: str, webhook_id: str) -> Iterator[None]:
    """Turn what a provider says of its webhooks into our errors."""
    try:
        yield
    except SubscriptionMissing as error:
        raise ProviderWebhookNotFound(webhook_id) from error
    except SubscriptionRejected as error:
        raise ProviderWebhookRejected(provider, error.reason) from error


async def _own(services: Services, provider: str) -> list[ProviderWebhook]:
    return await services.database.read(lambda t: provider_webhooks.webhooks_of(t, provider))


def _accept(transaction: Transaction, services: Services, provider: str, url: str) -> ProviderWebhook:
    """Return our webhook for an address, whose secret is accepted from this unit on."""
    known = provider_webhooks.webhooks_of(transaction, provider)
    if len(known) >= WEBHOOKS_MAX and all(one.url != url for one in known):
        raise InvalidInput("url", f"there are at most {WEBHOOKS_MAX} addresses; unsubscribe one first")
    webhook = ProviderWebhook(
        id=ProviderWebhookId(services.new_id(PROVIDER_WEBHOOK)),
        provider=provider,
        url=url,
        subscription_id=None,
        generation=1,
        told=0,
        previous_until=None,
        created_at=services.now(),
        rotated_at=None,
    )
    return provider_webhooks.add_webhook(transaction, webhook)


def _told(
    transaction: Transaction, services: Services, own: ProviderWebhook, made: CallbackSubscription, *, overlap_s: int
) -> tuple[ProviderWebhook, bool]:
    """Remember that the provider signs with the secret it was given, and tell whether that was not known yet.

    A webhook that was forgotten meanwhile is known again.
    """
    known = provider_webhooks.add_webhook(transaction, own)
    before = provider_webhooks.lock_webhook(transaction, known.id) or known
    if before.id != own.id:
        raise ProviderWebhookNotFound(made.id)  # taken away, and subscribed anew, while we asked
    after = before.has_been_told(own.generation, subscription_id=made.id, overlap_s=overlap_s, at=services.now())
    provider_webhooks.change_webhook(transaction, after)
    return after, after.told != before.told


def _owned(transaction: Transaction, provider: str, subscription_id: str) -> ProviderWebhook | None:
    """Return our webhook that the provider calls so, locked until this unit commits."""
    known = provider_webhooks.webhooks_of(transaction, provider)
    found = next((one for one in known if one.subscription_id == subscription_id), None)
    return None if found is None else provider_webhooks.lock_webhook(transaction, found.id)


def _is_taken(transaction: Transaction, own: ProviderWebhook, *, url: str) -> bool:
    known = provider_webhooks.webhooks_of(transaction, own.provider)
    return any(one.url == url and one.id != own.id for one in known)


def _note(
    transaction: Transaction,
    services: Services,
    principal: Principal,
    action: AuditAction,
    provider: str,
    webhook: CallbackSubscription,
) -> None:
    host = urlsplit(webhook.url).netloc  # a path may be a secret between both sides
    audit.record(transaction, services, principal, action=action, subject_id=webhook.id, detail=f"{provider} to {host}")
