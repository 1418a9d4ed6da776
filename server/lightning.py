"""The Lightning nodes that are set, and the rails that they make."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import grpc.aio
from pydantic import SecretStr

from quittance.providers.base import SendingProvider
from quittance.providers.lnd.channel import LndConnection, open_channel
from quittance.providers.lnd.currencies import BITCOIN, LITECOIN, Currency
from quittance.providers.lnd.payer import LndPayer
from quittance.providers.lnd.provider import LndProvider
from quittance.sandbox.coordinates import LndCoordinates, SandboxCoordinates
from quittance.server.settings import Settings

LND: Final = "lnd"
LND_LTC: Final = "lnd-ltc"
_CURRENCIES: Final[Mapping[str, Currency]] = {LND: BITCOIN, LND_LTC: LITECOIN}


def nodes_of(settings: Settings, coordinates: SandboxCoordinates | None) -> dict[str, LndCoordinates]:
    """Return where the node of each rail is found: the sandbox's, else those that are set."""
    if coordinates is not None:
        return {LND: coordinates.lnd, LND_LTC: coordinates.lnd_ltc}
    nodes: dict[str, LndCoordinates] = {}
    if settings.lnd_address is not None and settings.lnd_tls_cert_path and settings.lnd_macaroon_path:
        nodes[LND] = LndCoordinates(
            address=settings.lnd_address,
            tls_cert_path=settings.lnd_tls_cert_path,
            macaroon_path=settings.lnd_macaroon_path,
            spend_macaroon_path=settings.lnd_spend_macaroon_path,
            network=settings.lnd_network,
        )
    if settings.lnd_ltc_address is not None and settings.lnd_ltc_tls_cert_path and settings.lnd_ltc_macaroon_path:
        nodes[LND_LTC] = LndCoordinates(
            address=settings.lnd_ltc_address,
            tls_cert_path=settings.lnd_ltc_tls_cert_path,
            macaroon_path=settings.lnd_ltc_macaroon_path,
            spend_macaroon_path=settings.lnd_ltc_spend_macaroon_path,
            network=settings.lnd_ltc_network,
        )
    return nodes


def open_rails(
    nodes: Mapping[str, LndCoordinates], stack: AsyncExitStack, *, timeout_s: float
) -> dict[str, LndProvider]:
    """Open what receives.

    Raises:
        ProviderMisconfigured, OSError: a macaroon or a certificate is none, or cannot be read.
    """
    rails: dict[str, LndProvider] = {}
    for name, where in nodes.items():
        rails[name] = LndProvider(
            _channel(where, macaroon_path=where.macaroon_path),
            network=where.network,
            name=name,
            timeout_s=timeout_s,
            currency=_CURRENCIES[name],
        )
        stack.push_async_callback(rails[name].aclose)
    return rails


def open_payers(
    nodes: Mapping[str, LndCoordinates], stack: AsyncExitStack, *, timeout_s: float
) -> dict[str, SendingProvider]:
    """Open what may pay, on a channel of its own: the macaroon that spends is on no call that does not need it.

    Raises:
        ProviderMisconfigured, OSError: as for ``open_rails``.
    """
    payers: dict[str, SendingProvider] = {}
    for name, where in nodes.items():
        if where.spend_macaroon_path is None:
            continue
        payers[name] = payer = LndPayer(
            _channel(where, macaroon_path=where.spend_macaroon_path),
            network=where.network,
            name=name,
            timeout_s=timeout_s,
            currency=_CURRENCIES[name],
        )
        stack.push_async_callback(payer.aclose)
    return payers


def _channel(where: LndCoordinates, *, macaroon_path: Path) -> grpc.aio.Channel:
    connection = LndConnection(
        address=where.address,
        tls_cert=where.tls_cert_path.read_bytes(),
        macaroon=SecretStr(macaroon_path.read_bytes().hex()),
    )
    return open_channel(connection)
