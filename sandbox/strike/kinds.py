"""What Strike can be told to do wrong."""

from typing import Final

from quittance.sandbox.faults import FaultKind
from quittance.sandbox.strike.operations import OPERATIONS

RAIL: Final = "strike"
SETTLEMENT: Final = "settlement"
DELIVERY: Final = "delivery"
CALLS: Final = frozenset(OPERATIONS)
METHODS: Final = CALLS | {SETTLEMENT, DELIVERY}
_WRITING: Final = frozenset(name for name, operation in OPERATIONS.items() if operation.method != "GET")
_EXECUTING: Final = frozenset({"execute_quote"})
_SHOWING: Final = frozenset({"execute_quote", "find_payment"})
_DELIVERING: Final = frozenset({DELIVERY})
_SETTLING: Final = frozenset({SETTLEMENT})


def _kind(name: str, description: str, *, methods: frozenset[str] = CALLS, seconds: float | None = None) -> FaultKind:
    return FaultKind(rail=RAIL, name=name, description=description, methods=methods, seconds=seconds)


def _at_once(name: str, description: str) -> FaultKind:
    return FaultKind(rail=RAIL, name=name, description=description, at_once=True)


KINDS: Final = (
    _kind("delay", "The call waits for `seconds`, then acts and answers.", seconds=1.0),
    _kind("hang", "The call does nothing, and its answer does not come for an hour.", seconds=3_600.0),
    _kind(
        "lost_answer",
        "The call acts, but its answer is cut off. Without a method it meets calls that write.",
        methods=_WRITING,
    ),
    _kind("unavailable", "The call does nothing: 503 SERVICE_UNAVAILABLE."),
    _kind("html_403", "The call does nothing: the edge answers 403 and a page."),
    _kind(
        "rate_limited",
        "The call does nothing: 429, and so do calls of its kind until the lock-out ends: after a minute or an hour "
        "of sandbox time, or after `seconds`.",
    ),
    _kind("processing_conflict", "The call does nothing: 409 PROCESSING_CONFLICT.", methods=_WRITING),
    _kind("accept_exponents", "Amounts such as 5e-05 are taken.", methods=_WRITING),
    _kind(
        "pending_forever",
        "The money has left the account, and the payment stays PENDING until release_pending or fail_pending: 202.",
        methods=_EXECUTING,
    ),
    _kind("execute_failed", "The payment has failed and nothing was charged: 200.", methods=_EXECUTING),
    _kind("omit_preimage", "A payment that is COMPLETED shows no preImage.", methods=_SHOWING),
    _kind("p2p", "The receive comes from another customer: it shows no hash and no preimage.", methods=_SETTLING),
    _kind(
        "invoice_pending",
        "The invoice or receive stays PENDING for `seconds` of sandbox time, or until release_pending.",
        methods=_SETTLING,
        seconds=60.0,
    ),
    _kind("duplicate_webhook", "The event is sent twice.", methods=_DELIVERING),
    _kind("drop_webhook", "The event is never sent, though it counts as delivered.", methods=_DELIVERING),
    _kind("delay_webhook", "The event is sent `seconds` of sandbox time later.", methods=_DELIVERING, seconds=60.0),
    _kind("bad_signature", "The event is signed with another secret.", methods=_DELIVERING),
    _kind("lower_case_signature", "The signature is written in small letters.", methods=_DELIVERING),
    _at_once("release_pending", "What is PENDING ends well now: payments, invoices and receives."),
    _at_once("fail_pending", "Payments that are PENDING at Strike fail now, and the money is back."),
)
