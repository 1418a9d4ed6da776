"""The account whose keys the merchant has: its money, its time, and how what it does is written down."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from quittance.sandbox.lnd.network import Network
from quittance.sandbox.lnd.node import SandboxNode
from quittance.sandbox.strike.book import Book
from quittance.sandbox.strike.entities import (
    Delivery,
    Entity,
    Event,
    Holder,
    Payment,
    PaymentQuote,
    State,
    Subscription,
)
from quittance.sandbox.strike.kinds import RAIL
from quittance.sandbox.strike.money import BTC, FIAT, HELD, Money
from quittance.sandbox.strike.refusals import unprocessable

OWNER: Final = "quittance_test"
FRIEND: Final = "frank_test"
_START: Final = {BTC: Decimal("1.00000000"), **dict.fromkeys(FIAT, Decimal("10000.00"))}


class Account:
    """What every part of Strike shares. Everything happens on one event loop, between two awaits."""

    def __init__(self, network: Network, node: SandboxNode) -> None:
        self.network = network
        self.node = node
        self.book = Book(network)
        self.on_delivery: Callable[[list[Delivery]], None] | None = None
        for handle, description in ((OWNER, "The sandbox's merchant"), (FRIEND, "A friend of the sandbox's merchant")):
            if self.book.keyed(Holder, handle) is None:
                self.book.save(self._new_holder(handle, description))

    @property
    def owner(self) -> Holder:
        """The holder of the keys, as the account stands now."""
        return self.holder(OWNER)

    @property
    def friend(self) -> Holder:
        return self.holder(FRIEND)

    def holder(self, handle: str) -> Holder:
        found = self.book.keyed(Holder, handle)
        assert found is not None, "made with the account"
        return found

    def now(self) -> datetime:
        return self.network.clock.now()

    def fault(self, *names: str, method: str) -> str:
        """Use up one call of an armed fault; return its name, or nothing."""
        fault = self.network.faults.take(RAIL, *names, method=method)
        return fault.kind.name if fault is not None else ""

    def commit(self, *entities: Entity) -> None:
        """Write down what belongs together, then send what is to be sent."""
        self.book.save(*entities)
        deliveries = [entity for entity in entities if isinstance(entity, Delivery)]
        if deliveries and self.on_delivery is not None:
            self.on_delivery(deliveries)

    def credited(self, holder: Holder, money: Money) -> Holder:
        """Return a holder with more money."""
        balance = holder.available.get(money.currency, Decimal(0)) + money.value
        return replace(holder, available={**holder.available, money.currency: balance})

    def charged(self, holder: Holder, money: Money) -> Holder:
        """Return a holder with less money.

        Raises:
            Refused: there is not enough.
        """
        self.check_balance(holder, money)
        return self.credited(holder, replace(money, value=-money.value))

    def check_balance(self, holder: Holder, money: Money) -> None:
        """Accept what the holder can pay.

        Raises:
            Refused: there is not enough of it, or no such currency.
        """
        if money.currency not in holder.available:
            raise unprocessable("USER_CURRENCY_UNAVAILABLE", f"The account holds no {money.currency}.")
        if holder.available[money.currency] < money.value:
            raise unprocessable("BALANCE_TOO_LOW", "Balance is too low.")

    def outgoing(self, currency: str) -> Decimal:
        """Return what has left the account and not yet arrived."""
        quotes = (
            self.book.find(PaymentQuote, payment.quote_id)
            for payment in self.book.all(Payment)
            if payment.state is State.PENDING
        )
        totals = (quote.total for quote in quotes if quote is not None)
        return sum((total.value for total in totals if total.currency == currency), Decimal(0))

    def happened(
        self, event_type: str, entity_id: str, *, changes: Iterable[str] = (), receive_id: str | None = None
    ) -> list[Entity]:
        """Return an event and its way to everybody who wants to hear of it, to be written with what happened."""
        now = self.now()
        event = Event(
            id=self.book.new_id(),
            created=now,
            type=event_type,
            entity_id=entity_id,
            changes=tuple(changes),
            receive_id=receive_id,
        )
        wanted = [
            subscription
            for subscription in self.book.all(Subscription)
            if subscription.enabled and not subscription.deleted and event_type in subscription.event_types
        ]
        return [
            event,
            *(
                Delivery(id=self.book.new_id(), created=now, event_id=event.id, subscription_id=one.id, due=now)
                for one in wanted
            ),
        ]

    def _new_holder(self, handle: str, description: str) -> Holder:
        return Holder(
            id=self.book.new_id(),
            created=self.now(),
            handle=handle,
            description=description,
            default_currency=FIAT[0],
            invoiceable=HELD,
            available=dict(_START),
        )
