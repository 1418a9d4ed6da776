"""The fan-out: an event is executed and encoded once for all subscribers who would get the same bytes."""

import asyncio
from collections.abc import AsyncIterable, Callable, Coroutine, Iterator, Sequence
from typing import Any

import orjson

from quittance.domain.access import Principal
from quittance.domain.cursor import encode_position
from quittance.domain.errors import InvalidCursor
from quittance.domain.event import Event, EventSelector
from quittance.gql.context import Access
from quittance.gql.deliveries import Delivery, Subscription
from quittance.gql.execution import Answer, AnswerKind, Executor, Prepared, request_error
from quittance.gql.limits import TransportLimits
from quittance.gql.masking import problem_of, unexpected
from quittance.gql.states import StateGroups
from quittance.gql.streams import EventSource, EventStream, EventTail, StateStream

_PUSHES_PER_TURN = 500
_REPLAYS_AT_ONCE = 16
_CATCH_UP_TRIES = 20
_CATCH_UP_S = 0.05

_Key = tuple[object, ...]


class Hub:
    """Knows every group of equal subscriptions, and which of them an event concerns.

    Groups stand under the narrowest identifier they select by, so that an event costs nothing to those it is not for.
    """

    def __init__(
        self, *, executor: Executor, access: Access, source: EventSource, limits: TransportLimits | None = None
    ) -> None:
        self._executor = executor
        self._access = access
        self._source = source
        self._queue_max = (limits or TransportLimits()).subscription_queue_max
        self._groups: dict[_Key, _Group] = {}
        self._index: dict[object, dict[_Group, None]] = {}
        self._tasks: dict[asyncio.Task[None], Subscription | None] = {}
        self._replays = asyncio.Semaphore(_REPLAYS_AT_ONCE)
        self._stop: Callable[[], None] | None = None
        self._states = StateGroups(spawn=self._spawn, told_of=lambda error: unexpected(error, log=executor.log))

    @property
    def groups(self) -> int:
        return len(self._groups) + len(self._states)

    @property
    def tasks(self) -> int:
        return len(self._tasks)

    async def subscribe(
        self,
        prepared: Prepared,
        principal: Principal,
        *,
        on_item: Callable[[Subscription], None],
        after: int | None = None,
    ) -> Subscription | Answer:
        """Run the subscription's resolver, which authorizes, and let its events come; or return why not.

        ``after`` overrides where the stream starts: the last event id of a client that reconnects.
        """
        stream = await self._executor.source(prepared, self._access.new_context(principal))
        if isinstance(stream, Answer):
            return stream
        if isinstance(stream, StateStream):
            return self._watch(stream, prepared, principal, on_item)
        if not isinstance(stream, EventStream):
            subscription = Subscription(position=-1, queue_max=self._queue_max, on_item=on_item)
            self._bind(subscription, lambda: self._relay(stream, prepared, principal, subscription))
            return subscription
        if after is not None and not await self._reaches(after):
            return request_error([problem_of(InvalidCursor())])
        start = stream.start if after is None else after
        subscription = Subscription(position=start, queue_max=self._queue_max, on_item=on_item)
        self._join(self._group(prepared, principal, stream), subscription)
        return subscription

    def _watch(
        self,
        stream: StateStream[Any],
        prepared: Prepared,
        principal: Principal,
        on_item: Callable[[Subscription], None],
    ) -> Subscription:
        subscription = Subscription(position=-1, queue_max=self._queue_max, on_item=on_item)

        async def render(state: object) -> Delivery:
            return _delivery(await self._execute(prepared, principal, state), None)

        key = (*_key(prepared, principal), stream.key)
        self._states.join(key, subscription, states=stream.states, render=render)
        return subscription

    async def _reaches(self, position: int) -> bool:
        """Tell whether the log reaches a position; another process may have told of it a moment before this one."""
        for _ in range(_CATCH_UP_TRIES):
            if position <= self._source.head:
                return True
            await asyncio.sleep(_CATCH_UP_S)
        return False

    async def aclose(self) -> None:
        """End every stream: the process stops."""
        if self._stop is not None:
            self._stop()
            self._stop = None
        bound = [member for member in self._tasks.values() if member is not None]
        grouped = [member for group in self._groups.values() for member in group.members]
        for member in [*bound, *grouped, *self._states.members]:
            member.end([])
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _group(self, prepared: Prepared, principal: Principal, stream: EventStream[Any]) -> "_Group":
        key = (*_key(prepared, principal), stream.selector)
        group = self._groups.get(key)
        if group is None:
            if self._stop is None:
                self._stop = self._source.listen(self._dispatch)
            tail = EventTail(source=self._source, selector=stream.selector, after=self._source.head)
            group = _Group(key=key, prepared=prepared, principal=principal, to_type=stream.to_type, tail=tail)
            self._groups[key] = group
            self._index.setdefault(_address(stream.selector), {})[group] = None
        return group

    def _join(self, group: "_Group", member: Subscription) -> None:
        if member.position >= self._source.head and member.position >= group.tail.position:
            self._enter(group, member)
        else:
            tail = EventTail(source=self._source, selector=group.tail.selector, after=member.position)
            group.replays[tail] = asyncio.Event()
            self._bind(member, lambda: self._catch_up(group, member, tail), released=lambda: self._forget(group, tail))

    def _enter(self, group: "_Group", member: Subscription) -> None:
        group.members[member] = None
        member.on_release(lambda: self._leave(group, member))
        self._wake(group)

    def _leave(self, group: "_Group", member: Subscription) -> None:
        group.members.pop(member, None)
        self._drop_if_idle(group)

    def _drop_if_idle(self, group: "_Group") -> None:
        if group.members or group.replays or self._groups.get(group.key) is not group:
            return
        del self._groups[group.key]
        address = _address(group.tail.selector)
        self._index[address].pop(group, None)
        if not self._index[address]:
            del self._index[address]

    def _dispatch(self, events: Sequence[Event]) -> None:
        """Hand events to the groups they concern; called by the source, on the loop, in order."""
        for event in events:
            for group in self._concerned(event):
                group.tail.offer(event)
                for tail, news in group.replays.items():
                    tail.offer(event)
                    news.set()
                self._wake(group)

    def _concerned(self, event: Event) -> Iterator["_Group"]:
        for address in {event.payment_id, event.account_id, event.article_id, event.merchant_id, None}:
            for group in self._index.get(address, ()):
                if group.tail.selector.matches(event):
                    yield group

    def _wake(self, group: "_Group") -> None:
        if group.task is None and group.members and group.tail.pending:
            group.task = self._spawn(self._serve(group))

    async def _serve(self, group: "_Group") -> None:
        """Execute the group's pending events in order; ends when there is none, so that idle groups cost no task."""
        try:
            while group.members and group.tail.pending:
                for event in await group.tail.take():
                    await self._share(group, event)
        except Exception as error:  # noqa: BLE001 - logged and masked; whoever watched can resume
            told = unexpected(error, log=self._executor.log)
            for member in list(group.members):
                cursor = encode_position(max(0, member.position))
                member.end([{**told, "extensions": {**told["extensions"], "retryable": True, "cursor": cursor}}])
        finally:
            group.task = None
            self._wake(group)

    async def _share(self, group: "_Group", event: Event) -> None:
        if not any(member.position < event.position for member in group.members):
            return
        delivery = await self._render(group, event)
        for number, member in enumerate(list(group.members), start=1):
            if member.position < event.position:
                member.push(delivery)
            if number % _PUSHES_PER_TURN == 0:
                await asyncio.sleep(0)

    async def _catch_up(self, group: "_Group", member: Subscription, tail: EventTail) -> None:
        """Replay for one member what it missed, then let it join exactly where the group stands."""
        news = group.replays[tail]
        while True:
            news.clear()
            for event in await tail.take():
                await member.room()
                async with self._replays:
                    member.push(await self._render(group, event))
            if not tail.pending:
                member.position = max(member.position, tail.position)
                if member.position >= group.tail.position:
                    self._enter(group, member)
                    self._forget(group, tail)
                    return
                await news.wait()  # the group is ahead only by events that were offered here too

    def _forget(self, group: "_Group", tail: EventTail) -> None:
        group.replays.pop(tail, None)
        self._drop_if_idle(group)

    async def _render(self, group: "_Group", event: Event) -> Delivery:
        try:
            root = group.to_type(event)
        except Exception as error:  # noqa: BLE001 - logged and masked
            answer = Answer(kind=AnswerKind.EXECUTED, errors=[unexpected(error, log=self._executor.log)])
        else:
            answer = await self._execute(group.prepared, group.principal, root)
        return _delivery(answer, event.position)

    async def _execute(self, prepared: Prepared, principal: Principal, root: object) -> Answer:
        return await self._executor.run(prepared, self._access.new_context(principal), root_value=root)

    async def _relay(
        self, stream: AsyncIterable[Any], prepared: Prepared, principal: Principal, member: Subscription
    ) -> None:
        """Serve a stream that is not of the event log: one subscriber, at its own pace."""
        try:
            async for value in stream:
                await member.room()
                member.push(_delivery(await self._execute(prepared, principal, value), None))
        finally:
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()
        member.end([])

    def _bind(
        self,
        member: Subscription,
        work: Callable[[], Coroutine[Any, Any, None]],
        *,
        released: Callable[[], None] = lambda: None,
    ) -> None:
        """Run ``work`` for one member: it is stopped when the member leaves, and ends the member if it fails."""

        async def guarded() -> None:
            try:
                await work()
            except Exception as error:  # noqa: BLE001 - logged and masked
                member.end([unexpected(error, log=self._executor.log)])

        task = self._spawn(guarded(), member)

        def release() -> None:
            if task is not asyncio.current_task():
                task.cancel()
            released()

        member.on_release(release)

    def _spawn(self, work: Coroutine[Any, Any, None], member: Subscription | None = None) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = member
        task.add_done_callback(self._tasks.pop)
        return task


class _Group:
    """Subscriptions that get the same bytes. ``replays`` are the tails of those who still catch up."""

    __slots__ = ("key", "members", "prepared", "principal", "replays", "tail", "task", "to_type")

    def __init__(
        self,
        *,
        key: _Key,
        prepared: Prepared,
        principal: Principal,
        to_type: Callable[[Event], Any],
        tail: EventTail,
    ) -> None:
        self.key = key
        self.prepared = prepared
        self.principal = principal
        self.to_type = to_type
        self.tail = tail
        self.members: dict[Subscription, None] = {}
        self.replays: dict[EventTail, asyncio.Event] = {}
        self.task: asyncio.Task[None] | None = None


def _delivery(answer: Answer, position: int | None) -> Delivery:
    payload = answer.encode()
    cursor = None if position is None else encode_position(position)
    return Delivery(payload, payload.decode(), position, cursor)


def _key(prepared: Prepared, principal: Principal) -> _Key:
    """Return what decides which bytes a subscriber gets of one event."""
    return prepared.document.key, prepared.operation.name, _canonical_variables(prepared), principal


def _canonical_variables(prepared: Prepared) -> bytes:
    """Return the variables that shape the payload: those that only say where to start do not."""
    skipped = prepared.operation.cursor_variables
    shaping = {name: value for name, value in prepared.variables.items() if name not in skipped}
    return orjson.dumps(shaping, option=orjson.OPT_SORT_KEYS)


def _address(selector: EventSelector) -> object:
    return selector.payment_id or selector.account_id or selector.article_id or selector.merchant_id
