"""The sandbox's Strike account as it is found, opened and told to fail."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from quittance.sandbox.coordinates import StrikeCoordinates
from quittance.sandbox.faults import ArmedFault
from quittance.sandbox.http import LoopbackServer
from quittance.sandbox.lnd.network import Network
from quittance.sandbox.lnd.records import InvoiceRecord
from quittance.sandbox.strike import kinds
from quittance.sandbox.strike.account import Account
from quittance.sandbox.strike.accounts import Accounts
from quittance.sandbox.strike.calls import Handler
from quittance.sandbox.strike.chain import Chain
from quittance.sandbox.strike.deliveries import Deliveries
from quittance.sandbox.strike.events import Events
from quittance.sandbox.strike.exchange import Exchange
from quittance.sandbox.strike.invoices import Invoices
from quittance.sandbox.strike.keys import Keys
from quittance.sandbox.strike.limits import Limits
from quittance.sandbox.strike.money import BTC, msat_of_btc, plain
from quittance.sandbox.strike.payees import Payees
from quittance.sandbox.strike.payments import Payments
from quittance.sandbox.strike.quoting import Quoting
from quittance.sandbox.strike.receiving import Receiving
from quittance.sandbox.strike.server import StrikeServer
from quittance.sandbox.strike.subscriptions import Subscriptions

_SWEEP_S: Final = 0.5


class StrikeRail:
    """One account at one node of a network, its keys in ``home``, and its server."""

    def __init__(self, network: Network, *, home: Path, exponents: bool = False) -> None:
        assert network.chain.strike is not None, "a chain with such a node"
        node = network.nodes[network.chain.strike]
        self._home = home
        self._network = network
        self._account = Account(network, node)
        self._deliveries = Deliveries(self._account)
        self._invoices = Invoices(self._account)
        self._receiving = Receiving(self._account)
        self._quoting = Quoting(self._account)
        self._payments = Payments(self._account, self._quoting)
        node.on_invoice = self._changed
        server = StrikeServer(
            self._handlers(),
            keys=Keys(home),
            limits=Limits(self._account.now),
            faults=network.faults,
            before=self._sweep,
            exponents=exponents,
        )
        self._server = LoopbackServer(server.app())
        self._tasks: list[asyncio.Task[None]] = []
        self._stop_listening: Callable[[], None] = lambda: None
        network.faults.offer(*kinds.KINDS, methods=kinds.METHODS)
        network.faults.perform(kinds.RAIL, {"release_pending": self._release, "fail_pending": self._give_up})

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def coordinates(self) -> StrikeCoordinates:
        return StrikeCoordinates(
            url=f"http://127.0.0.1:{self.port}",
            api_key_path=self._home / "api.key",
            receive_key_path=self._home / "receive.key",
        )

    @property
    def balance_msat(self) -> int:
        """Return what the account can spend in bitcoin."""
        return msat_of_btc(self._account.owner.available[BTC])

    @property
    def balances(self) -> Mapping[str, str]:
        """Return what the account can spend, in whole units of each currency."""
        return {currency: plain(value) for currency, value in self._account.owner.available.items()}

    def deliveries(self) -> list[dict[str, Any]]:
        """Return the newest webhooks, and how they stand."""
        return self._deliveries.shown()

    async def start(self, port: int) -> None:
        """Listen on ``port``, or on any free one when it is 0 or taken."""
        await self._server.start(port)
        self._tasks = [
            asyncio.create_task(self._sweep_always(), name="sandbox-strike-sweep"),
            asyncio.create_task(self._deliveries.run(), name="sandbox-strike-deliveries"),
        ]
        self._stop_listening = self._network.clock.on_advance(self._deliveries.wake)

    async def stop(self) -> None:
        """End every call and stop listening; what is still to be sent is sent after the next start."""
        self._stop_listening()
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self._server.stop()

    def _handlers(self) -> dict[str, Handler]:
        return {**self._receive_handlers(), **self._payment_handlers(), **self._account_handlers()}

    def _receive_handlers(self) -> dict[str, Handler]:
        return {
            "issue_invoice": self._invoices.issue,
            "issue_invoice_for_handle": self._invoices.issue_for_handle,
            "list_invoices": self._invoices.listing,
            "find_invoice": self._invoices.find,
            "issue_quote": self._invoices.quote,
            "cancel_invoice": self._invoices.cancel,
            "create_receive_request": self._receiving.create,
            "list_receive_requests": self._receiving.listing,
            "find_receive_request": self._receiving.find,
            "list_receives": self._receiving.receives,
            "list_receives_of_request": self._receiving.receives_of_request,
        }

    def _payment_handlers(self) -> dict[str, Handler]:
        payees, chain = Payees(self._account, self._quoting), Chain(self._account, self._quoting)
        return {
            "quote_lightning": self._quoting.lightning,
            "quote_lnurl": payees.quote,
            "lnurl_details": payees.details,
            "onchain_tiers": chain.tiers,
            "quote_onchain": chain.quote,
            "execute_quote": self._payments.execute,
            "find_payment": self._payments.find,
        }

    def _account_handlers(self) -> dict[str, Handler]:
        accounts, exchange = Accounts(self._account), Exchange(self._account)
        subscriptions, events = Subscriptions(self._account), Events(self._account)
        return {
            "rates_ticker": exchange.ticker,
            "create_exchange_quote": exchange.create,
            "find_exchange_quote": exchange.find,
            "execute_exchange_quote": exchange.execute,
            "balances": accounts.balances,
            "limits": accounts.limits,
            "profile_by_id": accounts.profile_by_id,
            "profile_by_handle": accounts.profile_by_handle,
            "create_subscription": subscriptions.create,
            "list_subscriptions": subscriptions.listing,
            "find_subscription": subscriptions.find,
            "update_subscription": subscriptions.update,
            "delete_subscription": subscriptions.delete,
            "list_events": events.listing,
            "find_event": events.find,
        }

    def _changed(self, record: InvoiceRecord) -> None:
        self._invoices.settle(record)
        self._receiving.settle(record)

    def _sweep(self) -> None:
        self._invoices.sweep()
        self._receiving.sweep()
        self._payments.sweep()

    async def _sweep_always(self) -> None:
        while True:
            self._sweep()
            await asyncio.sleep(_SWEEP_S)

    async def _release(self, _: ArmedFault) -> None:
        self._invoices.sweep(release=True)
        self._receiving.sweep(release=True)
        self._payments.sweep(release=True)

    async def _give_up(self, _: ArmedFault) -> None:
        self._payments.give_up()
