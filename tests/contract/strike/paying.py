"""What tests of payments out of a Strike account share: a payer, what it remembers, and the Strike that it asks."""

import httpx
import pytest
from tests.contract.strike.scripted import (
    EVENTS,
    EXECUTE,
    HASH,
    PAY_QUOTE,
    PAYMENT,
    PREIMAGE,
    Clock,
    Memory,
    ScriptedStrike,
    bolt11,
    ok,
    page,
    payment,
    payment_quote,
)

from quittance.domain.errors import ProviderUnavailable
from quittance.domain.money import BTC_SAT, Money, msat
from quittance.providers.base import SendFailure, SendRequest, SentPayment, SentStatus
from quittance.providers.strike.notes import NEVER_RAN_AFTER_S
from quittance.providers.strike.payer import StrikePayer

ORDER = SendRequest(payment_request=bolt11(), amount=None, fee_max=Money(100, BTC_SAT))
SENT = SentPayment(
    reference=HASH,
    status=SentStatus.SUCCEEDED,
    amount=msat(21_000_000),
    fee=msat(21_000),
    preimage=PREIMAGE,  # type: ignore[arg-type]
)
IN_FLIGHT = SentPayment(reference=HASH, status=SentStatus.IN_FLIGHT)
MISSING = SentPayment(reference=HASH, status=SentStatus.MISSING)
LOST = httpx.ReadError("the connection was reset")
LATER_S = NEVER_RAN_AFTER_S + 1


def failed(failure: SendFailure) -> SentPayment:
    return SentPayment(reference=HASH, status=SentStatus.FAILED, failure=failure)


class Till:
    """A payer, what it remembers, and the Strike that it asks."""

    def __init__(self) -> None:
        self.strike, self.memory, self.clock = ScriptedStrike(), Memory(), Clock()
        self.payer = self.restarted()
        self.strike.answer(PAY_QUOTE, ok(payment_quote()))
        self.strike.answer(EXECUTE, ok(payment()))
        self.strike.answer(PAYMENT, ok(payment()))
        self.strike.answer(EVENTS, page())

    def restarted(self) -> StrikePayer:
        """Return a payer as another process makes it: it knows what was remembered, and nothing else."""
        self.payer = StrikePayer(self.strike.client(), network="regtest", memory=self.memory, now=self.clock.now)
        return self.payer

    def executed(self) -> list[str]:
        """Return the quotes that Strike was asked to execute."""
        return [request.url.path.split("/")[3] for request in self.strike.calls(EXECUTE)]


async def lose_the_answer(till: Till, answer: httpx.Response | Exception = LOST) -> None:
    """Have a payment begun whose answer does not come, and forget all but what was remembered."""
    till.strike.answer(EXECUTE, answer)
    with pytest.raises(ProviderUnavailable):
        await till.payer.send(ORDER)
    till.restarted()
