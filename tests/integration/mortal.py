"""Processes that die at one of their awaits."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

from quittance.resolvers.services import Services


class Death(asyncio.CancelledError):
    """The process is gone: nothing catches this."""


class Fate:
    """Counts the moments at which a process can die, and strikes at one of them."""

    def __init__(self, at: int) -> None:
        self._left = at
        self.struck = False

    def moment(self) -> None:
        if self._left == 0:
            self.struck = True
        self._left -= 1
        if self.struck:  # a dead process does nothing more
            raise Death


class Mortal:
    """Does what the one inside does; before and after each of its calls the process may die."""

    def __init__(self, inside: Any, fate: Fate) -> None:
        self._inside = inside
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inside, name)
        if not asyncio.iscoroutinefunction(found):
            return found

        async def call(*arguments: Any, **named: Any) -> Any:
            self._fate.moment()
            result = await found(*arguments, **named)
            self._fate.moment()
            return result

        return call


def mortal(services: Services, fate: Fate) -> Services:
    return replace(
        services,
        database=Mortal(services.database, fate),
        rails={name: Mortal(rail, fate) for name, rail in services.rails.items()},
        making={},
    )


async def dies(doing: Awaitable[Any]) -> bool:
    """Run a use case to its end or its death; tell which."""
    try:
        await doing
    except asyncio.CancelledError:
        return True
    return False
