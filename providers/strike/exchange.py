"""Changing one currency of an account into another (1.4)."""

from typing import Final, Literal

from pydantic import TypeAdapter

from quittance.domain.money import Money
from quittance.providers.strike import calls
from quittance.providers.strike.bodies import ExchangeBody
from quittance.providers.strike.client import Question, StrikeClient
from quittance.providers.strike.money import written

FeePolicy = Literal["INCLUSIVE", "EXCLUSIVE"]
_EXCHANGE: Final = TypeAdapter(ExchangeBody)


class Exchange:
    """A quote is executed once: a second time is refused as CURRENCY_EXCHANGE_QUOTE_PROCESSED, which is no failure."""

    def __init__(self, client: StrikeClient) -> None:
        self._client = client

    async def quote(
        self, *, sell: str, buy: str, amount: Money, key: str, fee_policy: FeePolicy = "EXCLUSIVE"
    ) -> ExchangeBody:
        """Ask what an exchange brings; ``amount`` is in one of both currencies, and includes the fee or not."""
        body = {"sell": sell, "buy": buy, "amount": {**written(amount), "feePolicy": fee_policy}}
        return await self._client.ask(calls.QUOTE_EXCHANGE, _EXCHANGE, Question(body=body, key=key))

    async def find(self, quote_id: str) -> ExchangeBody:
        return await self._client.ask(calls.FIND_EXCHANGE, _EXCHANGE, Question(entity_id=quote_id))

    async def execute(self, quote_id: str) -> None:
        """Begin an exchange; Strike's answer is empty, so how it ends is asked for with ``find``."""
        await self._client.do(calls.EXECUTE_EXCHANGE, Question(entity_id=quote_id))
