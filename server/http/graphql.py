"""The GraphQL door over HTTP: queries, mutations, and subscriptions as server-sent events."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from quittance.domain.access import Principal
from quittance.domain.errors import RateLimited, Unauthenticated
from quittance.gql.context import Access, Credentials
from quittance.gql.deliveries import Delivery, End
from quittance.gql.documents import GraphQLRequest
from quittance.gql.execution import Answer, AnswerKind, Executor, Prepared, request_error
from quittance.gql.hub import Hub
from quittance.gql.limits import TransportLimits
from quittance.gql.masking import RequestRefused, problem, problem_of
from quittance.server.http.requests import BadRequest, read_get, read_post

RESPONSE_JSON = "application/graphql-response+json"
PLAIN_JSON = "application/json"
EVENT_STREAM = "text/event-stream"
HTML = "text/html"
_ANY = frozenset({"*/*", "application/*"})
_HEADERS = {"Cache-Control": "no-store", "Vary": "Accept, Authorization", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphQLDoor:
    """Everything a request needs; one for the whole process."""

    executor: Executor
    hub: Hub
    access: Access
    limits: TransportLimits
    playground: Callable[[Request], Response] | None
    client_address: Callable[[Request], str]

    async def __call__(self, request: Request) -> Response:
        media = _accepted(request)
        if request.method == "GET" and self._wants_page(request):
            return self.playground(request) if self.playground is not None else _plain(404, "the playground is off")
        if media is None:
            return _plain(406, f"Accept must allow {RESPONSE_JSON}, {PLAIN_JSON} or {EVENT_STREAM}")
        try:
            principal = await self._caller(request)
            read = read_get if request.method == "GET" else read_post
            parsed = await read(request, self.limits)
        except BadRequest as error:
            return _json(media, request_error([problem(error.message, error.code)]), status=error.status)
        except RateLimited as error:
            headers = {"Retry-After": str(error.retry_after_s)}
            return _json(media, request_error([problem_of(error)]), status=429, headers=headers)
        except Unauthenticated as error:
            headers = {"WWW-Authenticate": 'Bearer realm="quittance"'}
            return _json(media, request_error([problem_of(error)]), status=401, headers=headers)
        except ClientDisconnect:
            return Response(status_code=400)
        if isinstance(parsed, list):
            return await self._batch(parsed, principal, media)
        return await self._answer(request, parsed, principal, media)

    def _wants_page(self, request: Request) -> bool:
        accept = request.headers.get("accept", "")
        return HTML in accept and "query" not in request.query_params and "documentId" not in request.query_params

    async def _caller(self, request: Request) -> Principal:
        address = self.client_address(request)
        authorization = request.headers.get("authorization")
        principal = await self.access.authenticate(Credentials(authorization=authorization, address=address))
        await self.access.admit(principal, address)
        return principal

    async def _batch(self, requests: list[GraphQLRequest], principal: Principal, media: str) -> Response:
        answers = [
            await self.executor.execute(one, self.access.new_context(principal), allow_mutation=True)
            for one in requests
        ]
        body = b"[" + b",".join(answer.encode() for answer in answers) + b"]"
        return Response(body, media_type=media, headers=_HEADERS)

    async def _answer(self, request: Request, parsed: GraphQLRequest, principal: Principal, media: str) -> Response:
        try:
            prepared = self.executor.prepare(parsed)
        except RequestRefused as refusal:
            return _json(media, request_error(refusal.problems))
        kind = prepared.operation.kind
        if kind == "mutation" and request.method == "GET":
            answer = request_error([problem("a mutation must be sent by POST", "MUTATION_NOT_ALLOWED")])
            return _json(media, answer, status=405, headers={"Allow": "POST"})
        context = self.access.new_context(principal)
        if kind == "subscription":
            if media != EVENT_STREAM:
                message = f"a subscription needs a websocket, or Accept: {EVENT_STREAM}"
                return _json(media, request_error([problem(message, "SUBSCRIPTION_NOT_ALLOWED")]), status=400)
            return _events(self._stream(prepared, principal))
        answer = await self.executor.run(prepared, context)
        return _events(_single(answer)) if media == EVENT_STREAM else _json(media, answer)

    async def _stream(self, prepared: Prepared, principal: Principal) -> AsyncIterator[bytes]:
        news = asyncio.Event()
        subscription = await self.hub.subscribe(prepared, principal, on_item=lambda _: news.set())
        if isinstance(subscription, Answer):
            async for frame in _single(subscription):
                yield frame
            return
        try:
            yield b":\n\n"
            while True:
                news.clear()
                while (item := subscription.pop()) is not None:
                    yield _frame_of(item)
                    if isinstance(item, End):
                        return
                if not await _within(news.wait(), self.limits.sse_keepalive_s):
                    if not await self.access.still_valid(principal):
                        subscription.end([problem_of(Unauthenticated())])
                    yield b":\n\n"
        finally:
            subscription.cancel()


async def _within(waiting: Awaitable[object], timeout_s: float) -> bool:
    try:
        await asyncio.wait_for(waiting, timeout_s)
    except TimeoutError:
        return False
    return True


def _frame_of(item: Delivery | End) -> bytes:
    if isinstance(item, Delivery):
        return _frame(item.text, item.cursor)
    return (_frame(_errors(item.problems), None) if item.problems else b"") + _COMPLETE


_COMPLETE = b"event: complete\ndata:\n\n"


def _errors(problems: list[dict[str, Any]]) -> str:
    return orjson.dumps({"errors": problems}).decode()


def _frame(payload: str, cursor: str | None) -> bytes:
    lines = "".join(f"data: {line}\n" for line in payload.split("\n"))
    return f"event: next\n{f'id: {cursor}' + chr(10) if cursor else ''}{lines}\n".encode()


async def _single(answer: Answer) -> AsyncIterator[bytes]:
    yield _frame(answer.encode().decode(), None)
    yield _COMPLETE


def _events(frames: AsyncIterator[bytes]) -> Response:
    return StreamingResponse(frames, media_type=EVENT_STREAM, headers={**_HEADERS, "X-Accel-Buffering": "no"})


def _json(media: str, answer: Answer, *, status: int | None = None, headers: dict[str, str] | None = None) -> Response:
    """Return the answer with the status that its media type asks for.

    ``application/json`` is for clients that take any non-2xx for a broken transport: a well-formed request is
    answered 200 there, even when the document is refused.
    """
    shown = RESPONSE_JSON if media == EVENT_STREAM else media
    if status is None:
        refused = answer.kind is AnswerKind.REQUEST_ERROR
        status = 400 if refused and shown == RESPONSE_JSON else 200
    return Response(answer.encode(), status_code=status, media_type=shown, headers=_HEADERS | (headers or {}))


def _plain(status: int, text: str) -> Response:
    return Response(text + "\n", status_code=status, media_type="text/plain", headers=_HEADERS)


def _accepted(request: Request) -> str | None:
    """Return the media type to answer in, or None when the client takes none of ours."""
    accept = request.headers.get("accept")
    if not accept:
        return PLAIN_JSON
    wanted = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    if EVENT_STREAM in wanted:
        return EVENT_STREAM
    for media in wanted:
        if media in {RESPONSE_JSON, PLAIN_JSON}:
            return media
    return PLAIN_JSON if _ANY.intersection(wanted) else None


def graphql_routes(door: GraphQLDoor) -> list[BaseRoute]:
    """Return the HTTP route of ``/graphql``."""

    async def answer(request: Request) -> Response:
        return await door(request)

    return [Route("/graphql", answer, methods=["GET", "POST"], name="graphql")]
