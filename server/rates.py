"""The price sources of one process: those that are set, or the sandbox's; opened when a price is first needed."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from quittance.domain.rate import PLAUSIBLE, RateRules
from quittance.providers.rates.base import RateSource
from quittance.providers.rates.board import RateBoard
from quittance.sandbox.coordinates import SandboxCoordinates
from quittance.server.settings import Settings

if TYPE_CHECKING:
    import httpx

KRAKEN = "kraken"
COINBASE = "coinbase"


def rate_board(sources: "RateSourcesOnDemand", settings: Settings, *, now: Callable[[], datetime]) -> RateBoard | None:
    """Return the board of this process, or None where no source is set."""
    if not sources.names:
        return None
    rules = RateRules(
        age_s_max=settings.rates_age_s_max,
        sources_min=settings.rates_sources_min,
        spread_ppm=settings.rates_spread_ppm,
        plausible=PLAUSIBLE,
    )
    return RateBoard(sources, rules=rules, now=now)


class RateSourcesOnDemand:
    """Opens the sources when it is called; until then no HTTP library is loaded. ``more``: sources that rails bring."""

    def __init__(
        self,
        settings: Settings,
        coordinates: SandboxCoordinates | None,
        *,
        now: Callable[[], datetime],
        more: Sequence[RateSource] = (),
    ) -> None:
        self._settings = settings
        self._sandbox_root = None if coordinates is None else coordinates.prices_root
        self._now = now
        self._more = more
        self._clients: list[httpx.AsyncClient] = []

    @property
    def names(self) -> list[str]:
        return [*self._settings.rates_sources, *(source.name for source in self._more)]

    def __call__(self) -> Sequence[RateSource]:
        return [*(self._opened(name) for name in self._settings.rates_sources), *self._more]

    async def aclose(self) -> None:
        for client in self._clients:
            await client.aclose()

    def _opened(self, name: str) -> RateSource:
        from quittance.providers.rates import coinbase, coingecko, kraken

        if name == KRAKEN:
            return kraken.Kraken(self._client(kraken.PUBLIC_URL), now=self._now)
        if name == COINBASE:
            return coinbase.Coinbase(self._client(coinbase.PUBLIC_URL), now=self._now)
        url, key = self._settings.coingecko_url, self._settings.coingecko_api_key
        headers = {} if key is None else {coingecko.key_header(url): key.get_secret_value()}
        return coingecko.CoinGecko(self._client(url, path=coingecko.PATH, headers=headers))

    def _client(self, url: str, *, path: str = "", headers: dict[str, str] | None = None) -> "httpx.AsyncClient":
        import httpx

        from quittance.providers.rates.reader import TIMEOUT_S

        base_url = url if self._sandbox_root is None else self._sandbox_root + path
        client = httpx.AsyncClient(base_url=base_url, headers=headers, timeout=TIMEOUT_S, trust_env=False)
        self._clients.append(client)
        return client
