"""Prices, and changing one currency into another (sheet 1.4)."""

from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from typing import Any, Final
from uuid import UUID

from quittance.sandbox.strike import moments
from quittance.sandbox.strike.account import Account
from quittance.sandbox.strike.calls import ACCEPTED, Answer, Call
from quittance.sandbox.strike.entities import ExchangeQuote, State
from quittance.sandbox.strike.money import HELD, Money, check_amount, converted, rate, rounded
from quittance.sandbox.strike.quoting import EXCLUSIVE, QUOTE_S, USED_KEY, amount_with_policy, key_of
from quittance.sandbox.strike.refusals import BAD_CURRENCY, invalid_field, not_found, unprocessable

_FEE_DIVISOR: Final = 1_000  # Strike takes one part in so many
_USED_QUOTE: Final = "8a2f8f0e-64f3-4e0b-9d51-0c7f5a1f2f10"


class Exchange:
    def __init__(self, account: Account) -> None:
        self._account = account
        self._book = account.book

    def ticker(self, _: Call) -> Answer:
        """Return the price of every pair, in both directions."""
        now = self._account.now()
        return Answer(body=[rate(source, target, at=now).shown() for source, target in permutations(HELD, 2)])

    def create(self, call: Call) -> Answer:
        given = call.given
        for name in ("sell", "buy", "amount"):
            given.required(name)
        sell, buy = given.currency("sell"), given.currency("buy")
        asked = amount_with_policy(given)
        given.check()
        assert sell is not None, "else there was a flaw"
        assert buy is not None, "else there was a flaw"
        assert asked is not None, "else there was a flaw"
        key = key_of(call)
        self._check_key(key)
        if sell == buy or not {sell, buy} <= set(HELD):
            raise unprocessable("CURRENCY_EXCHANGE_PAIR_NOT_SUPPORTED", "The pair is not supported.")
        if asked[0].currency not in {sell, buy}:
            raise invalid_field("amount.currency", "The amount is in one of the two.", code=BAD_CURRENCY)
        check_amount(asked[0], at=self._account.now())
        quote = self._quoted(asked, sell=sell, buy=buy, key=key)
        self._account.check_balance(self._account.owner, quote.source)
        self._account.commit(quote)
        return Answer(body=_shown(quote) | {"created": moments.created(quote.created)})

    def find(self, call: Call) -> Answer:
        return Answer(body=_shown(self._found(call)))

    def execute(self, call: Call) -> Answer:
        """Change the money, once; nothing is answered but that it was taken on."""
        quote, now = self._found(call), self._account.now()
        if quote.state is not State.NEW:
            raise unprocessable("CURRENCY_EXCHANGE_QUOTE_PROCESSED", "The quote was processed already.")
        if quote.valid_until < now:
            raise unprocessable("CURRENCY_EXCHANGE_QUOTE_EXPIRED", "The quote has expired.")
        changed = self._account.credited(self._account.charged(self._account.owner, quote.source), quote.target)
        done = replace(quote, state=State.COMPLETED, completed=now)
        happened = self._account.happened("currency-exchange-quote.updated", quote.id, changes=["state"])
        self._account.commit(done, changed, *happened)
        return Answer(status=ACCEPTED)

    def _quoted(self, asked: tuple[Money, str], *, sell: str, buy: str, key: str | None) -> ExchangeQuote:
        """Return a quote; the source is all that leaves. What is to be bought is bought whole, the fee comes on top."""
        now, (amount, policy) = self._account.now(), asked
        sold = converted(amount, sell, at=now, up=True)
        fee = replace(sold, value=rounded(sold.value / _FEE_DIVISOR, sell, up=True))
        on_top = amount.currency == buy or policy == EXCLUSIVE
        changed = sold if on_top else replace(sold, value=sold.value - fee.value)
        target = amount if amount.currency == buy else converted(changed, buy, at=now, up=False)
        if target.value <= 0:
            raise unprocessable("CURRENCY_EXCHANGE_AMOUNT_TOO_LOW", "Amount is too low.")
        return ExchangeQuote(
            id=self._book.new_id(),
            created=now,
            idempotency_key=key,
            valid_until=now + timedelta(seconds=QUOTE_S),
            source=replace(changed, value=changed.value + fee.value),
            target=target,
            fee=fee,
            rate=rate(sell, buy, at=now),
        )

    def _check_key(self, key: str | None) -> None:
        quote = self._book.keyed(ExchangeQuote, key) if key is not None else None
        if quote is not None or (key is not None and UUID(key) == USED_KEY):
            raise unprocessable(
                "DUPLICATE_CURRENCY_EXCHANGE_QUOTE",
                "A quote with this idempotency key exists.",
                values={"currencyExchangeQuoteId": quote.id if quote is not None else _USED_QUOTE},
            )

    def _found(self, call: Call) -> ExchangeQuote:
        quote = self._book.find(ExchangeQuote, call.id("quoteId"))
        if quote is None:
            raise not_found()
        return quote


def _shown(quote: ExchangeQuote) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": quote.id,
        "created": moments.listed(quote.created),
        "validUntil": moments.expiring(quote.valid_until),
        "source": quote.source.shown(),
        "target": quote.target.shown(),
        "fee": quote.fee.shown(),
        "conversionRate": quote.rate.shown(),
        "state": quote.state.value,
    }
    return body | ({"completed": moments.listed(quote.completed)} if quote.completed is not None else {})
