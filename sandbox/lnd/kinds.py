"""What a node can be told to do wrong. Faults on calls meet the merchant's node; payers behave."""

from dataclasses import replace
from typing import Final

from quittance.sandbox.faults import FaultKind
from quittance.sandbox.lnd.permissions import NEEDED

SETTLEMENT: Final = "settlement"
_SETTLEMENTS: Final = frozenset({SETTLEMENT})
_PAYING: Final = frozenset({"SendPaymentV2"})
_WRITING: Final = frozenset({"AddInvoice", "AddHoldInvoice", "SettleInvoice", "CancelInvoice", "SendPaymentV2"})

METHODS: Final = frozenset(path.rpartition("/")[2] for path in NEEDED) | _SETTLEMENTS
_CALLS: Final = METHODS - _SETTLEMENTS


def kinds_of(rail: str) -> list[FaultKind]:
    """Return what the nodes of one rail can be told."""
    return [replace(kind, rail=rail) for kind in _KINDS]


def _kind(name: str, description: str, *, methods: frozenset[str] = _CALLS, seconds: float | None = None) -> FaultKind:
    return FaultKind(rail="", name=name, description=description, methods=methods, seconds=seconds)


def _at_once(name: str, description: str, *, seconds: float | None = None) -> FaultKind:
    return FaultKind(rail="", name=name, description=description, at_once=True, seconds=seconds)


_KINDS: Final = (
    _kind("delay", "The call waits for `seconds`, then acts and answers.", seconds=1.0),
    _kind(
        "lost_answer",
        "The call acts, but its answer is lost: UNAVAILABLE. Without a method it meets calls that write.",
        methods=_WRITING,
    ),
    _kind("unavailable", "The call does nothing: UNAVAILABLE, as from a node that is down."),
    _kind("locked", "The call does nothing: the wallet is locked. GetState says LOCKED and uses up no call."),
    _kind("starting", "The call does nothing: the server is still starting."),
    _kind(
        "silent_stream",
        "The settlement is never sent on a stream of all invoices, nor replayed: only a lookup finds it.",
        methods=_SETTLEMENTS,
    ),
    _kind("duplicate_settlement", "The settlement is sent twice on every stream.", methods=_SETTLEMENTS),
    _kind(
        "pending_forever",
        "The payment, by any node, stays in flight until release_pending or fail_pending.",
        methods=_PAYING,
    ),
    _kind("no_route", "The payment, by any node, fails: no route is found.", methods=_PAYING),
    _kind("payee_refuses", "The payment, by any node, comes back: its payee does not take it.", methods=_PAYING),
    _kind("no_keysend", "The payment without an invoice, by any node, meets a payee that takes none.", methods=_PAYING),
    _at_once("release_pending", "Payments that pending_forever holds arrive now."),
    _at_once("fail_pending", "Payments that pending_forever holds fail now, and the money is back."),
    _at_once("dropped_stream", "Open streams of all invoices end with UNAVAILABLE."),
    _at_once("dropped_payments", "Open streams that follow payments end with UNAVAILABLE; the payments go on."),
    _at_once(
        "restart", "The server stops and comes back on the same port after `seconds`, with its state.", seconds=0.0
    ),
    _at_once(
        "index_reset",
        "The node comes back as from a restored database: the next settlement has settle index 1; what settled "
        "before stays settled, but has no index and is in no replay.",
        seconds=0.0,
    ),
)
