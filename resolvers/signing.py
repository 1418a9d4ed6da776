"""What deliveries are signed with: keys that are derived for each target, so that none is stored."""

from collections.abc import Sequence
from datetime import datetime

from quittance.domain.endpoint import WebhookEndpoint
from quittance.domain.policy import Merchant
from quittance.resolvers.services import Services


def endpoint_secrets(services: Services, endpoint: WebhookEndpoint, *, at: datetime) -> Sequence[bytes]:
    """Return the secrets that sign for an endpoint, the newest first."""
    return [services.derive.webhook_secret(endpoint.id, version) for version in endpoint.secret.signing(at=at)]


def notify_secrets(services: Services, merchant: Merchant, *, at: datetime) -> Sequence[bytes]:
    """Return the secrets that sign for the addresses of a merchant's payments, the newest first."""
    return [services.derive.notify_secret(merchant.id, version) for version in merchant.notify_secret.signing(at=at)]
