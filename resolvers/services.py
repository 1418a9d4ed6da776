"""What a use case works with. Built once by the server, handed down, replaced in tests by argument."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from quittance.domain.access import Principal
from quittance.domain.currency import is_currency
from quittance.domain.errors import UnknownProvider
from quittance.domain.ids import ENTROPY_BYTES, IdSequence, PaymentId
from quittance.domain.money import BTC_MSAT, LTC_LITOSHI, Asset, Money, msat
from quittance.domain.outgoing_errors import CannotPayFrom
from quittance.domain.payment import Standing
from quittance.domain.secrets import SecretDeriver
from quittance.domain.transfer import FeeRule
from quittance.providers.base import Outgoing, ProviderHealth, ReceivingProvider, SendingProvider
from quittance.providers.callbacks import ReadsCallbacks
from quittance.providers.payees import PayeeDirectory
from quittance.providers.rates.board import RateBoard
from quittance.providers.subscriptions import ManagesCallbacks
from quittance.resolvers.payloads import PayloadRenderer
from quittance.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRules:
    """Limits on what may be asked for. Amounts in the unit of their name, times in seconds, texts in characters."""

    amount_msat_max: int = 100_000_000_000
    amount_litoshi_max: int = 10_000_000_000
    amount_minor_max: int = 10_000_000
    upvote_msat_min: int = 1_000_000
    expires_in_s_default: int = 3_600
    expires_in_s_max: int = 30 * 86_400
    payee_msat_min: int = 1_000
    payee_expires_in_s: int = 600
    description_max: int = 639
    reference_max: int = 255
    claim_s: int = 15
    wait_for_invoice_s: int = 20
    reconcile_interval_s: int = 60
    expiry_grace_s: int = 60
    hold_check_s: int = 5
    hold_s_max: int = 3_600
    job_claim_s: int = 60
    refund_address_check: bool = True

    def amount_max(self, asset: Asset) -> Money | None:
        """Return the largest payment in an asset; None for one that nothing may be asked in."""
        if is_currency(asset.code):
            return Money(self.amount_minor_max, asset)
        of_asset = {
            BTC_MSAT.code: msat(self.amount_msat_max),
            LTC_LITOSHI.code: Money(self.amount_litoshi_max, LTC_LITOSHI),
        }
        return of_asset.get(asset.code)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderRules:
    """How long what readers log in with is valid, in seconds."""

    challenge_s: int = 300
    session_s: int = 30 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRules:
    """Limits of money on its way out. ``fee``: the most that the way of a transfer may cost, unless it says less."""

    fee: FeeRule = field(default_factory=FeeRule)
    payout_msat_min: int = 1_000
    reader_open_max: int = 20
    merchant_open_max: int = 1_000
    refunds_of_payment_max: int = 100
    withdrawal_s_default: int = 300
    withdrawal_s_max: int = 3_600


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookTools:
    """What telling merchants takes. ``shop`` calls the one address that the operator set for the shop's door."""

    outgoing: Outgoing
    payloads: PayloadRenderer
    shop: Outgoing | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackTools:
    """What a provider takes whose webhooks we manage. ``reader`` makes what reads its callbacks with these secrets.

    ``secrets`` are those that the operator set: accepted beside ours.
    """

    manager: ManagesCallbacks
    reader: Callable[[Sequence[bytes]], ReadsCallbacks]
    secrets: Sequence[bytes] = field(default=(), repr=False)


MUTATION_BUDGET = "mutations"
ACCOUNT_BUDGET = "new_accounts"
ACCOUNTS_BY_CALLER_BUDGET = "new_accounts_by_address"
PAYEE_BUDGET = "invoices_of_payee"
PAYER_BUDGET = "invoices_by_address"
ASKING_BUDGET = "asking_by_address"


class Limiter(Protocol):
    """Counts uses of a budget."""

    async def hit(self, budget: str, label: str) -> None:
        """Count one use.

        Raises:
            RateLimited: the budget of ``label`` is used up.
        """
        ...


@dataclass(slots=True, kw_only=True)
class Services:
    """The store, the rails, the clock and the rules. ``wake_jobs`` says that a job may have fallen due.

    Without ``rates`` nothing can be priced in a national currency, but on a rail that takes it.
    """

    database: Database
    rails: Mapping[str, ReceivingProvider]
    default_provider: str
    rates: RateBoard | None
    now: Callable[[], datetime]
    derive: SecretDeriver
    limiter: Limiter
    public_url: str
    rules: PaymentRules = field(default_factory=PaymentRules)
    readers: ReaderRules = field(default_factory=ReaderRules)
    transfers: TransferRules = field(default_factory=TransferRules)
    payers: Mapping[str, SendingProvider] = field(default_factory=dict)
    callbacks: Mapping[str, ReadsCallbacks] = field(default_factory=dict)
    callback_tools: Mapping[str, CallbackTools] = field(default_factory=dict)
    webhook_tools: WebhookTools | None = None
    payee_directory: PayeeDirectory | None = None
    wake_jobs: Callable[[], None] = lambda: None
    reconciling: asyncio.Lock = field(default_factory=asyncio.Lock)
    entropy: Callable[[int], bytes] = os.urandom
    ids: IdSequence = field(default_factory=IdSequence)
    making: dict[PaymentId, "asyncio.Task[Standing]"] = field(default_factory=dict)
    healths: dict[str, tuple[float, "asyncio.Future[ProviderHealth]"]] = field(default_factory=dict)

    def new_id(self, prefix: str) -> str:
        return self.ids.new_id(prefix, at=self.now(), entropy=self.entropy(ENTROPY_BYTES))

    @property
    def webhooks(self) -> WebhookTools:
        """The tools of webhooks; commands that only need the database have none."""
        if self.webhook_tools is None:
            raise RuntimeError("this process was not given what webhooks take")
        return self.webhook_tools

    @property
    def payees(self) -> PayeeDirectory:
        """What finds payees by their addresses; commands that only need the database have none."""
        if self.payee_directory is None:
            raise RuntimeError("this process was not given what finding payees takes")
        return self.payee_directory

    def checkout_url(self, payment_id: PaymentId, *, client_secret: str | None) -> str:
        """Return the page on which a person pays, and reads what was bought; without the secret it opens nothing."""
        page = f"{self.public_url}/pay/{payment_id}"
        return page if client_secret is None else f"{page}?client_secret={client_secret}"

    def callback_url(self, provider: str) -> str:
        """Return our door for what this provider tells."""
        return f"{self.public_url}/callbacks/{provider}"

    async def admit_mutation(self, principal: Principal) -> None:
        """Count one mutation of this caller.

        Raises:
            RateLimited: too many in this minute; nothing was done.
        """
        await self.limiter.hit(MUTATION_BUDGET, principal.label)

    async def admit_asking(self, principal: Principal) -> None:
        """Count one mutation that has us ask a provider; callers without a key share the budget of their address.

        Raises:
            RateLimited: too many in this minute; nothing was done.
        """
        await self.admit_mutation(principal)
        if principal.merchant_id is None:
            await self.limiter.hit(ASKING_BUDGET, principal.address or "unknown")

    def rail(self, name: str) -> ReceivingProvider:
        """Return a connected rail.

        Raises:
            UnknownProvider: none has this name.
        """
        try:
            return self.rails[name]
        except KeyError:
            raise UnknownProvider(name) from None

    def payer(self, name: str) -> SendingProvider:
        """Return a rail that may pay.

        Raises:
            CannotPayFrom: none of this name was given the means to.
        """
        try:
            return self.payers[name]
        except KeyError:
            raise CannotPayFrom(name) from None
