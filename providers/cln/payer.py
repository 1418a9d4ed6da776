"""Pays over Lightning with a Core Lightning node of one's own. Nothing else in the process holds a rune that may spend.

There is no payment without an invoice here: the node draws the preimage of such a payment itself, so that a call whose
answer was lost could not be repeated without paying twice.
"""

import asyncio
from math import inf
from time import monotonic
from typing import Final
from weakref import WeakValueDictionary

import httpx

from quittance.domain.bolt11 import Bolt11, without_scheme
from quittance.domain.errors import ProviderMisconfigured, QuittanceError, SendRefused
from quittance.domain.money import BTC_MSAT, Asset
from quittance.providers.base import ProviderHealth, SendRequest, SentPayment, SentStatus
from quittance.providers.cln.errors import NO_CLNREST, Fault, NodeRefusal
from quittance.providers.cln.networks import NETWORKS
from quittance.providers.cln.node import Node
from quittance.providers.cln.payments import FAILURE, failed, stands, succeeded
from quittance.providers.cln.rows import Paid, PayRows
from quittance.providers.lightning import NodeUnavailable
from quittance.providers.lightning_paying import NOT_SEEN, fee_cap, positive, read_order, read_payable

TRIES_S: Final = 15  # how long the node looks for routes; what is on its way by then may take hours
SEND_WAIT_S: Final = 20.0
_PAYS_BY: Final = ("xpay", "listpays")
_MAY_NOT_PAY: Final = "the rune may not pay; it needs xpay and listpays"
_FOR_EVER_S: Final = 86_400.0


class ClnPayer:
    """The payments of a Core Lightning node, 25.02 or later. The rune needs xpay and listpays, and nothing else.

    While the node looks for a first route, it lists nothing of a payment. So for ``tries_s`` after a call, and after
    this was opened (an earlier process may have called), what is not listed is taken to be in flight, not missing.
    """

    asset: Asset = BTC_MSAT

    def __init__(
        self,
        http: httpx.AsyncClient,
        *,
        network: str,
        name: str = "cln",
        timeout_s: float = 10.0,
        wait_s: float = SEND_WAIT_S,
        tries_s: int = TRIES_S,
    ) -> None:
        if network not in NETWORKS:
            raise ValueError(f"{network!r} is not one of {', '.join(NETWORKS)}")
        self.name = name
        self._set_to = f"bitcoin {network}"
        self._prefix = NETWORKS[network][1]
        self._http = http
        self._node = Node(http, name=name, timeout_s=timeout_s)
        self._wait_s = wait_s
        self._tries_s = tries_s
        self._listed_from = monotonic() + tries_s
        self._calls: dict[str, float] = {}  # until when a call of ours may begin a payment
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def aclose(self) -> None:
        """Close the connections; payments that are on their way stay there."""
        await self._http.aclose()

    def read_invoice(self, payment_request: str) -> Bolt11:
        """Return what an invoice says, its signature verified.

        Raises:
            MalformedInvoice: it is none.
            SendRefused: it is not for the network that this node pays on.
        """
        return read_payable(payment_request, provider=self.name, prefix=self._prefix, network=self._set_to)

    async def send(self, request: SendRequest) -> SentPayment:
        """Pay an invoice, and return how that stands when it is final, or when we waited long enough.

        Raises:
            ProviderUnavailable: the outcome is unknown; look up the reference, and do not send again before that.
            SendRefused: the node did not begin, and nothing moved.
            ProviderMisconfigured: likewise, and the operator must act.
        """
        invoice = read_order(request, provider=self.name, prefix=self._prefix, network=self._set_to, asset=BTC_MSAT)
        question: dict[str, object] = {
            "invstring": without_scheme(request.payment_request),
            "maxfee": fee_cap(request.fee_max, asset=BTC_MSAT),
            "retry_for": self._tries_s,
        }
        if request.amount is not None:
            question["amount_msat"] = positive(request.amount, provider=self.name, asset=BTC_MSAT)
        lock = self._locks.setdefault(invoice.payment_hash, asyncio.Lock())
        async with lock:
            if self._may_begin(invoice.payment_hash):
                return await self._followed(invoice.payment_hash)
            return await self._once(question, reference=invoice.payment_hash)

    async def _once(self, question: dict[str, object], *, reference: str) -> SentPayment:
        """Ask the node to pay, unless it has begun before.

        Until its answer is there, and for a while after that was lost, it may begin what it does not list yet.
        """
        now = monotonic()
        self._calls = {known: until for known, until in self._calls.items() if until > now}
        self._calls[reference] = inf
        may_begin = False
        try:
            earlier = await self._listed(reference)
            if earlier.status in {SentStatus.SUCCEEDED, SentStatus.IN_FLIGHT}:
                return earlier
            may_begin = True
            sent = await self._sent(question, reference=reference)
            may_begin = sent.status is SentStatus.IN_FLIGHT
        except (ProviderMisconfigured, SendRefused):
            may_begin = False
            raise
        finally:
            self._calls[reference] = monotonic() + self._tries_s if may_begin else 0.0
        return sent

    def _may_begin(self, reference: str) -> bool:
        return monotonic() < self._calls.get(reference, 0.0)

    async def _sent(self, question: dict[str, object], *, reference: str) -> SentPayment:
        try:
            async with asyncio.timeout(self._wait_s):
                paid = await self._node.ask("xpay", question, Paid, longer_s=_FOR_EVER_S)
        except TimeoutError:
            return await self._followed(reference)
        except NodeRefusal as refusal:
            return await self._given_up(refusal, reference=reference)
        except ProviderMisconfigured as error:
            if error.reason == NO_CLNREST:  # it may have paid, and told so in words that we do not understand
                raise NodeUnavailable(self.name, error.reason) from error
            raise
        try:
            return succeeded(paid, reference=reference, provider=self.name)
        except ProviderMisconfigured as error:
            raise NodeUnavailable(self.name, error.reason) from error

    async def _given_up(self, refusal: NodeRefusal, *, reference: str) -> SentPayment:
        """Return how a payment stands of which the node says that it makes no further try.

        It says so while parts of the payment are still on their way: only the list tells how it ends.
        """
        if refusal.fault is Fault.FORBIDDEN:
            raise ProviderMisconfigured(self.name, _MAY_NOT_PAY) from refusal
        if refusal.fault in {Fault.EXPIRED, Fault.DECLINED, Fault.WRONG_PARAMETERS}:
            raise SendRefused(self.name, refusal.said) from refusal
        found = await self._followed(reference, anything_yet=False)
        if found.status in {SentStatus.SUCCEEDED, SentStatus.IN_FLIGHT}:
            return found
        if refusal.fault not in FAILURE:
            raise NodeUnavailable(self.name, refusal.said) from refusal
        return failed(reference, FAILURE[refusal.fault])

    async def _followed(self, reference: str, *, anything_yet: bool = True) -> SentPayment:
        """Return how a payment stands that we asked for.

        Raises:
            ProviderUnavailable: it is not known; with ``anything_yet``, also when it is not listed.
        """
        try:
            found = await self._listed(reference)
        except ProviderMisconfigured as error:
            raise NodeUnavailable(self.name, error.reason) from error
        if anything_yet and found.status is SentStatus.MISSING:
            raise NodeUnavailable(self.name, NOT_SEEN)
        return found

    async def lookup_sent(self, reference: str) -> SentPayment:
        """Return how a payment stands now; status MISSING when the node never began it.

        Raises:
            ProviderUnavailable: no answer.
            ProviderMisconfigured: the operator must act; the outcome stays unknown.
        """
        may_begin = self._may_begin(reference) or monotonic() < self._listed_from
        found = await self._listed(reference)
        if found.status is SentStatus.MISSING and may_begin:
            return SentPayment(reference=reference, status=SentStatus.IN_FLIGHT)
        return found

    async def _listed(self, reference: str) -> SentPayment:
        rows = (await self._node.ask("listpays", {"payment_hash": reference}, PayRows)).pays
        return stands(rows, reference=reference, provider=self.name)

    async def paying_health(self) -> ProviderHealth:
        """Tell whether the rune may pay. Nothing is begun: no call is given what it needs to act."""
        try:
            may_pay = await self._node.may(_PAYS_BY)
        except NodeUnavailable as error:
            return ProviderHealth(ready=False, detail=error.reason)
        except QuittanceError as error:
            return ProviderHealth(ready=False, detail=error.message)
        return ProviderHealth(ready=may_pay, detail="may pay" if may_pay else _MAY_NOT_PAY)
