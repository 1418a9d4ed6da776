"""The sockets of outgoing calls: opened to addresses that were checked, and heard while they are written to."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, cast

import httpcore

from quittance.providers.base import OutgoingFailed

AddressesOf = Callable[[str, int], Awaitable[Sequence[str]]]

ADDRESSES_TRIED_MAX: Final = 4
_EARLY_BYTES: Final = 65_536


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects to the addresses that ``addresses_of`` gives for a host, and to no other.

    TLS is not told: it verifies the certificate against the host's name.
    """

    def __init__(self, addresses_of: AddressesOf) -> None:
        self._addresses_of = addresses_of
        self._sockets = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the library's signature, here and below
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._addresses_of(host, port)
                return _HeardStream(await self._connect(addresses[:ADDRESSES_TRIED_MAX], port, timeout))
        except TimeoutError:
            raise OutgoingFailed("timeout") from None

    async def _connect(
        self, addresses: Sequence[str], port: int, timeout_s: float | None
    ) -> httpcore.AsyncNetworkStream:
        """Try the addresses in turn, each for its share of the time, so that a dead one does not hide a live one."""
        share_s = None if timeout_s is None else timeout_s / len(addresses)
        reason = "unreachable"
        for address in addresses:
            try:
                return await self._sockets.connect_tcp(address, port, timeout=share_s)
            except httpcore.ConnectTimeout:
                reason = "timeout"
            except httpcore.ConnectError as error:
                reason = "refused" if _is_caused_by(error, ConnectionRefusedError) else "unreachable"
        raise OutgoingFailed(reason)


class _HeardStream(httpcore.AsyncNetworkStream):
    """Reads from the first word that is sent: who refuses a long body early resets what they do not take, and what
    they said before would be lost with it.
    """

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner
        self._early: asyncio.Task[bytes] | None = None

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        if buffer and self._early is None:
            self._early = asyncio.create_task(self._inner.read(_EARLY_BYTES))
        await self._inner.write(buffer, timeout)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        early, self._early = self._early, None
        return await (self._inner.read(max_bytes, timeout) if early is None else early)

    async def aclose(self) -> None:
        early, self._early = self._early, None
        try:
            if early is not None:
                early.cancel()
                await asyncio.gather(early, return_exceptions=True)
        finally:
            await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        return _HeardStream(await self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _is_caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None and not isinstance(error, kind):
        error = error.__cause__
    return error is not None
