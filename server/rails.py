"""The rails of one process: which nodes are set, or the sandbox's, and what opens each kind."""

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import grpc.aio
from pydantic import SecretStr

from quittance.providers.base import ReceivingProvider, SendingProvider, SettlementFeed
from quittance.providers.lnd.channel import LndConnection, open_channel
from quittance.providers.lnd.currencies import BITCOIN, LITECOIN, Currency
from quittance.providers.lnd.payer import LndPayer
from quittance.providers.lnd.provider import LndProvider
from quittance.providers.rates.base import RateSource
from quittance.resolvers.services import CallbackTools
from quittance.sandbox.coordinates import ClnCoordinates, LndCoordinates, SandboxCoordinates
from quittance.server.settings import Settings
from quittance.store.database import Database

if TYPE_CHECKING:
    import httpx

    from quittance.server.strike import StrikeRail

LND = "lnd"
LND_LTC = "lnd-ltc"
CLN = "cln"
STRIKE = "strike"
CURRENCIES: Mapping[str, Currency] = {LND: BITCOIN, LND_LTC: LITECOIN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rails:
    """What is open, by the rail's name. Only what may pay holds a credential that spends.

    ``rates``: price sources that came with a rail, and are asked beside those that are set.
    """

    receiving: dict[str, ReceivingProvider] = field(default_factory=dict)
    callback_tools: dict[str, CallbackTools] = field(default_factory=dict)
    feeds: dict[str, SettlementFeed] = field(default_factory=dict)
    paying: dict[str, SendingProvider] = field(default_factory=dict)
    rates: list[RateSource] = field(default_factory=list)


def open_rails(
    settings: Settings,
    coordinates: SandboxCoordinates | None,
    stack: AsyncExitStack,
    *,
    database: Database,
    now: Callable[[], datetime],
) -> Rails:
    """Open every node and account that is set, or those of the sandbox; ``stack`` closes them.

    Raises:
        ProviderMisconfigured, OSError: what is set cannot be used.
    """
    rails = Rails()
    _open_lnd(rails, LND, _lnd(settings, coordinates), settings, stack)
    _open_lnd(rails, LND_LTC, _lnd_ltc(settings, coordinates), settings, stack)
    _open_cln(rails, _cln(settings, coordinates), settings, stack)
    if settings.strike_api_key is not None or coordinates is not None:
        from quittance.server.strike import open_strike

        _add_strike(rails, open_strike(settings, coordinates, stack, database=database, now=now))
    return rails


def _add_strike(rails: Rails, strike: "StrikeRail") -> None:
    rails.receiving[STRIKE] = rails.feeds[STRIKE] = strike.provider
    rails.callback_tools[STRIKE] = strike.callback_tools
    rails.rates.append(strike.ticker)
    if strike.payer is not None:
        rails.paying[STRIKE] = strike.payer


def bitcoin_network(settings: Settings, coordinates: SandboxCoordinates | None) -> str:
    """Return the network of the node that pays in bitcoin: LND's, else Core Lightning's."""
    where = _lnd(settings, coordinates) or _cln(settings, coordinates)
    return settings.lnd_network if where is None else where.network


def _lnd(settings: Settings, coordinates: SandboxCoordinates | None) -> LndCoordinates | None:
    if settings.lnd_address is not None and settings.lnd_tls_cert_path and settings.lnd_macaroon_path:
        return LndCoordinates(
            address=settings.lnd_address,
            tls_cert_path=settings.lnd_tls_cert_path,
            macaroon_path=settings.lnd_macaroon_path,
            spend_macaroon_path=settings.lnd_spend_macaroon_path,
            network=settings.lnd_network,
        )
    return coordinates.lnd if coordinates is not None else None


def _lnd_ltc(settings: Settings, coordinates: SandboxCoordinates | None) -> LndCoordinates | None:
    if settings.lnd_ltc_address is not None and settings.lnd_ltc_tls_cert_path and settings.lnd_ltc_macaroon_path:
        return LndCoordinates(
            address=settings.lnd_ltc_address,
            tls_cert_path=settings.lnd_ltc_tls_cert_path,
            macaroon_path=settings.lnd_ltc_macaroon_path,
            spend_macaroon_path=settings.lnd_ltc_spend_macaroon_path,
            network=settings.lnd_ltc_network,
        )
    return coordinates.lnd_ltc if coordinates is not None else None


def _cln(settings: Settings, coordinates: SandboxCoordinates | None) -> ClnCoordinates | None:
    if settings.cln_url is not None and settings.cln_rune_path:
        return ClnCoordinates(
            url=settings.cln_url,
            ca_path=settings.cln_ca_path,
            rune_path=settings.cln_rune_path,
            spend_rune_path=settings.cln_spend_rune_path,
            network=settings.cln_network,
        )
    return coordinates.cln if coordinates is not None else None


def _open_lnd(rails: Rails, name: str, where: LndCoordinates | None, settings: Settings, stack: AsyncExitStack) -> None:
    """Open a node of LND's kind, and what may pay on a channel of its own: nothing else carries that macaroon."""
    if where is None:
        return
    provider = LndProvider(
        _channel(where, where.macaroon_path),
        network=where.network,
        name=name,
        timeout_s=settings.lnd_timeout_s,
        currency=CURRENCIES[name],
    )
    stack.push_async_callback(provider.aclose)
    rails.receiving[name] = rails.feeds[name] = provider
    if where.spend_macaroon_path is not None:
        payer = LndPayer(
            _channel(where, where.spend_macaroon_path),
            network=where.network,
            name=name,
            timeout_s=settings.lnd_timeout_s,
            currency=CURRENCIES[name],
        )
        stack.push_async_callback(payer.aclose)
        rails.paying[name] = payer


def _open_cln(rails: Rails, where: ClnCoordinates | None, settings: Settings, stack: AsyncExitStack) -> None:
    """Open a Core Lightning node. Its client is only loaded where there is one."""
    if where is None:
        return
    from quittance.providers.cln.connection import ClnConnection, open_client
    from quittance.providers.cln.payer import ClnPayer
    from quittance.providers.cln.provider import ClnProvider

    def client(rune_path: Path) -> "httpx.AsyncClient":
        ca = where.ca_path.read_bytes() if where.ca_path is not None else None
        return open_client(ClnConnection(url=where.url, ca=ca, rune=SecretStr(rune_path.read_text())))

    provider = ClnProvider(client(where.rune_path), network=where.network, name=CLN, timeout_s=settings.lnd_timeout_s)
    stack.push_async_callback(provider.aclose)
    rails.receiving[CLN] = rails.feeds[CLN] = provider
    if where.spend_rune_path is not None:
        payer = ClnPayer(
            client(where.spend_rune_path), network=where.network, name=CLN, timeout_s=settings.lnd_timeout_s
        )
        stack.push_async_callback(payer.aclose)
        rails.paying[CLN] = payer


def _channel(where: LndCoordinates, macaroon_path: Path) -> grpc.aio.Channel:
    connection = LndConnection(
        address=where.address,
        tls_cert=where.tls_cert_path.read_bytes(),
        macaroon=SecretStr(macaroon_path.read_bytes().hex()),
    )
    return open_channel(connection)
