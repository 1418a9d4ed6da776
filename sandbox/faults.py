"""Named faults: what a rail can be told to do wrong, how often, and on which call."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

CALLS_MAX: Final = 1_000_000
SECONDS_MAX: Final = 3_600.0


class UnknownFault(Exception):
    """No such rail, or no such fault on it."""


class InvalidFault(Exception):
    """The fault exists, but not with these numbers or that method."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultKind:
    """One way to fail. ``at_once`` faults happen when they are armed; the others wait for calls.

    ``methods`` are the calls that it meets unless one is named; empty means every call.
    """

    rail: str
    name: str
    description: str
    at_once: bool = False
    methods: frozenset[str] = frozenset()
    seconds: float | None = None


@dataclass(slots=True, kw_only=True)
class ArmedFault:
    kind: FaultKind
    calls: int
    method: str | None
    seconds: float

    def meets(self, method: str) -> bool:
        return method == self.method if self.method else not self.kind.methods or method in self.kind.methods


class Faults:
    """What is armed, by rail. A fault counts down only on calls that it meets."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], FaultKind] = {}
        self._known_methods: dict[str, frozenset[str]] = {}
        self._armed: dict[str, list[ArmedFault]] = {}
        self._actions: dict[tuple[str, str], Callable[[ArmedFault], Awaitable[None]]] = {}

    def offer(self, *kinds: FaultKind, methods: frozenset[str]) -> None:
        """Make known what one rail can be told, and the calls that it has."""
        for kind in kinds:
            self._kinds[kind.rail, kind.name] = kind
            self._known_methods[kind.rail] = methods

    def perform(self, rail: str, actions: Mapping[str, Callable[[ArmedFault], Awaitable[None]]]) -> None:
        """Say what to do for the faults of ``rail`` that happen at once."""
        for name, action in actions.items():
            self._actions[rail, name] = action

    async def arm(
        self, rail: str, fault: str, *, calls: int = 1, method: str | None = None, seconds: float | None = None
    ) -> None:
        """Let the next ``calls`` calls fail this way; a fault that happens at once has happened on return.

        Raises:
            UnknownFault: no such rail or fault.
            InvalidFault: the count, the duration or the method is not one that it can have.
        """
        kind = self._kinds.get((rail, fault))
        if kind is None:
            raise UnknownFault(f"no fault {fault!r} on the rail {rail!r}")
        if not 1 <= calls <= CALLS_MAX:
            raise InvalidFault(f"calls lies between 1 and {CALLS_MAX}")
        if seconds is not None and not 0 <= seconds <= SECONDS_MAX:
            raise InvalidFault(f"seconds lies between 0 and {SECONDS_MAX:.0f}")
        if method is not None and method not in self._known_methods[rail]:
            raise InvalidFault(f"no method {method!r} on the rail {rail!r}")
        armed = ArmedFault(
            kind=kind, calls=calls, method=method, seconds=seconds if seconds is not None else kind.seconds or 0.0
        )
        if kind.at_once:
            await self._actions[rail, fault](armed)
        else:
            self._armed.setdefault(rail, []).append(armed)

    def clear(self, rail: str | None = None) -> None:
        """Disarm everything, or everything on one rail."""
        for name in [rail] if rail is not None else list(self._armed):
            self._armed.pop(name, None)

    def take(self, rail: str, *faults: str, method: str) -> ArmedFault | None:
        """Use up one call of the first armed fault among ``faults`` that meets ``method``."""
        armed = self._armed.get(rail)
        if not armed:
            return None
        for fault in armed:
            if fault.kind.name in faults and fault.meets(method):
                fault.calls -= 1
                if fault.calls == 0:
                    armed.remove(fault)
                return fault
        return None

    def is_armed(self, rail: str, fault: str) -> bool:
        return any(armed.kind.name == fault for armed in self._armed.get(rail, ()))

    def describe(self) -> list[dict[str, object]]:
        """Return every fault there is, with the calls for which it is still armed."""
        return [
            {
                "rail": kind.rail,
                "fault": kind.name,
                "description": kind.description,
                "atOnce": kind.at_once,
                "methods": sorted(kind.methods or self._known_methods[kind.rail]),
                "defaultSeconds": kind.seconds,
                "armed": [
                    {"calls": armed.calls, "method": armed.method, "seconds": armed.seconds}
                    for armed in self._armed.get(kind.rail, ())
                    if armed.kind is kind
                ],
            }
            for kind in self._kinds.values()
        ]
