"""Which addresses of users this process may call, and the client that calls them."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final

from quittance.providers.base import OutgoingAnswer
from quittance.providers.lnd.currencies import BITCOIN
from quittance.providers.lnurl.directory import TIMEOUT_S, LnurlDirectory
from quittance.server.settings import Settings

if TYPE_CHECKING:
    from quittance.providers.outgoing import OutgoingClient, OutgoingRules

_CONNECT_TIMEOUT_S_MAX: Final = 5.0


class OutgoingOnDemand:
    """Implements ``quittance.providers.base.Outgoing``; its HTTP library is loaded when an address is first given.

    ``anywhere``: private networks and plain HTTP too. Only for addresses that the operator set, never a user's.
    """

    def __init__(self, settings: Settings, *, anywhere: bool = False) -> None:
        self._settings = settings
        self._anywhere = anywhere
        self._client: OutgoingClient | None = None

    def check(self, url: str) -> None:
        from quittance.providers.outgoing import check_url

        check_url(url, rules=self._rules())

    async def get(self, url: str, *, headers: Mapping[str, str], body_bytes_max: int | None = None) -> OutgoingAnswer:
        return await self._opened().get(url, headers=headers, body_bytes_max=body_bytes_max)

    async def post(self, url: str, *, body: bytes, headers: Mapping[str, str]) -> OutgoingAnswer:
        return await self._opened().post(url, body=body, headers=headers)

    def _opened(self) -> "OutgoingClient":
        if self._client is None:
            from quittance.providers.outgoing import OutgoingClient

            self._client = OutgoingClient(self._rules())
        return self._client

    def _rules(self) -> "OutgoingRules":
        return outgoing_rules(self._settings, anywhere=self._anywhere)

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()


def payee_directory(
    outgoing: OutgoingOnDemand, settings: Settings, *, network: str, now: Callable[[], datetime]
) -> LnurlDirectory:
    """Return what finds payees whose invoices the rails of ``network`` can pay."""
    timeout_s = min(TIMEOUT_S, settings.outgoing_timeout_s)
    return LnurlDirectory(outgoing, prefix=BITCOIN.prefixes[network], now=now, timeout_s=timeout_s)


def outgoing_rules(settings: Settings, *, anywhere: bool = False) -> "OutgoingRules":
    """Return the rules that the settings make; in sandbox mode receivers may listen on this machine."""
    from quittance.providers.outgoing import EVERYWHERE, LOOPBACK, OutgoingRules

    networks = (*settings.outgoing_private_networks, *(LOOPBACK if settings.sandbox else ()))
    if anywhere:
        networks = EVERYWHERE
    return OutgoingRules(
        private_networks=networks,
        plain_http=bool(networks),
        connect_timeout_s=min(_CONNECT_TIMEOUT_S_MAX, settings.outgoing_timeout_s),
        timeout_s=settings.outgoing_timeout_s,
        answer_bytes_max=settings.outgoing_answer_bytes_max,
    )
