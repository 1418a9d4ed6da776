"""Webhook endpoints: rows in, endpoints out."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from quittance.domain.endpoint import EndpointStatus, WebhookEndpoint
from quittance.domain.event import EventKind
from quittance.domain.ids import EndpointId, MerchantId
from quittance.domain.rotation import SecretVersions
from quittance.domain.text import is_storable
from quittance.store.by_key import one_by_id
from quittance.store.listing import Listing
from quittance.store.models import table_of
from quittance.store.models_operations import WebhookEndpointRow
from quittance.store.statement import BatchStatement, Statement, every_column
from quittance.store.transaction import Transaction, from_us, from_us_or_none, to_us

_ENDPOINT = table_of(WebhookEndpointRow)
_CHANGED = (
    "url", "description", "event_types", "document", "status", "status_reason", "secret_version",
    "previous_secret_until_us", "failures", "modified_at_us", "deleted_at_us", "ed25519",
)  # fmt: skip

_INSERT = Statement(lambda _: insert(_ENDPOINT).values(every_column(_ENDPOINT)))
_LOCK = Statement(  # new deliveries may name the endpoint meanwhile: its id does not change
    lambda _: select(*_ENDPOINT.c).where(_ENDPOINT.c.id == bindparam("id")).with_for_update(key_share=True)
)
_BY_IDS = BatchStatement(lambda _, keys: select(*_ENDPOINT.c).where(_ENDPOINT.c.id.in_(keys)))
_CHANGE = Statement(
    lambda _: (
        update(_ENDPOINT)
        .where(_ENDPOINT.c.id == bindparam("endpoint_id"))
        .values({name: bindparam(name) for name in _CHANGED})
    )
)
_IS_LISTENING = (_ENDPOINT.c.status == EndpointStatus.ENABLED.value, _ENDPOINT.c.deleted_at_us.is_(None))
_LISTENING = BatchStatement(
    lambda _, keys: select(*_ENDPOINT.c).where(_ENDPOINT.c.merchant_id.in_(keys), *_IS_LISTENING)
)
_ANYBODY = Statement(lambda _: select(_ENDPOINT.c.id).where(*_IS_LISTENING).limit(1))
_LISTING = Listing(_ENDPOINT, narrowed_by=[_ENDPOINT.c.merchant_id], within=[_ENDPOINT.c.deleted_at_us.is_(None)])


def insert_endpoint(transaction: Transaction, endpoint: WebhookEndpoint) -> None:
    transaction.execute(_INSERT, _columns(endpoint))


def lock_endpoint(transaction: Transaction, endpoint_id: EndpointId) -> WebhookEndpoint | None:
    """Return the endpoint as it is now, locked against other units until this one commits."""
    row = transaction.first(_LOCK, {"id": endpoint_id}) if is_storable(endpoint_id) else None
    return None if row is None else _to_domain(row)


def endpoints_by_id(transaction: Transaction, ids: Sequence[EndpointId]) -> list[WebhookEndpoint | None]:
    """Return one entry per id, in order, deleted ones too."""
    return one_by_id(transaction, _BY_IDS, ids, _to_domain)


def change_endpoint(transaction: Transaction, after: WebhookEndpoint) -> None:
    """Store what may change of an endpoint that this unit has locked."""
    columns = _columns(after)
    transaction.execute(_CHANGE, {name: columns[name] for name in _CHANGED} | {"endpoint_id": after.id})


def listening_endpoints(transaction: Transaction, merchant_ids: Sequence[MerchantId]) -> list[WebhookEndpoint]:
    """Return every endpoint of these merchants that wants to be told of anything."""
    statement, parameters = _LISTENING.sized(merchant_ids)
    return [_to_domain(row) for row in transaction.all(statement, parameters)]


def is_anybody_listening(transaction: Transaction) -> bool:
    return transaction.first(_ANYBODY) is not None


def list_endpoints(
    transaction: Transaction, *, merchant_id: MerchantId, after_id: str | None, limit: int
) -> list[WebhookEndpoint]:
    """Return the merchant's endpoints, the newest first, after the last one seen."""
    rows = _LISTING.page(transaction, {"merchant_id": merchant_id}, after_id=after_id, limit=limit)
    return [_to_domain(row) for row in rows]


def count_endpoints(transaction: Transaction, *, merchant_id: MerchantId) -> int:
    return _LISTING.count(transaction, {"merchant_id": merchant_id})


def _columns(endpoint: WebhookEndpoint) -> dict[str, object]:
    previous, deleted = endpoint.secret.previous_until, endpoint.deleted_at
    return {
        "id": endpoint.id,
        "merchant_id": endpoint.merchant_id,
        "url": endpoint.url,
        "description": endpoint.description,
        "event_types": " ".join(sorted(endpoint.event_types)),
        "document": endpoint.document,
        "status": endpoint.status.value,
        "status_reason": endpoint.status_reason,
        "secret_version": endpoint.secret.newest,
        "previous_secret_until_us": None if previous is None else to_us(previous),
        "failures": endpoint.failures,
        "created_at_us": to_us(endpoint.created_at),
        "modified_at_us": to_us(endpoint.modified_at),
        "deleted_at_us": None if deleted is None else to_us(deleted),
        "ed25519": int(endpoint.ed25519),
    }


def _to_domain(row: Any) -> WebhookEndpoint:
    (
        id_, merchant_id, url, description, event_types, document, status, reason, version, previous_until, failures,
        created, modified, deleted, ed25519,
    ) = row  # fmt: skip
    return WebhookEndpoint(
        id=EndpointId(id_),
        merchant_id=MerchantId(merchant_id),
        url=url,
        description=description,
        event_types=frozenset(EventKind(kind) for kind in event_types.split()),
        document=document,
        status=EndpointStatus(status),
        status_reason=reason,
        secret=SecretVersions(newest=version, previous_until=from_us_or_none(previous_until)),
        failures=failures,
        created_at=from_us(created),
        modified_at=from_us(modified),
        deleted_at=from_us_or_none(deleted),
        ed25519=bool(ed25519),
    )
