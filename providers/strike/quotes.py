"""Quotes for payees without an invoice: by LNURL or Lightning address (5), and on the chain (1.4).

A quote moves nothing. It is executed as any other, once; what has to be noted before that, :mod:`payer` tells.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter

from quittance.domain.money import Money
from quittance.providers.strike import calls
from quittance.providers.strike.bodies import LnurlBody, PaymentQuoteBody, TierBody
from quittance.providers.strike.client import Question, StrikeClient
from quittance.providers.strike.money import written

_QUOTE: Final = TypeAdapter(PaymentQuoteBody)
_DETAILS: Final = TypeAdapter(LnurlBody)
_TIERS: Final = TypeAdapter(list[TierBody])


@dataclass(frozen=True, slots=True, kw_only=True)
class OnchainOrder:
    """What is to arrive at an address, in how much of a hurry, and out of which currency it is paid."""

    address: str
    amount: Money
    tier_id: str
    currency: str


class PaymentQuotes:
    """A ``key`` that was used before is refused as DUPLICATE_PAYMENT_QUOTE."""

    def __init__(self, client: StrikeClient) -> None:
        self._client = client

    async def lnurl_details(self, payee: str) -> LnurlBody:
        """Return what a Lightning address or LNURL takes."""
        return await self._client.ask(calls.LNURL_DETAILS, _DETAILS, Question(entity_id=payee))

    async def lnurl(self, *, payee: str, amount: Money, comment: str | None, key: str) -> PaymentQuoteBody:
        """Ask what paying a Lightning address or LNURL costs, out of the amount's own currency."""
        body: dict[str, object] = {
            "lnAddressOrUrl": payee,
            "sourceCurrency": amount.asset.code,
            "amount": written(amount),
        }
        if comment is not None:
            body["description"] = comment
        return await self._client.ask(calls.QUOTE_LNURL, _QUOTE, Question(body=body, key=key, urgent=True))

    async def tiers(self, *, address: str, amount: Money) -> Sequence[TierBody]:
        """Return how soon an amount can be on the chain, and for how much."""
        body = {"btcAddress": address, "amount": written(amount)}
        return await self._client.ask(calls.ONCHAIN_TIERS, _TIERS, Question(body=body))

    async def onchain(self, order: OnchainOrder, *, key: str) -> PaymentQuoteBody:
        """Ask what paying an address costs; the fee comes on top of the amount."""
        body = {
            "btcAddress": order.address,
            "sourceCurrency": order.currency,
            "amount": {**written(order.amount), "feePolicy": "EXCLUSIVE"},
            "onchainTierId": order.tier_id,
        }
        return await self._client.ask(calls.QUOTE_ONCHAIN, _QUOTE, Question(body=body, key=key, urgent=True))
