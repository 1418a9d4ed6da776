"""What proves the callbacks of a provider: made for each request, so that every process knows a rotation at once."""

from quittance.domain.errors import UnknownProvider
from quittance.providers.callbacks import CallbackRefused, ReadsCallbacks
from quittance.resolvers.services import Services
from quittance.store import provider_webhooks


async def callback_reader(services: Services, provider: str) -> ReadsCallbacks:
    """Return what reads the callbacks of a provider, with every secret that is accepted now.

    Raises:
        UnknownProvider: none of this name reads callbacks.
        CallbackRefused: there is no secret that could prove one.
    """
    tools = services.callback_tools.get(provider)
    if tools is None:
        reader = services.callbacks.get(provider)
        if reader is None:
            raise UnknownProvider(provider)
        return reader
    secrets = await accepted_secrets(services, provider)
    if not secrets:
        raise CallbackRefused("no secret is known; subscribe, or set one")
    return tools.reader(secrets)


async def accepted_secrets(services: Services, provider: str) -> list[bytes]:
    """Return the secrets whose signatures are accepted now: of each webhook of ours, then those that were set.

    During a rotation both are there. What is not managed here has none.
    """
    tools = services.callback_tools.get(provider)
    if tools is None:
        return []
    known = await services.database.read(lambda t: provider_webhooks.webhooks_of(t, provider))
    now = services.now()
    derived = [
        services.derive.provider_webhook_secret(webhook.id, generation).encode()
        for webhook in known
        for generation in webhook.accepted(at=now)
    ]
    return [*derived, *tools.secrets]
