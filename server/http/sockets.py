"""GraphQL over websockets: the ``graphql-transport-ws`` protocol, one reader and one writer for each socket."""

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any

import orjson
import structlog
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from quittance.domain.access import ANONYMOUS, Principal
from quittance.domain.errors import QuittanceError, RateLimited, Unauthenticated
from quittance.gql.deliveries import Delivery, Subscription
from quittance.gql.documents import GraphQLRequest
from quittance.gql.execution import Answer, AnswerKind
from quittance.gql.limits import LimitExceeded
from quittance.gql.masking import Problem, RequestRefused, problem, problem_of, unexpected
from quittance.server.http.door import Door
from quittance.server.http.graphql_request import HttpRefusal, request_of
from quittance.server.http.socket_messages import (
    FORBIDDEN,
    INIT_TIMEOUT,
    INTERNAL_ERROR,
    INVALID_MESSAGE,
    SUBPROTOCOL,
    SUBPROTOCOL_NOT_ACCEPTABLE,
    SUBSCRIBER_EXISTS,
    TERMINATED,
    TOO_MANY_INITS,
    UNAUTHORIZED,
    Payload,
    SocketClose,
    credentials_of,
    id_of,
    parse_message,
    payload_of,
)

log = structlog.get_logger("quittance.sockets")

_REASON_BYTES_MAX = 120
_REPLIES_MAX = 64
_CLOSE_GRACE_S = 2.0


class GraphQLSockets:
    """The ASGI application behind the path: decides who may open a socket, then leaves it to one."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (await receive())["type"] != "websocket.connect":
            return
        headers = Headers(scope=scope)
        if not self._door.trusts_origin(headers):
            await _deny(scope, send, 403, problem("sockets from pages of this site are not allowed", "FORBIDDEN"))
            return
        address = self._door.settings.client_address(scope)
        try:
            place = self._door.connections.one(address)
            with place:
                if SUBPROTOCOL not in scope.get("subprotocols", ()):
                    await send({"type": "websocket.accept"})
                    reason = "Subprotocol not acceptable"
                    await send({"type": "websocket.close", "code": SUBPROTOCOL_NOT_ACCEPTABLE, "reason": reason})
                    return
                await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
                # a browser adds what it knows of a site by itself, so from a page only the payload counts
                authorization = None if "origin" in headers else headers.get("authorization")
                await _Socket(self._door, address, authorization, receive, send).run()
        except LimitExceeded as error:
            await _deny(scope, send, 429, problem_of(error))


async def _deny(scope: Scope, send: Send, status: int, told: Problem) -> None:
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"application/json; charset=utf-8"), (b"cache-control", b"no-store")]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": orjson.dumps({"errors": [told]})})


class _Operation:
    """One id in use: a query or mutation that runs, or a subscription."""

    __slots__ = ("head", "id", "mutates", "subscription", "task")

    def __init__(self, id_: str) -> None:
        self.id = id_
        self.head = f'{{"id":{orjson.dumps(id_).decode()},"type":"next","payload":'
        self.subscription: Subscription | None = None
        self.task: asyncio.Task[None] | None = None
        self.mutates = False

    def cancel(self) -> None:
        """Stop; but what may be moving money is left to its end, heard or not."""
        if self.subscription is not None:
            self.subscription.cancel()
        if self.task is not None and not self.mutates:
            self.task.cancel()


class _Socket:
    """The reader turns messages into operations, the writer sends what lies in the outbox; timers watch both."""

    __slots__ = (
        "_address", "_authorization", "_calm", "_check_due", "_closing", "_door", "_gone", "_init_seen",
        "_last_resort", "_loop", "_news", "_operations", "_outbox", "_ping_sent", "_principal", "_receive",
        "_replies", "_send", "_stalled", "_timer", "_writer",
    )  # fmt: skip

    def __init__(self, door: Door, address: str, authorization: str | None, receive: Receive, send: Send) -> None:
        self._door = door
        self._address = address
        self._authorization = authorization
        self._receive = receive
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._writer: asyncio.Task[Any] | None = asyncio.current_task()
        self._principal: Principal | None = None
        self._init_seen = False
        self._operations: dict[str, _Operation] = {}
        self._outbox: deque[str | _Operation] = deque()
        self._replies = 0
        self._news = asyncio.Event()
        self._calm = asyncio.Event()
        self._closing: SocketClose | None = None
        self._gone = False
        self._stalled = False
        self._check_due = False
        self._ping_sent = False
        self._timer: asyncio.TimerHandle | None = None
        self._last_resort: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        timeout = SocketClose(INIT_TIMEOUT, "Connection initialisation timeout")
        self._timer = self._loop.call_later(self._door.settings.limits.init_timeout_s, self._close, timeout)
        reader = self._loop.create_task(self._read())
        try:
            await self._write()
        except OSError:
            pass  # the client is gone
        except asyncio.CancelledError:
            if not self._stalled:
                raise
            assert self._writer is not None
            self._writer.uncancel()
        finally:
            await self._clean_up(reader)

    async def _clean_up(self, reader: asyncio.Task[None]) -> None:
        for timer in (self._timer, self._last_resort):
            if timer is not None:
                timer.cancel()
        tasks = [reader, *(operation.task for operation in self._operations.values() if operation.task)]
        for operation in self._operations.values():
            operation.cancel()
        reader.cancel()
        self._operations.clear()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _close(self, close: SocketClose) -> None:
        """Let the writer close the socket; if it is stuck, give up on it."""
        if self._closing is None:
            self._closing = close
            self._news.set()
            self._last_resort = self._loop.call_later(_CLOSE_GRACE_S, self._give_up)

    def _give_up(self) -> None:
        self._stalled = True
        if self._writer is not None:
            self._writer.cancel()

    # The writer

    async def _write(self) -> None:
        while not self._gone:
            if self._closing is not None:
                reason = self._closing.reason.encode()[:_REASON_BYTES_MAX].decode(errors="ignore")
                await self._send({"type": "websocket.close", "code": self._closing.code, "reason": reason})
                return
            if self._outbox:
                await self._write_one(self._outbox.popleft())
            elif self._check_due:
                await self._check()
            else:
                self._news.clear()
                await self._news.wait()

    async def _write_one(self, entry: str | _Operation) -> None:
        if isinstance(entry, str):
            self._replies -= 1
            if self._replies <= _REPLIES_MAX // 2:
                self._calm.set()
            await self._send({"type": "websocket.send", "text": entry})
            return
        item = entry.subscription.pop() if entry.subscription is not None else None
        if isinstance(item, Delivery):
            await self._send({"type": "websocket.send", "text": f"{entry.head}{item.text}}}"})
        elif item is not None:
            self._finish(entry, item.problems)

    async def _check(self) -> None:
        """Close the socket of a key that was revoked."""
        self._check_due = False
        if self._principal is None or self._principal == ANONYMOUS:
            return
        try:
            valid = await self._door.access.still_valid(self._principal)
        except Exception:
            log.exception("credential_check_failed")
            return
        if not valid:
            self._close(SocketClose(FORBIDDEN, "Forbidden"))

    def _reply(self, type_: str, **members: object) -> None:
        self._replies += 1
        self._outbox.append(orjson.dumps({"type": type_, **members}).decode())
        self._news.set()

    def _finish(self, operation: _Operation, problems: list[Problem]) -> None:
        """Tell the client that an operation is over, and free its id."""
        if self._operations.get(operation.id) is operation:
            del self._operations[operation.id]
            if problems:
                self._reply("error", id=operation.id, payload=problems)
            else:
                self._reply("complete", id=operation.id)

    # The reader

    async def _read(self) -> None:
        try:
            while True:
                message = await self._receive()
                if message["type"] == "websocket.disconnect":
                    self._gone = True
                    self._news.set()
                    return
                await self._handle(parse_message(message, bytes_max=self._door.settings.limits.message_bytes_max))
                while self._replies > _REPLIES_MAX:  # who floods us with pings reads the answers first
                    self._calm.clear()
                    await self._calm.wait()
        except SocketClose as close:
            self._close(close)
        except Exception as error:  # noqa: BLE001 - logged and masked
            unexpected(error, log=log)
            self._close(SocketClose(INTERNAL_ERROR, "Internal server error"))

    async def _handle(self, message: Payload) -> None:
        match message["type"]:
            case "connection_init":
                await self._initialise(payload_of(message))
            case "ping":
                payload = message.get("payload")
                self._reply("pong", **({} if payload is None else {"payload": payload}))
            case "pong":
                if self._ping_sent:
                    self._ping_later()
            case "subscribe":
                self._subscribe(message)
            case "complete":
                operation = self._operations.get(id_of(message))
                if operation is not None and not operation.mutates:
                    del self._operations[operation.id]
                    operation.cancel()
            case _:
                raise SocketClose(INVALID_MESSAGE, "Invalid message received")

    async def _initialise(self, payload: Mapping[str, object]) -> None:
        if self._init_seen:
            raise SocketClose(TOO_MANY_INITS, "Too many initialisation requests")
        self._init_seen = True
        try:
            principal = await self._door.access.authenticate(
                credentials_of(payload, authorization=self._authorization, address=self._address)
            )
            await self._door.access.admit(principal, self._address)
        except Unauthenticated as error:
            raise SocketClose(FORBIDDEN, "Forbidden") from error
        except RateLimited as error:
            raise SocketClose(TOO_MANY_INITS, "Too many requests") from error
        self._principal = principal
        self._ping_later()
        self._reply("connection_ack")

    def _ping_later(self) -> None:
        self._ping_sent = False
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._door.settings.limits.ping_interval_s, self._ping)

    def _ping(self) -> None:
        self._check_due = self._ping_sent = True
        self._reply("ping")
        terminated = SocketClose(TERMINATED, "Terminated")
        self._timer = self._loop.call_later(self._door.settings.limits.pong_timeout_s, self._close, terminated)

    # Operations

    def _subscribe(self, message: Payload) -> None:
        if self._principal is None:
            raise SocketClose(UNAUTHORIZED, "Unauthorized")
        id_ = id_of(message)
        if id_ in self._operations:
            raise SocketClose(SUBSCRIBER_EXISTS, f"Subscriber for {id_} already exists")
        try:
            request = request_of(message.get("payload"))
        except HttpRefusal as error:
            raise SocketClose(INVALID_MESSAGE, "Invalid message received") from error
        if len(self._operations) >= self._door.settings.limits.subscriptions_per_socket_max:
            told = problem("too many operations on this socket", LimitExceeded.code)
            self._reply("error", id=id_, payload=[told])
            return
        operation = self._operations[id_] = _Operation(id_)
        operation.task = self._loop.create_task(self._operate(operation, request, self._principal))

    async def _operate(self, operation: _Operation, request: GraphQLRequest, principal: Principal) -> None:
        try:
            await self._door.access.admit(principal, self._address)
            await self._start(operation, request, principal)
        except RequestRefused as refused:
            self._finish(operation, refused.problems)
        except QuittanceError as error:
            self._finish(operation, [problem_of(error)])
        except Exception as error:  # noqa: BLE001 - logged and masked
            self._finish(operation, [unexpected(error, log=log)])
        finally:
            operation.task = None

    async def _start(self, operation: _Operation, request: GraphQLRequest, principal: Principal) -> None:
        prepared = self._door.executor.prepare(request)
        operation.mutates = prepared.operation.kind == "mutation"
        if prepared.operation.kind == "subscription":
            result = await self._door.hub.subscribe(prepared, principal, on_item=lambda _: self._announce(operation))
            if isinstance(result, Answer):
                self._finish(operation, result.errors)
            else:
                operation.subscription = result
            return
        answer = await self._door.executor.run(prepared, self._door.access.new_context(principal))
        if answer.kind is AnswerKind.REQUEST_ERROR:
            self._finish(operation, answer.errors)
        elif self._operations.get(operation.id) is operation:
            self._reply("next", id=operation.id, payload=answer.as_response())
            self._finish(operation, [])

    def _announce(self, operation: _Operation) -> None:
        self._outbox.append(operation)
        self._news.set()
