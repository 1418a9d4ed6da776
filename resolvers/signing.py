"""What deliveries are signed with: keys that are derived for each target, so that none is stored."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from quittance.domain.endpoint import WebhookEndpoint
from quittance.domain.policy import Merchant
from quittance.domain.webhook import Sign, shown_public_key
from quittance.resolvers.services import Services

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKeys:
    """All that sign one message: the newest first, and during a rotation the one before it."""

    secrets: Sequence[bytes] = field(repr=False)
    ed25519: Sequence[Sign] = field(default=(), repr=False)


def endpoint_keys(services: Services, endpoint: WebhookEndpoint, *, at: datetime) -> SigningKeys:
    return SigningKeys(
        secrets=[services.derive.webhook_secret(endpoint.id, version) for version in endpoint.secret.signing(at=at)],
        ed25519=[key.sign for key in _private_keys(services, endpoint, at=at)],
    )


def notify_keys(services: Services, merchant: Merchant, *, at: datetime) -> SigningKeys:
    """Return what signs for the addresses of a merchant's payments."""
    versions = merchant.notify_secret.signing(at=at)
    return SigningKeys(secrets=[services.derive.notify_secret(merchant.id, version) for version in versions])


def public_keys(services: Services, endpoint: WebhookEndpoint, *, at: datetime) -> list[str]:
    """Return what verifies an endpoint's Ed25519 signatures, the newest first; nothing where it has none."""
    keys = _private_keys(services, endpoint, at=at)
    return [shown_public_key(key.public_key().public_bytes_raw()) for key in keys]


def _private_keys(services: Services, endpoint: WebhookEndpoint, *, at: datetime) -> "list[Ed25519PrivateKey]":
    if not endpoint.ed25519:
        return []
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415 - megabytes that few endpoints need
        Ed25519PrivateKey,
    )

    versions = endpoint.secret.signing(at=at)
    return [Ed25519PrivateKey.from_private_bytes(services.derive.webhook_seed(endpoint.id, one)) for one in versions]
