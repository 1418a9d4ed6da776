"""What the doors of wallets have in common (LUD-01): errors are answers, because wallets read the body alone."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from structlog.typing import FilteringBoundLogger

from quittance.domain.errors import InvalidInput, QuittanceError
from quittance.gql.masking import unexpected
from quittance.resolvers.services import Services
from quittance.server.access import ADDRESS_BUDGET
from quittance.server.http.addresses import ClientAddress

_HEADERS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}

Answer = Callable[[Request], Awaitable[Mapping[str, object]]]
Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletDoor:
    """Answers wallets. ``reason`` is what they are told of an error that is no bug: None for one that is.

    ``failed`` is what they are told of a bug, which is logged and masked: a sentence and a status.
    """

    services: Services
    client_address: ClientAddress
    log: FilteringBoundLogger
    reason: Callable[[QuittanceError], str | None] = field(default=lambda error: error.message)
    failed: tuple[str, int] = ("something went wrong here; try the same again", 200)

    def answering(self, answer: Answer) -> Endpoint:
        """Count each caller by address before anything is read, so that guessing is counted too."""

        async def endpoint(request: Request) -> Response:
            if request.method != "GET":  # a preview must not make a payment, take money, or use a signature up
                return Response(status_code=405, headers={"Allow": "GET"})
            try:
                await self.services.limiter.hit(ADDRESS_BUDGET, self.client_address(request.scope))
                return JSONResponse(await answer(request), headers=_HEADERS)
            except Exception as error:  # noqa: BLE001 - the last line before the wallet: logged there and masked
                return self._told(error)

        return endpoint

    def _told(self, error: Exception) -> Response:
        reason = self.reason(error) if isinstance(error, QuittanceError) else None
        if reason is not None:
            return _error(reason)
        unexpected(error, log=self.log)
        sentence, status = self.failed
        return _error(sentence, status=status)


def hex_bytes(said: Mapping[str, str], name: str, size_min: int, size_max: int) -> bytes:
    """Return what a parameter says in hex.

    Raises:
        InvalidInput: it is missing, no hex, or of another length.
    """
    text = said.get(name, "")
    if 2 * size_min <= len(text) <= 2 * size_max and text.isalnum():
        try:
            return bytes.fromhex(text)
        except ValueError:
            pass
    raise InvalidInput(name, f"{name} is not {size_max} bytes in hex" if size_min == size_max else f"{name} is no hex")


def _error(reason: str, *, status: int = 200) -> Response:
    return JSONResponse({"status": "ERROR", "reason": reason}, status_code=status, headers=_HEADERS)
