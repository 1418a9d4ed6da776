"""The GraphQL door over WebSocket: the ``graphql-transport-ws`` protocol."""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
import structlog
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from quittance.domain.access import ANONYMOUS, Principal
from quittance.domain.errors import RateLimited, Unauthenticated
from quittance.gql.context import Access, Credentials
from quittance.gql.deliveries import Delivery, Subscription
from quittance.gql.execution import Answer, AnswerKind, Executor, Prepared
from quittance.gql.hub import Hub
from quittance.gql.limits import TransportLimits
from quittance.gql.masking import Problem, RequestRefused, problem, problem_of
from quittance.server.http.requests import BadRequest, request_of

log = structlog.get_logger("quittance.sockets")

PROTOCOL: Final = "graphql-transport-ws"
_ID_MAX: Final = 128
LIMIT_EXCEEDED: Final = "LIMIT_EXCEEDED"


class CloseSocket(Exception):
    """The protocol is broken, or the caller may not go on: close with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(slots=True)
class SocketDoor:
    """Every socket of the process, with what they share."""

    executor: Executor
    hub: Hub
    access: Access
    limits: TransportLimits
    client_address: Callable[[WebSocket], str]
    allowed_origins: frozenset[str] = frozenset()
    sockets: set["Socket"] = field(default_factory=set)
    per_address: Counter[str] = field(default_factory=Counter)

    async def __call__(self, websocket: WebSocket) -> None:
        address = self.client_address(websocket)
        refusal = self._refusal(websocket, address)
        if refusal is not None:
            await websocket.accept(PROTOCOL if PROTOCOL in websocket.scope["subprotocols"] else None)
            await websocket.close(refusal.code, refusal.reason)
            return
        socket = Socket(self, websocket, address)
        self.sockets.add(socket)
        self.per_address[address] += 1
        try:
            await websocket.accept(PROTOCOL)
            await socket.run()
        finally:
            self.sockets.discard(socket)
            self.per_address[address] -= 1
            if not self.per_address[address]:
                del self.per_address[address]

    async def watch(self) -> None:
        """Ping every socket now and then; close those that do not answer or whose key was revoked."""
        while True:
            await asyncio.sleep(self.limits.ping_interval_s)
            for socket in list(self.sockets):
                await socket.check_alive()

    def _refusal(self, websocket: WebSocket, address: str) -> CloseSocket | None:
        if PROTOCOL not in websocket.scope["subprotocols"]:
            return CloseSocket(4406, "Subprotocol not acceptable")
        if not self._origin_is_allowed(websocket):
            return CloseSocket(4403, "Forbidden: this origin is not allowed")
        if len(self.sockets) >= self.limits.sockets_max:
            return CloseSocket(4503, "Too many sockets")
        if self.per_address[address] >= self.limits.sockets_per_address_max:
            return CloseSocket(4429, "Too many sockets from this address")
        return None

    def _origin_is_allowed(self, websocket: WebSocket) -> bool:
        """A browser always says where its page comes from; nobody else needs to."""
        origin = websocket.headers.get("origin")
        if origin is None or origin in self.allowed_origins:
            return True
        return urlsplit(origin).netloc == websocket.headers.get("host")


class Socket:
    """One connection: its caller, its operations, and the frames that wait to be sent."""

    def __init__(self, door: SocketDoor, websocket: WebSocket, address: str) -> None:
        self._door = door
        self._websocket = websocket
        self._address = address
        self._principal: Principal | None = None
        self._operations: dict[str, Operation] = {}
        self._frames: deque[str | tuple[Operation, Subscription]] = deque()
        self._sender: asyncio.Task[None] | None = None
        self._unanswered_ping_at: float | None = None
        self._closing: CloseSocket | None = None

    async def run(self) -> None:
        """Serve the connection until either side ends it."""
        try:
            await self._handshake()
            while True:
                await self._take(await self._receive())
        except CloseSocket as close:
            await self._close(close)
        except WebSocketDisconnect:
            pass
        finally:
            await self._end_operations()

    def send(self, frame: str) -> None:
        """Queue a frame; a task drains the queue only while there is something in it."""
        self._frames.append(frame)
        if self._sender is None:
            self._sender = asyncio.create_task(self._drain())

    def queue(self, operation: "Operation", subscription: Subscription) -> None:
        """Queue the place of one item of a subscription."""
        self._frames.append((operation, subscription))
        if self._sender is None:
            self._sender = asyncio.create_task(self._drain())

    async def check_alive(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._principal is None:
            return
        silent = (
            self._unanswered_ping_at is not None and now - self._unanswered_ping_at > self._door.limits.pong_timeout_s
        )
        if silent:
            await self._close(CloseSocket(4408, "No pong"))
        elif not await self._door.access.still_valid(self._principal):
            await self._close(CloseSocket(4401, "Unauthorized: the credential does not hold any more"))
        else:
            self._unanswered_ping_at = self._unanswered_ping_at or now
            self.send('{"type":"ping"}')

    def forget(self, operation_id: str) -> None:
        self._operations.pop(operation_id, None)

    async def _handshake(self) -> None:
        try:
            async with asyncio.timeout(self._door.limits.init_timeout_s):
                message = await self._receive()
        except TimeoutError:
            raise CloseSocket(4408, "Connection initialisation timeout") from None
        if message["type"] != "connection_init":
            raise CloseSocket(4401, "Unauthorized")
        payload = message.get("payload") or {}
        if not isinstance(payload, dict):
            raise CloseSocket(4400, "connection_init: payload must be an object")
        try:
            principal = await self._door.access.authenticate(_credentials(payload, self._address))
            await self._door.access.admit(principal, self._address)
        except Unauthenticated as error:
            raise CloseSocket(4403, "Forbidden") from error
        except RateLimited as error:
            raise CloseSocket(4429, "Too many requests") from error
        self._principal = principal
        self.send('{"type":"connection_ack"}')

    async def _receive(self) -> dict[str, Any]:
        raw = await self._websocket.receive()
        if raw["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(raw.get("code", 1005))
        text = raw.get("text")
        if text is None or len(text) > self._door.limits.message_bytes_max:
            raise CloseSocket(4400, "Messages are JSON text within the size limit")
        try:
            message = orjson.loads(text)
        except orjson.JSONDecodeError:
            raise CloseSocket(4400, "Invalid message: not JSON") from None
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            raise CloseSocket(4400, "Invalid message: it needs a type")
        return message

    async def _take(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "connection_init":
                raise CloseSocket(4429, "Too many initialisation requests")
            case "ping":
                self.send('{"type":"pong"}')
            case "pong":
                self._unanswered_ping_at = None
            case "subscribe":
                await self._subscribe(message)
            case "complete":
                operation = self._operations.pop(_id_of(message), None)
                if operation is not None:
                    operation.stop()
            case _:
                raise CloseSocket(4400, "Invalid message: unknown type")

    async def _subscribe(self, message: dict[str, Any]) -> None:
        operation_id = _id_of(message)
        if operation_id in self._operations:
            raise CloseSocket(4409, f"Subscriber for {operation_id} already exists")
        principal = self._principal or ANONYMOUS
        operation = Operation(self, operation_id)
        if len(self._operations) >= self._door.limits.subscriptions_per_socket_max:
            self.send(
                operation.last([problem("too many operations on this socket; complete one first", LIMIT_EXCEEDED)])
            )
            return
        try:
            await self._door.access.admit(principal, self._address)
            prepared = self._door.executor.prepare(request_of(message.get("payload")))
        except BadRequest as error:
            raise CloseSocket(4400, f"Invalid message: {error.message}") from None
        except RateLimited as error:
            self.send(operation.last([problem_of(error)]))
            return
        except RequestRefused as refusal:
            self.send(operation.last(refusal.problems))
            return
        self._operations[operation_id] = operation
        operation.start(_operate(self._door, operation, prepared, principal))

    async def _drain(self) -> None:
        try:
            while self._frames:
                frame = self._text(self._frames.popleft())
                if frame is not None:
                    await self._websocket.send({"type": "websocket.send", "text": frame})
            if self._closing is not None:
                await self._websocket.close(self._closing.code, self._closing.reason)
        except (WebSocketDisconnect, RuntimeError, OSError):
            self._frames.clear()  # the peer is gone; the receiving side ends the connection
        finally:
            self._sender = None

    def _text(self, queued: "str | tuple[Operation, Subscription]") -> str | None:
        if isinstance(queued, str):
            return queued
        operation, subscription = queued
        item = subscription.pop()
        if isinstance(item, Delivery):
            return operation.next(item.text)
        if item is None:
            return None
        self.forget(operation.id)
        return operation.last(item.problems)

    async def _close(self, close: CloseSocket) -> None:
        """Send what waits, then the close frame."""
        if self._closing is not None:
            return
        self._closing = close
        if self._sender is None:
            self._sender = asyncio.create_task(self._drain())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._sender), self._door.limits.pong_timeout_s)

    async def _end_operations(self) -> None:
        for operation in list(self._operations.values()):
            operation.stop()
        self._operations.clear()
        sender = self._sender
        if sender is not None and self._websocket.client_state is WebSocketState.DISCONNECTED:
            sender.cancel()


class Operation:
    """One subscribe message: a task while it works, a place in a hub's group while it waits."""

    __slots__ = ("_head", "_socket", "id", "subscription", "task")

    def __init__(self, socket: Socket, operation_id: str) -> None:
        self.id = operation_id
        self.subscription: Subscription | None = None
        self.task: asyncio.Task[None] | None = None
        self._socket = socket
        self._head = f'{{"id":{orjson.dumps(operation_id).decode()},"type":'

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        self.task = asyncio.create_task(work)

    def next(self, payload: str) -> str:
        """Return the frame of one response."""
        return f'{self._head}"next","payload":{payload}}}'

    def send(self, payload: str) -> None:
        self._socket.send(self.next(payload))

    def ready(self, subscription: Subscription) -> None:
        """Queue one item of the hub: it is taken when its turn to be sent comes."""
        self._socket.queue(self, subscription)

    def finish(self, problems: list[Problem]) -> None:
        """Say that nothing follows: an error if there is one, else complete."""
        self._socket.send(self.last(problems))
        self._socket.forget(self.id)

    def last(self, problems: list[Problem]) -> str:
        if problems:
            return f'{self._head}"error","payload":{orjson.dumps(problems).decode()}}}'
        return f'{self._head}"complete"}}'

    def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
        if self.subscription is not None:
            self.subscription.cancel()


async def _operate(door: SocketDoor, operation: Operation, prepared: Prepared, principal: Principal) -> None:
    if prepared.operation.kind == "subscription":
        subscription = await door.hub.subscribe(prepared, principal, on_item=operation.ready)
        if isinstance(subscription, Answer):
            operation.finish(subscription.errors)
            return
        operation.subscription = subscription
        operation.task = None
        return
    answer = await door.executor.run(prepared, door.access.new_context(principal))
    if answer.kind is AnswerKind.REQUEST_ERROR:
        operation.finish(answer.errors)
        return
    operation.send(answer.encode().decode())
    operation.finish([])


def _id_of(message: dict[str, Any]) -> str:
    operation_id = message.get("id")
    if not isinstance(operation_id, str) or not 0 < len(operation_id) <= _ID_MAX:
        raise CloseSocket(4400, "Invalid message: id must be a short, non-empty string")
    return operation_id


def _credentials(payload: dict[str, Any], address: str) -> Credentials:
    """Return what ``connection_init`` shows: Authorization, an apiKey, or a clientSecret."""
    said = {name.lower(): value for name, value in payload.items() if isinstance(value, str)}
    authorization = said.get("authorization")
    if authorization is None and "apikey" in said:
        authorization = f"Bearer {said['apikey']}"
    return Credentials(authorization=authorization, client_secret=said.get("clientsecret"), address=address)


def socket_routes(door: SocketDoor) -> list[BaseRoute]:
    """Return the WebSocket route of ``/graphql``."""

    async def serve(websocket: WebSocket) -> None:
        await door(websocket)

    return [WebSocketRoute("/graphql", serve, name="graphql-ws")]
