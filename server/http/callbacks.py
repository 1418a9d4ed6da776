"""The door of providers: one address for each, a proof before anything else, and a quick answer."""

from dataclasses import dataclass

import structlog
from prometheus_client import CollectorRegistry, Counter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from quittance.domain.errors import RateLimited
from quittance.gql.masking import problem_of, unexpected
from quittance.providers.callbacks import CallbackRefused, ProviderCallback
from quittance.resolvers.callbacks import ReaderFailed, Receipt, reads_callbacks, receive
from quittance.resolvers.services import Services
from quittance.server.access import ADDRESS_BUDGET
from quittance.server.http.door import DoorSettings
from quittance.server.http.graphql_request import HttpRefusal, read_body, refusal

log = structlog.get_logger("quittance.callbacks")

HEADERS_BYTES_MAX = 16_384  # of names and values: a signature is compared piece by piece, so pieces must be few
_REFUSED = "REFUSED"
_STATUS = {Receipt.STORED: 202, Receipt.REPEATED: 200, Receipt.DIFFERS: 200}


@dataclass(frozen=True, slots=True)
class CallbackDoor:
    """Takes what providers tell us, whatever the address they tell it at."""

    services: Services
    settings: DoorSettings
    received: Counter

    async def __call__(self, request: Request) -> Response:
        try:
            return await self._receive(request)
        except HttpRefusal as refused:
            return JSONResponse({"errors": [refused.problem]}, status_code=refused.status, headers=refused.headers)
        except ClientDisconnect:
            return Response(status_code=400)  # which nobody reads
        except Exception as error:  # noqa: BLE001 - the last line before the provider: logged there and masked
            return JSONResponse({"errors": [unexpected(error, log=log)]}, status_code=500)

    async def _receive(self, request: Request) -> Response:
        _, receipt = await self.take(request, provider=request.path_params["provider"])
        return JSONResponse({"status": receipt.value}, status_code=_STATUS[receipt])

    async def take(self, request: Request, *, provider: str) -> tuple[ProviderCallback, Receipt]:
        """Count, read, prove and store a callback.

        Raises:
            HttpRefusal: 401 for what proves nothing, 404 for a provider that tells us nothing, 413, 429, 431.
            ClientDisconnect: nobody waits for an answer.
        """
        await self._admit(request)
        if not reads_callbacks(self.services, provider):
            raise refusal(404, "not found", "NOT_FOUND")
        if sum(len(name) + len(value) for name, value in request.headers.raw) > HEADERS_BYTES_MAX:
            raise refusal(431, f"headers have at most {HEADERS_BYTES_MAX} bytes", "HEADERS_TOO_LARGE")
        body = await read_body(request, bytes_max=self.settings.limits.body_bytes_max)
        return await self._prove(request, provider, body)

    async def _admit(self, request: Request) -> None:
        """Count the caller before anything is read, so that guessing a signature is counted too.

        Raises:
            HttpRefusal: 429.
        """
        try:
            await self.services.limiter.hit(ADDRESS_BUDGET, self.settings.client_address(request.scope))
        except RateLimited as error:
            raise HttpRefusal(429, problem_of(error), {"Retry-After": str(error.retry_after_s)}) from error

    async def _prove(self, request: Request, provider: str, body: bytes) -> tuple[ProviderCallback, Receipt]:
        """Hand a request to the use case; who proves nothing is told nothing.

        Raises:
            HttpRefusal: 401.
        """
        try:
            said, receipt = await receive(self.services, provider=provider, headers=request.headers, body=body)
        except CallbackRefused as refused:
            if isinstance(refused, ReaderFailed) and refused.__cause__ is not None:
                unexpected(refused.__cause__, log=log)
            else:
                log.warning("callback_refused", provider=provider, reason=refused.reason)
            self.received.labels(provider, _REFUSED).inc()
            scheme = 'Signature realm="quittance"'
            raise refusal(401, "the callback is not accepted", "UNAUTHENTICATED", WWW_Authenticate=scheme) from refused
        told = log.warning if receipt is Receipt.DIFFERS else log.info
        told("callback", provider=provider, event_id=said.event_id, type=said.kind, receipt=receipt.value)
        self.received.labels(provider, receipt.value).inc()
        return said, receipt


def callback_door(services: Services, settings: DoorSettings, registry: CollectorRegistry) -> CallbackDoor:
    received = Counter(
        "quittance_provider_callbacks", "Callbacks of providers, by what was done with them.", ["provider", "receipt"],
        registry=registry,
    )  # fmt: skip
    return CallbackDoor(services, settings, received)


def callback_routes(door: CallbackDoor) -> list[Route]:
    """Return the door of every provider that tells us something: ``POST /callbacks/{provider}``."""
    return [Route("/callbacks/{provider}", door.__call__, methods=["POST"], name="callback")]
