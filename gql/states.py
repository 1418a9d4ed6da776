"""States that many watch: one task follows each, and what it sends is executed and encoded once for all."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Hashable
from contextlib import aclosing
from typing import Any

from quittance.gql.deliveries import Delivery, Subscription
from quittance.gql.masking import Problem

Render = Callable[[Any], Coroutine[Any, Any, Delivery]]
Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


class StateGroups:
    """Subscriptions that get the same bytes share a follower, which ends with the last of them.

    A state has no history: who joins later begins with the newest.
    """

    def __init__(self, *, spawn: Spawn, told_of: Callable[[BaseException], Problem]) -> None:
        self._spawn = spawn
        self._told_of = told_of
        self._groups: dict[Hashable, _Group] = {}

    def __len__(self) -> int:
        return len(self._groups)

    @property
    def members(self) -> list[Subscription]:
        return [member for group in self._groups.values() for member in group.members]

    def join(
        self, key: Hashable, member: Subscription, *, states: Callable[[], AsyncGenerator[Any]], render: Render
    ) -> None:
        """Send the newest state to ``member``, and each one after it; the first member begins to follow."""
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(key)
            group.task = self._spawn(self._follow(group, states(), render))
        elif group.newest is not None:
            member.push(group.newest)
        group.members[member] = None
        left = group
        member.on_release(lambda: self._leave(left, member))

    def _leave(self, group: "_Group", member: Subscription) -> None:
        group.members.pop(member, None)
        if group.members:
            return
        self._forget(group)
        if group.task is not None and group.task is not asyncio.current_task():
            group.task.cancel()

    def _forget(self, group: "_Group") -> None:
        if self._groups.get(group.key) is group:
            del self._groups[group.key]

    async def _follow(self, group: "_Group", states: AsyncGenerator[Any], render: Render) -> None:
        problems: list[Problem] = []
        try:
            async with aclosing(states):
                async for state in states:
                    group.newest = delivery = await render(state)
                    for member in list(group.members):
                        member.push(delivery)
                    if not group.members:
                        return
        except Exception as error:  # noqa: BLE001 - logged and masked
            problems = [self._told_of(error)]
        finally:
            self._forget(group)
        for member in list(group.members):
            member.end(problems)


class _Group:
    __slots__ = ("key", "members", "newest", "task")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.members: dict[Subscription, None] = {}
        self.newest: Delivery | None = None
        self.task: asyncio.Task[None] | None = None
