"""What a Core Lightning node can be told to do wrong."""

from typing import Final

from quittance.sandbox.faults import FaultKind

RAIL: Final = "cln"
METHODS: Final = frozenset(
    {"getinfo", "invoice", "listinvoices", "delinvoice", "waitanyinvoice", "xpay", "listpays", "signmessage"}
)
_WRITING: Final = frozenset({"invoice", "delinvoice", "xpay"})


def _kind(name: str, description: str, *, methods: frozenset[str] = METHODS, seconds: float | None = None) -> FaultKind:
    return FaultKind(rail=RAIL, name=name, description=description, methods=methods, seconds=seconds)


def _at_once(name: str, description: str) -> FaultKind:
    return FaultKind(rail=RAIL, name=name, description=description, at_once=True, seconds=0.0)


KINDS: Final = (
    _kind("delay", "The call waits for `seconds`, then acts and answers.", seconds=1.0),
    _kind(
        "lost_answer",
        "The call acts, but its answer is cut off. Without a method it meets calls that write.",
        methods=_WRITING,
    ),
    _kind("unavailable", "The call does nothing: clnrest cannot reach the node, and says so without a code."),
    _kind("syncing", "getinfo warns that the node is still loading blocks.", methods=frozenset({"getinfo"})),
    _at_once("dropped_calls", "Calls that wait for something are cut off; what they wait for goes on."),
    _at_once("restart", "The server stops and comes back on the same port after `seconds`, with its state."),
    _at_once(
        "index_reset",
        "The node comes back as from an older database: it has forgotten every invoice that was paid, and the next "
        "payment has pay_index 1.",
    ),
)
