"""Our subscriptions to the webhooks of providers: where we want to be told, and which secrets sign what we are told."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from quittance.domain.errors import InvalidInput, QuittanceError
from quittance.domain.ids import ProviderWebhookId
from quittance.domain.text import is_storable

URL_MAX = 2_048
KINDS_MAX = 50
KIND_MAX = 100
WEBHOOKS_MAX = 20  # of ours at one provider: a signature is compared with the secrets of each
CATCH_UP_DAYS = 10  # longer than any provider tries to deliver
CATCH_UP_DAYS_MAX = 366
EVENTS_MAX = 5_000  # of one catch-up; who asks again goes on from there
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class CannotManageWebhooks(QuittanceError):
    """The provider has no webhooks, or we have no means to manage them."""

    code = "CANNOT_MANAGE_WEBHOOKS"

    def __init__(self, provider: str) -> None:
        super().__init__(
            f"provider {provider!r} has no webhooks that can be managed here; `providers` lists those with the "
            "capability WEBHOOKS"
        )
        self.provider = provider


class ProviderWebhookNotFound(QuittanceError):
    code = "PROVIDER_WEBHOOK_NOT_FOUND"

    def __init__(self, webhook_id: str) -> None:
        super().__init__("the provider has no such webhook; list its webhooks to find the id")
        self.webhook_id = webhook_id


class ProviderWebhookRejected(QuittanceError):
    """The provider refused what was asked of its webhooks; nothing changed there. ``reason`` is the provider's code."""

    code = "PROVIDER_WEBHOOK_REJECTED"

    def __init__(self, provider: str, reason: str) -> None:
        super().__init__(f"provider {provider!r} refused it: {reason}")
        self.provider = provider
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderWebhook:
    """One address of ours that a provider tells. Its secrets are derived from ``generation``, never stored.

    ``told``: the newest generation that the provider is known to sign with, 0 before it said so. While it is behind, a
    rotation is under way, and both generations are accepted however long that takes. ``subscription_id`` is the
    provider's own.
    """

    id: ProviderWebhookId
    provider: str
    url: str
    subscription_id: str | None
    generation: int
    told: int
    previous_until: datetime | None
    created_at: datetime
    rotated_at: datetime | None

    @property
    def is_rotating(self) -> bool:
        return 0 < self.told < self.generation

    def accepted(self, *, at: datetime) -> list[int]:
        """Return the generations whose signatures are accepted, the newest first."""
        overlaps = self.previous_until is not None and at < self.previous_until
        return [self.generation, self.generation - 1] if self.is_rotating or overlaps else [self.generation]

    def begin_rotation(self, *, overlap_s: int, at: datetime) -> "ProviderWebhook":
        """Return it with the next generation accepted too; one that is under way is gone on with.

        Raises:
            InvalidInput: an overlap was asked for, and that of the rotation before is not over: it would be cut short.
        """
        if self.told < self.generation:
            return self
        if overlap_s and self.previous_until is not None and at < self.previous_until:
            raise InvalidInput(
                "overlapSeconds",
                f"the secret before this one is accepted until {self.previous_until:%Y-%m-%dT%H:%M:%SZ}; rotate after "
                "it, or end every older secret with overlapSeconds: 0",
            )
        return replace(self, generation=self.generation + 1, previous_until=None)

    def has_been_told(
        self, generation: int, *, subscription_id: str, overlap_s: int, at: datetime
    ) -> "ProviderWebhook":
        """Return it once the provider signs with ``generation``; the one before is accepted ``overlap_s`` more.

        What was known before changes nothing but the provider's id.
        """
        named = replace(self, subscription_id=subscription_id)
        if generation <= self.told:
            return named
        if self.told == 0:
            return replace(named, told=generation)
        return replace(named, told=generation, previous_until=at + timedelta(seconds=overlap_s), rotated_at=at)


def check_url(url: str) -> None:
    """Accept the form of an address that a provider may tell: `https`, or `http` on this machine, as sandboxes have it.

    Raises:
        InvalidInput: it says what to give instead.
    """
    if not (url.isascii() and url.isprintable()) or " " in url or len(url) > URL_MAX:
        raise InvalidInput("url", f"an address has at most {URL_MAX} printable ASCII characters")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InvalidInput("url", "that is no address; give https://HOST/PATH") from None
    secure = parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)
    if not host or not secure or parts.username is not None or parts.password is not None or parts.fragment:
        raise InvalidInput("url", "give https://HOST/PATH, without a user name and without a fragment")


def check_kinds(kinds: tuple[str, ...]) -> None:
    """Accept the types to be told of, as the provider writes them.

    Raises:
        InvalidInput: none is named, too many, or one that is no name.
    """
    if not 1 <= len(kinds) <= KINDS_MAX:
        raise InvalidInput("eventTypes", f"name 1 to {KINDS_MAX} types")
    if not all(is_storable(kind) and kind.isprintable() and 0 < len(kind) <= KIND_MAX for kind in kinds):
        raise InvalidInput("eventTypes", f"a type has 1 to {KIND_MAX} printable characters, such as invoice.updated")
