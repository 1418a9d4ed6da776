"""What tests of invoices at Strike share: an adapter, and the Strike that it asks."""

import httpx
from tests.contract.strike.scripted import (
    FIND,
    ISSUE,
    LIST,
    PREIMAGE,
    QUOTE,
    Clock,
    ScriptedStrike,
    invoice,
    invoice_quote,
    ok,
    page,
)

from quittance.domain.ids import Preimage
from quittance.domain.money import BTC_SAT, Asset, Money
from quittance.providers.base import InvoiceRequest
from quittance.providers.strike.provider import StrikeProvider

USD = Asset("USD", 2)
ORDER = InvoiceRequest(
    amount=Money(21_000, BTC_SAT), description="order 1", expires_in_s=600, preimage=Preimage(PREIMAGE)
)
NAME = StrikeProvider.reference(None, Preimage(PREIMAGE))  # type: ignore[arg-type]
LOST = httpx.ReadError("the connection was reset")


class Till:
    """An adapter, and the Strike that it asks: one that makes one invoice."""

    def __init__(self) -> None:
        self.strike, self.clock = ScriptedStrike(), Clock()
        self.provider = self.connect()
        self.strike.answer(ISSUE, ok(invoice(NAME), status=201))
        self.strike.answer(QUOTE, ok(invoice_quote(), status=201))
        self.strike.answer(LIST, page(invoice(NAME)))
        self.strike.answer(FIND, ok(invoice(NAME)))

    def connect(self, *, currency: str = "BTC") -> StrikeProvider:
        self.provider = StrikeProvider(
            self.strike.client(), network="regtest", now=self.clock.now, currency=currency, poll_s=0
        )
        return self.provider
