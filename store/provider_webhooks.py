"""Our subscriptions to the webhooks of providers: at most one for each address."""

from typing import Any

from sqlalchemy import bindparam, delete, select, update

from quittance.domain.ids import ProviderWebhookId
from quittance.domain.provider_webhook import ProviderWebhook
from quittance.domain.text import is_storable
from quittance.store.models import table_of
from quittance.store.models_provider_webhooks import ProviderWebhookRow
from quittance.store.statement import Statement, every_column
from quittance.store.transaction import Transaction, from_us, from_us_or_none, to_us

_WEBHOOK = table_of(ProviderWebhookRow)
_CHANGED = ("url", "subscription_id", "generation", "told", "previous_until_us", "rotated_at_us")

_INSERT = Statement(
    lambda d: (
        d.insert(_WEBHOOK).values(every_column(_WEBHOOK)).on_conflict_do_nothing(index_elements=["provider", "url"])
    )
)
_OF_PROVIDER = Statement(
    lambda _: select(*_WEBHOOK.c).where(_WEBHOOK.c.provider == bindparam("provider")).order_by(_WEBHOOK.c.id)
)
_BY_URL = Statement(
    lambda _: select(*_WEBHOOK.c).where(
        _WEBHOOK.c.provider == bindparam("provider"), _WEBHOOK.c.url == bindparam("url")
    )
)
_LOCK = Statement(lambda _: select(*_WEBHOOK.c).where(_WEBHOOK.c.id == bindparam("id")).with_for_update())
_CHANGE = Statement(
    lambda _: (
        update(_WEBHOOK)
        .where(_WEBHOOK.c.id == bindparam("webhook_id"))
        .values({name: bindparam(name) for name in _CHANGED})
    )
)
_DELETE = Statement(
    lambda _: delete(_WEBHOOK).where(
        _WEBHOOK.c.provider == bindparam("provider"), _WEBHOOK.c.subscription_id == bindparam("subscription_id")
    )
)
_DELETE_UNTOLD = Statement(lambda _: delete(_WEBHOOK).where(_WEBHOOK.c.id == bindparam("id"), _WEBHOOK.c.told == 0))


def add_webhook(transaction: Transaction, webhook: ProviderWebhook) -> ProviderWebhook:
    """Remember a webhook, and return the one that stands for its provider and address: the first of them."""
    transaction.execute(_INSERT, _columns(webhook))
    row = transaction.first(_BY_URL, {"provider": webhook.provider, "url": webhook.url})
    return webhook if row is None else _to_domain(row)


def webhooks_of(transaction: Transaction, provider: str) -> list[ProviderWebhook]:
    """Return our webhooks at a provider, the oldest first."""
    return [_to_domain(row) for row in transaction.all(_OF_PROVIDER, {"provider": provider})]


def lock_webhook(transaction: Transaction, webhook_id: ProviderWebhookId) -> ProviderWebhook | None:
    """Return a webhook as it is now, locked against other units until this one commits."""
    row = transaction.first(_LOCK, {"id": webhook_id})
    return None if row is None else _to_domain(row)


def change_webhook(transaction: Transaction, after: ProviderWebhook) -> None:
    """Store what may change of a webhook that this unit has locked."""
    columns = _columns(after)
    transaction.execute(_CHANGE, {name: columns[name] for name in _CHANGED} | {"webhook_id": after.id})


def delete_webhook(transaction: Transaction, *, provider: str, subscription_id: str) -> bool:
    """Forget the webhook that the provider calls so, and its secrets with it; False when there is none."""
    if not is_storable(subscription_id):
        return False
    return transaction.execute(_DELETE, {"provider": provider, "subscription_id": subscription_id}) > 0


def delete_untold(transaction: Transaction, webhook_id: ProviderWebhookId) -> None:
    """Forget a webhook unless the provider has it."""
    transaction.execute(_DELETE_UNTOLD, {"id": webhook_id})


def _columns(webhook: ProviderWebhook) -> dict[str, object]:
    previous, rotated = webhook.previous_until, webhook.rotated_at
    return {
        "id": webhook.id,
        "provider": webhook.provider,
        "url": webhook.url,
        "subscription_id": webhook.subscription_id,
        "generation": webhook.generation,
        "told": webhook.told,
        "previous_until_us": None if previous is None else to_us(previous),
        "created_at_us": to_us(webhook.created_at),
        "rotated_at_us": None if rotated is None else to_us(rotated),
    }


def _to_domain(row: Any) -> ProviderWebhook:
    id_, provider, url, subscription_id, generation, told, previous_until, created, rotated = row
    return ProviderWebhook(
        id=ProviderWebhookId(id_),
        provider=provider,
        url=url,
        subscription_id=subscription_id,
        generation=generation,
        told=told,
        previous_until=from_us_or_none(previous_until),
        created_at=from_us(created),
        rotated_at=from_us_or_none(rotated),
    )
