"""What tests of races share: a rail that wraps another, and how money that was booked once looks."""

from typing import Any

from quittance.domain.money import msat
from quittance.domain.payment import PaymentStatus
from quittance.providers.lnd.provider import LndProvider
from quittance.sandbox.rails import SandboxRails


class Wrapped:
    """A rail that does what the one inside does."""

    def __init__(self, inside: LndProvider) -> None:
        self._inside = inside

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inside, name)


def node_invoices(rails: SandboxRails) -> int:
    return len(rails.nodes["merchant"].invoices)


async def assert_booked_once(till: Any, payment_id: str) -> None:
    settlements = await till.rows("settlement")
    assert [(row["payment_id"], row["amount_value"], row["disposition"]) for row in settlements] == [
        (payment_id, 5_000, "ACCEPTED")
    ]
    assert await till.events(payment_id) == [
        ("payment.updated", "PENDING_INVOICE"),
        ("payment.updated", "PENDING_PAYMENT"),
        ("payment.settled", "COMPLETE"),
    ]
    assert await till.balances() == {"PROVIDER": 5_000, "MERCHANT": -5_000}
    assert [row["value"] for row in await till.rows("ledger_entry")] == [-5_000, 5_000]
    payment = await till.payment(payment_id)
    assert (payment.status, payment.received) == (PaymentStatus.COMPLETE, msat(5_000))
