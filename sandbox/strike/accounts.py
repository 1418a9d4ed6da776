"""What is told of accounts: balances, profiles, limits (sheet 1.4)."""

from decimal import Decimal
from typing import Any, Final

from quittance.sandbox.strike.account import Account
from quittance.sandbox.strike.calls import Answer, Call
from quittance.sandbox.strike.entities import Holder
from quittance.sandbox.strike.money import plain
from quittance.sandbox.strike.refusals import not_found

_PERIODS: Final = ("DAY", "WEEK", "MONTH")
_LIMIT: Final = "1000000.00"
_COUNT_MAX: Final = 10_000


class Accounts:
    def __init__(self, account: Account) -> None:
        self._account = account

    def balances(self, _: Call) -> Answer:
        return Answer(body=[self._balance(*row) for row in self._account.owner.available.items()])

    def profile_by_id(self, call: Call) -> Answer:
        return Answer(body=_shown(self._account.book.find(Holder, call.id("id"))))

    def profile_by_handle(self, call: Call) -> Answer:
        return Answer(body=_shown(self._account.book.keyed(Holder, call.path["handle"])))

    def limits(self, _: Call) -> Answer:
        rows = [
            {"period": period, "countLimit": _COUNT_MAX, "amountLimit": {"amount": _LIMIT, "currency": "USD"}}
            for period in _PERIODS
        ]
        return Answer(body={"limits": rows})

    def _balance(self, currency: str, available: Decimal) -> dict[str, str]:
        outgoing = self._account.outgoing(currency)
        total = plain(available + outgoing)
        nothing = plain(available - available)
        return {
            "currency": currency,
            "current": total,
            "pending": nothing,
            "outgoing": plain(outgoing + available - available),
            "reserved": nothing,
            "available": plain(available),
            "total": total,
        }


def _shown(holder: Holder | None) -> dict[str, Any]:
    if holder is None:
        raise not_found()
    return {
        "id": holder.id,
        "handle": holder.handle,
        "description": holder.description,
        "canReceive": True,
        "currencies": [
            {
                "currency": currency,
                "isDefaultCurrency": currency == holder.default_currency,
                "isAvailable": True,
                "isInvoiceable": currency in holder.invoiceable,
            }
            for currency in holder.available
        ],
    }
