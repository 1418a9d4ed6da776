"""States that many watch: followed once, encoded once, and left alone when nobody watches."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable
from typing import Any

import orjson
import pytest
import strawberry

from quittance.domain.access import ANONYMOUS, Principal
from quittance.domain.errors import PermissionDenied
from quittance.gql.deliveries import Delivery, End, Subscription
from quittance.gql.documents import DocumentStore, GraphQLRequest
from quittance.gql.execution import Answer, Executor
from quittance.gql.hub import Hub
from quittance.gql.limits import DocumentLimits
from quittance.gql.streams import StateStream

WEATHER = "subscription ($place: String!) { weather(place: $place) { degrees } }"


class Sky:
    """Where the weather of a place is made; it counts who follows it and what was executed."""

    def __init__(self) -> None:
        self.changes: dict[str, asyncio.Queue[int | None]] = {}
        self.following = 0
        self.followed = 0
        self.executed = 0

    def place(self, name: str) -> "asyncio.Queue[int | None]":
        return self.changes.setdefault(name, asyncio.Queue())

    async def states(self, name: str) -> AsyncGenerator["Weather"]:
        self.following += 1
        self.followed += 1
        try:
            while (degrees := await self.place(name).get()) is not None:
                if degrees < -273:
                    raise ZeroDivisionError("colder than there is")
                yield Weather(value=degrees)
        finally:
            self.following -= 1


class Access:
    def __init__(self, sky: Sky) -> None:
        self.sky = sky

    def new_context(self, principal: Principal) -> Sky:  # noqa: ARG002
        return self.sky

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the hub asks for {name}")


@strawberry.type
class Weather:
    value: strawberry.Private[int]

    @strawberry.field
    def degrees(self, info: strawberry.Info[Sky, None]) -> int:
        info.context.executed += 1
        return self.value


@strawberry.type
class Query:
    nothing: str | None = None


@strawberry.type
class Subscriptions:
    @strawberry.subscription
    async def weather(self, info: strawberry.Info[Sky, None], place: str) -> AsyncIterable[Weather]:
        if place == "forbidden":
            raise PermissionDenied("payments:read")
        return StateStream(key=place, states=lambda: info.context.states(place))


class Stage:
    def __init__(self) -> None:
        self.sky = Sky()
        schema = strawberry.Schema(Query, subscription=Subscriptions)
        documents = DocumentStore(schema=schema._schema, limits=DocumentLimits())
        self.executor = Executor(schema=schema, documents=documents)
        self.hub = Hub(executor=self.executor, access=Access(self.sky), source=None)  # type: ignore[arg-type]

    async def subscribe(self, place: str = "here") -> tuple[Subscription | Answer, list[Delivery | End]]:
        got: list[Delivery | End] = []

        def on_item(subscription: Subscription) -> None:
            item = subscription.pop()
            assert item is not None
            got.append(item)

        prepared = self.executor.prepare(GraphQLRequest(query=WEATHER, variables={"place": place}))
        return await self.hub.subscribe(prepared, ANONYMOUS, on_item=on_item), got

    async def change(self, degrees: int | None, *, place: str = "here") -> None:
        self.sky.place(place).put_nowait(degrees)
        await self.settle()

    async def settle(self) -> None:
        for _ in range(50):
            await asyncio.sleep(0)


def degrees(got: list[Delivery | End]) -> list[int]:
    return [orjson.loads(item.payload)["data"]["weather"]["degrees"] for item in got if isinstance(item, Delivery)]


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def test_one_task_and_one_encoding_serve_all(stage: Stage) -> None:
    all_got = [(await stage.subscribe())[1] for _ in range(50)]

    await stage.change(20)

    assert [degrees(got) for got in all_got] == [[20]] * 50
    assert len({id(got[0]) for got in all_got}) == 1
    assert (stage.sky.followed, stage.sky.executed, stage.hub.tasks, stage.hub.groups) == (1, 1, 1, 1)


async def test_who_joins_later_begins_with_the_newest(stage: Stage) -> None:
    _, first = await stage.subscribe()
    await stage.change(20)
    await stage.change(21)

    _, second = await stage.subscribe()
    await stage.change(22)

    assert (degrees(first), degrees(second)) == ([20, 21, 22], [21, 22])
    assert stage.sky.executed == 3


async def test_each_state_is_followed_by_itself(stage: Stage) -> None:
    _, here = await stage.subscribe("here")
    _, there = await stage.subscribe("there")

    await stage.change(20, place="here")
    await stage.change(5, place="there")

    assert (degrees(here), degrees(there)) == ([20], [5])
    assert stage.sky.followed == 2


async def test_nobody_follows_what_nobody_watches(stage: Stage) -> None:
    first, _ = await stage.subscribe()
    second, got = await stage.subscribe()
    await stage.change(20)
    assert isinstance(first, Subscription)
    assert isinstance(second, Subscription)

    first.cancel()
    await stage.change(21)
    watched = stage.sky.following
    second.cancel()
    await stage.settle()

    assert degrees(got) == [20, 21]
    assert watched == 1
    assert (stage.sky.following, stage.hub.tasks, stage.hub.groups) == (0, 0, 0)


async def test_a_state_is_followed_again_for_the_next_who_watches(stage: Stage) -> None:
    first, _ = await stage.subscribe()
    await stage.settle()
    assert isinstance(first, Subscription)
    first.cancel()
    _, got = await stage.subscribe()
    await stage.change(20)

    assert degrees(got) == [20]
    assert (stage.sky.following, stage.sky.followed) == (1, 2)


async def test_a_state_that_ends_ends_for_all(stage: Stage) -> None:
    all_got = [(await stage.subscribe())[1] for _ in range(3)]
    await stage.change(20)

    await stage.change(None)

    assert [got[1:] for got in all_got] == [[End([])]] * 3
    assert (stage.hub.tasks, stage.hub.groups) == (0, 0)


async def test_a_bug_is_masked_and_ends_for_all(stage: Stage) -> None:
    all_got = [(await stage.subscribe())[1] for _ in range(2)]

    await stage.change(-300)

    (ends,) = {repr(got) for got in all_got}
    assert "INTERNAL" in ends
    assert "colder" not in ends
    assert (stage.hub.tasks, stage.hub.groups) == (0, 0)


async def test_who_may_not_watch_follows_nothing(stage: Stage) -> None:
    refused, _ = await stage.subscribe("forbidden")

    assert isinstance(refused, Answer)
    assert stage.sky.followed == 0


async def test_a_hub_that_closes_ends_its_watchers(stage: Stage) -> None:
    _, got = await stage.subscribe()
    await stage.change(20)

    await stage.hub.aclose()

    assert got[1:] == [End([])]
    assert (stage.sky.following, stage.hub.tasks, stage.hub.groups) == (0, 0, 0)
