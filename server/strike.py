"""The Strike account of one process: the one that is set, or the sandbox's."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from urllib.parse import urlsplit

from pydantic import SecretStr

from quittance.providers.strike.budget import Budget, limits_of
from quittance.providers.strike.client import StrikeClient
from quittance.providers.strike.connection import PRODUCTION_URL, StrikeConnection, open_client
from quittance.providers.strike.payer import StrikePayer
from quittance.providers.strike.provider import StrikeProvider
from quittance.providers.strike.rates import StrikeTicker
from quittance.providers.strike.subscriptions import StrikeSubscriptions, callback_reader
from quittance.resolvers.payer_notes import StoredMemory
from quittance.resolvers.services import CallbackTools
from quittance.sandbox.coordinates import SandboxCoordinates
from quittance.server.settings import Settings
from quittance.store.database import Database

_SANDBOX_POLL_S = 1.0
TIMEOUT_S_MAX = 20.0  # a look at a payment counts on it that no call is on its way for longer


@dataclass(frozen=True, slots=True, kw_only=True)
class StrikeRail:
    """What one account does for us; ``payer`` only where a key that may spend is set."""

    provider: StrikeProvider
    payer: StrikePayer | None
    ticker: StrikeTicker
    callback_tools: CallbackTools


@dataclass(frozen=True, slots=True, kw_only=True)
class _Account:
    url: str
    api_key: SecretStr
    spend_api_key: SecretStr | None
    network: str
    poll_s: float


def open_strike(
    settings: Settings,
    coordinates: SandboxCoordinates | None,
    stack: AsyncExitStack,
    *,
    database: Database,
    now: Callable[[], datetime],
) -> StrikeRail:
    """Open the account that is set, or the sandbox's. ``stack`` closes it.

    Raises:
        ProviderMisconfigured: what is set cannot be used.
    """
    account = _account(settings, coordinates)
    in_sandbox = settings.strike_api_key is None  # where time can be moved, and the limits move with it
    limits = limits_of(urlsplit(account.url).hostname or "", share=settings.strike_processes)
    budget = Budget(limits, clock=(lambda: now().timestamp()) if in_sandbox else monotonic)

    def client(api_key: SecretStr) -> StrikeClient:
        http = open_client(StrikeConnection(url=account.url, api_key=api_key))
        opened = StrikeClient(http, budget=budget, timeout_s=timeout_s(settings))
        stack.push_async_callback(opened.aclose)
        return opened

    receiving = client(account.api_key)
    payer = None
    if account.spend_api_key is not None:
        memory = StoredMemory(database=database, now=now, provider=receiving.name)
        payer = StrikePayer(client(account.spend_api_key), network=account.network, memory=memory, now=now)
    return StrikeRail(
        provider=StrikeProvider(
            receiving,
            network=account.network,
            now=now,
            currency=settings.strike_currency,
            poll_s=account.poll_s,
        ),
        payer=payer,
        ticker=StrikeTicker(receiving, now=now),
        callback_tools=CallbackTools(
            manager=StrikeSubscriptions(receiving), reader=callback_reader, secrets=_secrets(settings)
        ),
    )


def timeout_s(settings: Settings) -> float:
    """Return how long one call to Strike may take."""
    return min(settings.lnd_timeout_s, TIMEOUT_S_MAX)


def _account(settings: Settings, coordinates: SandboxCoordinates | None) -> _Account:
    if settings.strike_api_key is not None:
        return _Account(
            url=settings.strike_url or PRODUCTION_URL,
            api_key=settings.strike_api_key,
            spend_api_key=settings.strike_spend_api_key,
            network=settings.strike_network,
            poll_s=settings.strike_poll_s,
        )
    assert coordinates is not None, "one of both is set"
    where = coordinates.strike
    return _Account(
        url=where.url,
        api_key=SecretStr(where.receive_key_path.read_text()),
        spend_api_key=SecretStr(where.api_key_path.read_text()),
        network=where.network,
        poll_s=_SANDBOX_POLL_S,
    )


def _secrets(settings: Settings) -> list[bytes]:
    secret = settings.strike_webhook_secret
    return [] if secret is None else [secret.get_secret_value().encode()]
