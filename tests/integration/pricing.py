"""A shop that knows what money is worth: the sandbox's price sources, with every call to them counted."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from quittance.domain.rate import Rate, RateRules
from quittance.providers.rates.base import RateSource
from quittance.providers.rates.board import RateBoard
from quittance.sandbox import prices
from quittance.sandbox.rails import SandboxRails
from quittance.server.rates import RateSourcesOnDemand
from quittance.server.settings import Settings

METHODS = (prices.METHOD, prices.KRAKEN, prices.COINBASE)
RATE = "rate { base quote value spread applied sources observedAt }"
GENERATE = f"""
mutation ($input: GenerateInvoiceInput!) {{
  generateInvoice(input: $input) {{
    __typename
    ... on GenerateInvoiceSuccess {{
      replayed
      payment {{
        id status amount {{ value assetCode assetScale }} fiatAmount {{ value assetCode assetScale formatted }} {RATE}
        options {{ amount {{ value }} }}
      }}
    }}
    ... on UserError {{ code message retryable }}
    ... on RateUnavailableError {{ base quote reason }}
  }}
}}
"""


class CountedSource:
    """A source that counts its calls."""

    def __init__(self, inside: RateSource) -> None:
        self._inside = inside
        self.name = inside.name
        self.calls = 0

    async def rate(self, base: str, quote: str) -> Rate | None:
        self.calls += 1
        return await self._inside.rate(base, quote)


@dataclass
class PricedTill:
    """The till with a board. Amounts come back in millisatoshi."""

    till: Any
    board: RateBoard
    sources: Sequence[CountedSource]

    @property
    def calls(self) -> int:
        return sum(source.calls for source in self.sources)

    async def ask(self, amount: object = None, **input_: object) -> dict[str, Any]:
        """Ask for an invoice, and return the whole answer."""
        said = {"input": input_ if amount is None else {"amount": amount} | input_}
        answer: dict[str, Any] = await self.till.shop.mutate("generateInvoice", GENERATE, said)
        return answer

    async def payment(self, amount: object = None, **input_: object) -> dict[str, Any]:
        answer = await self.ask(amount, **input_)
        assert answer["__typename"] == "GenerateInvoiceSuccess", answer
        payment: dict[str, Any] = answer["payment"]
        return payment

    async def arm(self, fault: str, *methods: str, calls: int = 1, **more: Any) -> None:
        """Break the sources that are named, or all."""
        for method in methods or METHODS:
            await self.till.rails.faults.arm("prices", fault, method=method, calls=calls, **more)

    async def refresh(self) -> None:
        """Let a minute go by, and the round that is due then end."""
        self.till.clock.advance(60)
        await self.round()

    async def round(self) -> None:
        """Begin the rounds that are due, and wait for those that are under way."""
        self.board.tick()
        rounds = [pair.round for pair in self.board._pairs.values() if pair.round is not None]
        await asyncio.gather(*rounds)

    def value(self, currency: str = "usd", *, coin: str = "bitcoin") -> Decimal:
        """Return what the middle one of the sandbox's sources says: CoinGecko's lies between the others."""
        found = prices.price(coin, currency, at=self.till.clock.now())
        assert found is not None
        return found


def fiat(value: str, currency: str = "USD") -> dict[str, object]:
    return {"fiat": {"currency": currency, "value": value}}


@pytest.fixture
async def counted(rails: SandboxRails, tmp_path: Path) -> AsyncIterator[Sequence[CountedSource]]:
    settings = Settings(state_dir=tmp_path, _env_file=None)  # type: ignore[call-arg]
    opened = RateSourcesOnDemand(settings, rails.coordinates, now=rails.clock.now)
    yield [CountedSource(source) for source in opened()]
    await opened.aclose()


@pytest.fixture
async def priced(till: Any, counted: Sequence[CountedSource]) -> AsyncIterator[PricedTill]:
    found = with_rules(till, counted, RateRules())
    yield found
    await found.board.aclose()


def with_rules(till: Any, counted: Sequence[CountedSource], rules: RateRules) -> PricedTill:
    board = RateBoard(lambda: counted, rules=rules, now=till.clock.now)
    return PricedTill(till.on(replace(till.services, rates=board)), board, counted)
