"""The hub and the streams it shares: each event once, in order, whatever the interleaving."""

import asyncio
from collections.abc import AsyncIterable, Callable
from typing import Any

import orjson
import pytest
import strawberry
from hypothesis import given, settings
from hypothesis import strategies as st

from quittance.domain.access import ANONYMOUS, Principal
from quittance.domain.cursor import decode_position, encode_position
from quittance.domain.errors import PermissionDenied
from quittance.domain.event import EventKind, EventSelector
from quittance.domain.ids import PaymentId
from quittance.gql.context import Credentials
from quittance.gql.deliveries import Delivery, End, Subscription
from quittance.gql.documents import DocumentStore, GraphQLRequest
from quittance.gql.execution import Answer, Executor
from quittance.gql.hub import Hub
from quittance.gql.limits import DocumentLimits, TransportLimits
from quittance.gql.streams import EventStream

SETTLED = frozenset({EventKind.PAYMENT_SETTLED})
TICKS = "subscription ($after: String, $payment: ID) { ticked(paymentId: $payment, after: $after) { position } }"


class Access:
    """Lets everybody in, and counts the contexts: one for each execution."""

    def __init__(self, log: Any) -> None:
        self.log = log
        self.executed = 0

    async def authenticate(self, credentials: Credentials) -> Principal:  # noqa: ARG002
        return ANONYMOUS

    async def admit(self, principal: Principal, address: str) -> None:  # noqa: ARG002
        return None

    async def still_valid(self, principal: Principal) -> bool:  # noqa: ARG002
        return True

    def new_context(self, principal: Principal) -> "Access":  # noqa: ARG002
        return self


@strawberry.type
class Tick:
    position: int

    @strawberry.field
    async def slow(self, info: strawberry.Info[Access, None]) -> int:
        info.context.executed += 1
        await asyncio.sleep(0)
        return self.position


@strawberry.type
class Query:
    nothing: str | None = None


@strawberry.type
class Subscriptions:
    @strawberry.subscription
    async def ticked(
        self,
        info: strawberry.Info[Access, None],
        payment_id: strawberry.ID | None = None,
        after: str | None = None,
    ) -> AsyncIterable[Tick]:
        if payment_id == "forbidden":
            raise PermissionDenied("payments:read")
        selector = EventSelector(kinds=SETTLED, payment_id=PaymentId(payment_id) if payment_id else None)
        position = None if after is None else decode_position(after)
        return EventStream(
            source=info.context.log,
            selector=selector,
            after=position,
            to_type=lambda event: Tick(position=event.position),
        )

    @strawberry.subscription
    async def counted(self) -> AsyncIterable[int]:
        yield 1
        yield 2


class Stage:
    """A hub over a log, and subscribers who note what they got."""

    def __init__(self, log: Any, *, queue_max: int = 1_000) -> None:
        self.log = log
        self.access = Access(self.log)
        schema = strawberry.Schema(Query, subscription=Subscriptions)
        documents = DocumentStore(schema=schema._schema, limits=DocumentLimits())
        self.executor = Executor(schema=schema, documents=documents)
        limits = TransportLimits(subscription_queue_max=queue_max)
        self.hub = Hub(executor=self.executor, access=self.access, source=self.log, limits=limits)

    async def subscribe(
        self, query: str = TICKS, *, lazy: bool = False, **variables: Any
    ) -> tuple[Subscription, list[Delivery | End]]:
        got: list[Delivery | End] = []

        def on_item(subscription: Subscription) -> None:
            if not lazy:
                item = subscription.pop()
                assert item is not None
                got.append(item)

        prepared = self.executor.prepare(GraphQLRequest(query=query, variables=variables))
        subscription = await self.hub.subscribe(prepared, ANONYMOUS, on_item=on_item)
        assert isinstance(subscription, Subscription)
        return subscription, got

    async def settle(self) -> None:
        for _ in range(500):
            await asyncio.sleep(0)
            if self.hub.tasks == 0:
                return


NewStage = Callable[..., Stage]


@pytest.fixture(scope="session")
def new_stage(new_log: Any) -> NewStage:
    return lambda **options: Stage(new_log(), **options)


def positions(got: list[Delivery | End]) -> list[int]:
    return [item.position for item in got if isinstance(item, Delivery) and item.position is not None]


async def test_one_execution_and_one_encoding_serve_all(new_stage: NewStage) -> None:
    stage = new_stage()
    query = "subscription { ticked { slow } }"
    all_got = [(await stage.subscribe(query))[1] for _ in range(50)]

    stage.log.append()
    await stage.settle()

    assert stage.access.executed == 1
    payloads = {id(got[0].payload) for got in all_got if isinstance(got[0], Delivery)}
    assert len(payloads) == 1
    assert [positions(got) for got in all_got] == [[1]] * 50
    assert isinstance(all_got[0][0], Delivery)
    assert orjson.loads(all_got[0][0].payload) == {"data": {"ticked": {"slow": 1}}}


async def test_the_cursor_does_not_split_a_group(new_stage: NewStage) -> None:
    stage = new_stage()
    stage.log.append(count=3)
    _, first = await stage.subscribe(after=encode_position(0))
    _, second = await stage.subscribe(after=encode_position(2))
    await stage.settle()

    stage.log.append()
    await stage.settle()

    assert stage.hub.groups == 1
    assert positions(first) == [1, 2, 3, 4]
    assert positions(second) == [3, 4]


async def test_groups_for_other_payments_cost_nothing(new_stage: NewStage) -> None:
    stage = new_stage()
    got = [(await stage.subscribe(payment=f"pay_{number}"))[1] for number in range(200)]

    stage.log.append(payment="pay_7")

    assert stage.hub.groups == 200
    assert stage.hub.tasks == 1
    await stage.settle()
    assert [number for number, items in enumerate(got) if items] == [7]


async def test_a_slow_subscriber_ends_with_the_cursor_to_resume_from(new_stage: NewStage) -> None:
    stage = new_stage(queue_max=4)
    slow, _ = await stage.subscribe(lazy=True)
    _, quick = await stage.subscribe()

    stage.log.append(count=10)
    await stage.settle()

    items = [slow.pop() for _ in range(5)]
    assert [item.position for item in items if isinstance(item, Delivery)] == [1, 2, 3, 4]
    end = items[4]
    assert isinstance(end, End)
    assert end.problems[0]["extensions"]["code"] == "SUBSCRIBER_TOO_SLOW"
    assert slow.pop() is None
    assert positions(quick) == list(range(1, 11))
    _, resumed = await stage.subscribe(after=end.problems[0]["extensions"]["cursor"])
    await stage.settle()
    assert positions(resumed) == [5, 6, 7, 8, 9, 10]


async def test_a_replay_goes_at_the_readers_pace(new_stage: NewStage) -> None:
    stage = new_stage(queue_max=4)
    stage.log.append(count=250)
    slow, _ = await stage.subscribe(lazy=True, after=encode_position(0))
    seen: list[int | None] = []

    while len(seen) < 250:
        await asyncio.sleep(0)
        if isinstance(item := slow.pop(), Delivery):
            seen.append(item.position)

    assert seen == list(range(1, 251))
    await stage.settle()
    assert not slow.ended
    slow.cancel()
    assert stage.hub.groups == 0


async def test_a_refused_subscription_is_an_answer(new_stage: NewStage) -> None:
    stage = new_stage()
    prepared = stage.executor.prepare(GraphQLRequest(query=TICKS, variables={"payment": "forbidden"}))

    answer = await stage.hub.subscribe(prepared, ANONYMOUS, on_item=lambda _: None)

    assert isinstance(answer, Answer)
    assert answer.errors[0]["extensions"]["code"] == "PERMISSION_DENIED"
    assert stage.hub.groups == 0


async def test_a_plain_stream_is_relayed_and_completes(new_stage: NewStage) -> None:
    stage = new_stage()

    _, got = await stage.subscribe("subscription { counted }")
    await stage.settle()

    assert [orjson.loads(item.payload) for item in got if isinstance(item, Delivery)] == [
        {"data": {"counted": 1}},
        {"data": {"counted": 2}},
    ]
    assert got[-1] == End([])
    assert stage.hub.tasks == 0


async def test_a_log_that_cannot_be_read_ends_the_replay_masked(new_stage: NewStage) -> None:
    stage = new_stage()
    stage.log.append(count=2)
    stage.log.broken = True

    _, got = await stage.subscribe(after=encode_position(0))
    await stage.settle()

    assert isinstance(got[-1], End)
    assert got[-1].problems[0]["extensions"]["code"] == "INTERNAL"
    assert "SELECT" not in str(got[-1])
    assert (stage.hub.groups, stage.hub.tasks) == (0, 0)


async def test_everything_is_released_when_subscribers_leave(new_stage: NewStage) -> None:
    stage = new_stage()
    stage.log.append(count=3)
    members = [(await stage.subscribe(after=encode_position(number % 3)))[0] for number in range(30)]
    await asyncio.sleep(0)

    for member in members:
        member.cancel()
    await stage.settle()
    await asyncio.sleep(0)

    assert (stage.hub.groups, stage.hub.tasks) == (0, 0)


async def test_closing_the_hub_completes_every_stream(new_stage: NewStage) -> None:
    stage = new_stage()
    stage.log.append(count=3)
    _, live = await stage.subscribe()
    _, replayed = await stage.subscribe(after=encode_position(0))

    await stage.hub.aclose()

    assert live[-1] == End([])
    assert replayed[-1] == End([])
    assert stage.log.listeners == []


Step = tuple[str, int]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 120)),
        st.tuples(st.just("subscribe"), st.integers(0, 40)),
        st.tuples(st.just("subscribe_now"), st.just(0)),
        st.tuples(st.just("leave"), st.integers(0, 5)),
        st.tuples(st.just("turn"), st.integers(1, 7)),
    ),
    max_size=25,
)


@settings(max_examples=120, deadline=None)
@given(steps=STEPS)
def test_each_event_arrives_once_and_in_order_at_every_seam(new_stage: NewStage, steps: list[Step]) -> None:
    asyncio.run(_play(new_stage, steps))


async def _play(new_stage: NewStage, steps: list[Step]) -> None:
    stage = new_stage(queue_max=100_000)
    running: list[tuple[int, Subscription, list[Delivery | End]]] = []
    for name, number in steps:
        if name == "append":
            stage.log.append(count=number)
        elif name == "turn":
            for _ in range(number):
                await asyncio.sleep(0)
        elif name == "leave" and running:
            running.pop(number % len(running))[1].cancel()
        elif name.startswith("subscribe"):
            start = stage.log.head if name == "subscribe_now" else min(number, stage.log.head + 3)
            variables: dict[str, Any] = {} if name == "subscribe_now" else {"after": encode_position(start)}
            subscription, got = await stage.subscribe(**variables)
            running.append((start, subscription, got))
    await _until_idle(stage)

    for start, _, got in running:
        assert positions(got) == list(range(start + 1, stage.log.head + 1))
    await stage.hub.aclose()


async def _until_idle(stage: Stage) -> None:
    for _ in range(5_000):
        await asyncio.sleep(0)
        if stage.hub.tasks == 0:
            return
    pytest.fail("the hub does not come to rest")
