"""The sandbox's Strike account as it is found, opened and told to fail."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from quittance.sandbox.coordinates import StrikeCoordinates
from quittance.sandbox.faults import ArmedFault
from quittance.sandbox.http import LoopbackServer
from quittance.sandbox.lnd.network import Network
from quittance.sandbox.lnd.records import InvoiceRecord
from quittance.sandbox.strike import kinds
from quittance.sandbox.strike.account import Account
from quittance.sandbox.strike.accounts import Accounts
from quittance.sandbox.strike.calls import Handler
from quittance.sandbox.strike.invoices import Invoices
from quittance.sandbox.strike.keys import Keys
from quittance.sandbox.strike.limits import Limits
from quittance.sandbox.strike.money import BTC, msat_of_btc, plain
from quittance.sandbox.strike.payments import Payments
from quittance.sandbox.strike.quoting import Quoting
from quittance.sandbox.strike.server import StrikeServer

_SWEEP_S: Final = 0.5


class StrikeRail:
    """One account at one node of a network, its keys in ``home``, and its server."""

    def __init__(self, network: Network, *, home: Path, exponents: bool = False) -> None:
        assert network.chain.strike is not None, "a chain with such a node"
        node = network.nodes[network.chain.strike]
        self._home = home
        self._account = Account(network, node)
        self._invoices = Invoices(self._account)
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
        self._sweeping: asyncio.Task[None] | None = None
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

    async def start(self, port: int) -> None:
        """Listen on ``port``, or on any free one when it is 0 or taken."""
        await self._server.start(port)
        self._sweeping = asyncio.create_task(self._sweep_always(), name="sandbox-strike-sweep")

    async def stop(self) -> None:
        """End every call and stop listening."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._sweeping
            self._sweeping = None
        await self._server.stop()

    def _handlers(self) -> dict[str, Handler]:
        accounts = Accounts(self._account)
        return {
            "issue_invoice": self._invoices.issue,
            "issue_invoice_for_handle": self._invoices.issue_for_handle,
            "list_invoices": self._invoices.list,
            "find_invoice": self._invoices.find,
            "issue_quote": self._invoices.quote,
            "cancel_invoice": self._invoices.cancel,
            "quote_lightning": self._quoting.lightning,
            "execute_quote": self._payments.execute,
            "find_payment": self._payments.find,
            "balances": accounts.balances,
            "limits": accounts.limits,
            "profile_by_id": accounts.profile_by_id,
            "profile_by_handle": accounts.profile_by_handle,
        }

    def _changed(self, record: InvoiceRecord) -> None:
        self._invoices.settle(record)

    def _sweep(self) -> None:
        self._invoices.sweep()
        self._payments.sweep()

    async def _sweep_always(self) -> None:
        while True:
            self._sweep()
            await asyncio.sleep(_SWEEP_S)

    async def _release(self, _: ArmedFault) -> None:
        self._invoices.sweep(release=True)
        self._payments.sweep(release=True)

    async def _give_up(self, _: ArmedFault) -> None:
        self._payments.give_up()
