"""Receives over Lightning into a Strike account."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from quittance.domain.errors import InvalidAmount, InvoiceRejected, ProviderMisconfigured, QuittanceError
from quittance.domain.ids import Preimage
from quittance.domain.money import Money
from quittance.providers.base import FeedPosition, Invoice, InvoiceRequest, ProviderHealth, Settlement
from quittance.providers.lightning import NodeUnavailable, asked_amount, description_hash, missing
from quittance.providers.strike import feed
from quittance.providers.strike.bodies import InvoiceBody, is_uuid
from quittance.providers.strike.client import StrikeClient
from quittance.providers.strike.errors import Meaning, StrikeRefusal
from quittance.providers.strike.invoices import (
    OtherNetwork,
    QuoteTerms,
    description_of,
    name_of,
    to_invoice,
    verified,
)
from quittance.providers.strike.money import ASSETS, UNITS, read
from quittance.providers.strike.networks import prefix_of

POLL_S: Final = 5.0
_KNOWN_MAX: Final = 10_000  # invoices that are kept in memory as they were read
_OVER: Final = frozenset(
    {
        "INVALID_STATE_FOR_INVOICE_PAID",
        "INVALID_STATE_FOR_INVOICE_CANCELLED",
        "INVALID_STATE_FOR_INVOICE_REVERSED",
        "UNPROCESSABLE_ENTITY",
    }
)


class StrikeProvider:
    """A Strike account that invoices in ``currency``; the payer always pays bitcoin over Lightning.

    The API key needs the scopes partner.invoice.create, .read, .cancel and .quote.generate; and partner.webhooks.manage
    for the feed. An invoice never ends by itself, but what pays it does (after 30 s where the currency is not
    bitcoin), so that a payer who comes later needs ``requote``.
    """

    def __init__(
        self,
        client: StrikeClient,
        *,
        network: str,
        now: Callable[[], datetime],
        currency: str = "BTC",
        poll_s: float = POLL_S,
    ) -> None:
        if currency not in ASSETS:
            raise ValueError(f"{currency!r} is not one of {', '.join(ASSETS)}")
        self.name = client.name
        self.asset, self.unit = ASSETS[currency], UNITS[currency]
        self._prefix = prefix_of(network)
        self._set_to = f"bitcoin {network}"
        self._client = client
        self._now = now
        self._poll_s = poll_s
        self._known: dict[str, InvoiceBody] = {}
        self._read = feed.Memory()
        self._other_network = False

    async def aclose(self) -> None:
        """Close the connections; calls under way and feeds end as if Strike had gone."""
        await self._client.aclose()

    def reference(self, preimage: Preimage) -> str:
        return name_of(preimage)

    async def create_invoice(self, request: InvoiceRequest) -> Invoice:
        """Make an invoice and what pays it, and verify both; the same preimage again finds the first invoice.

        That one is returned as it stands now, with a new payment request while it is open.

        Raises:
            ProviderUnavailable: the outcome is unknown; look up the reference or repeat with the same preimage.
            InvoiceRejected: Strike refuses the terms, or holds another amount for the same preimage.
            ProviderMisconfigured: the operator must act; no invoice of such an account is handed out.
        """
        asked = self._asked(request)
        reference = name_of(request.preimage)
        try:
            invoice = await self._made(asked, request, reference=reference)
        except StrikeRefusal as refusal:
            if refusal.meaning is Meaning.REFUSED:
                raise InvoiceRejected(self.name, refusal.said) from refusal
            raise
        return replace(invoice, expires_at=self._now() + timedelta(seconds=request.expires_in_s))

    def _asked(self, request: InvoiceRequest) -> Money:
        try:
            value = asked_amount(request, provider=self.name, asset=self.unit)
        except InvalidAmount as error:
            raise InvoiceRejected(self.name, f"Strike does not ask for that: {error.message}") from error
        return Money(value, self.unit).rescaled_exactly(self.asset)

    async def _made(self, asked: Money, request: InvoiceRequest, *, reference: str) -> Invoice:
        try:
            body = await self._client.issue_invoice(
                amount=asked, description=description_of(request.description), correlation_id=reference
            )
        except StrikeRefusal as refusal:
            if refusal.strike_code != "DUPLICATE_INVOICE":
                raise
            body = await self._held(reference)
        self._check_name(body, reference)
        if read(body.amount, asset=self.asset, provider=self.name) != asked:
            raise InvoiceRejected(self.name, "Strike holds an invoice for another amount under this preimage")
        return await self._quoted(body, hash_=description_hash(request))

    async def _held(self, reference: str) -> InvoiceBody:
        """Return the invoice that has a name which Strike will not use twice."""
        body = await self._find(reference)
        if body is None:  # Strike knows it, and does not list it yet
            raise NodeUnavailable(self.name, "Strike does not show an invoice that it says it has")
        return body

    async def _quoted(self, body: InvoiceBody, *, hash_: str | None) -> Invoice:
        """Return an invoice with a new payment request and its end; one that is not open, as it stands."""
        if body.state != "UNPAID":
            return await self._as_it_stands(body)
        try:
            quote = await self._client.quote_invoice(body.invoice_id, description_hash=hash_)
        except StrikeRefusal as refusal:
            now = await self._client.find_invoice(body.invoice_id) if refusal.strike_code in _OVER else None
            if now is None or now.state == "UNPAID":
                raise
            return to_invoice(now, asset=self.asset, provider=self.name)
        amount = read(body.amount, asset=self.asset, provider=self.name)
        terms = QuoteTerms(amount=amount, description_hash=hash_, prefix=self._prefix, network=self._set_to)
        try:
            ends_at = verified(quote, terms=terms, provider=self.name)
        except OtherNetwork:
            self._other_network = True
            raise
        invoice = to_invoice(body, asset=self.asset, provider=self.name)
        return replace(invoice, payment_request=quote.ln_invoice, payable_until=ends_at)

    async def requote(self, reference: str) -> Invoice:
        """Make a new payment request for an open invoice; others are returned as they stand.

        ``payable_until`` is the new quote's own end. The request carries the invoice's description,
        also where the first one was bound to a text by its hash: Strike does not remember that.

        Raises:
            ProviderUnavailable: no answer; asking again is safe.
            ProviderMisconfigured: the operator must act.
        """
        body = self._known.get(reference) or await self._find(reference)
        if body is None:
            return missing(reference)
        return await self._quoted(body, hash_=None)

    async def lookup_invoice(self, reference: str) -> Invoice:
        """Return what Strike holds, without a payment request: none is made by looking.

        An invoice that is being paid (PENDING) is OPEN until the money is there.

        Raises:
            ProviderUnavailable: no answer.
            ProviderMisconfigured: the operator must act.
        """
        body = await self._find(reference)
        return missing(reference) if body is None else await self._as_it_stands(body)

    async def _as_it_stands(self, body: InvoiceBody) -> Invoice:
        """Return how Strike holds an invoice; of one that was paid, also since when."""
        if body.state == "PAID" and not body.transactions:
            body = await self._client.find_invoice(body.invoice_id) or body
        return to_invoice(body, asset=self.asset, provider=self.name)

    async def _find(self, reference: str) -> InvoiceBody | None:
        known = self._known.get(reference)
        body = None if known is None else await self._client.find_invoice(known.invoice_id)
        if body is None:
            listed = await self._client.invoices_named(reference)
            if any(one.correlation_id != reference for one in listed):
                raise ProviderMisconfigured(self.name, "Strike answers with another invoice than the one asked for")
            found = [one for one in listed if one.own_name == reference]
            if len(found) > 1:
                raise ProviderMisconfigured(self.name, "Strike has given our name for an invoice to several")
            body = found[0] if found else None
        if body is not None:
            self._check_name(body, reference)
        return body

    def _check_name(self, body: InvoiceBody, reference: str) -> None:
        if body.own_name != reference:
            raise ProviderMisconfigured(self.name, "Strike answers with another invoice than the one asked for")
        if len(self._known) >= _KNOWN_MAX:
            del self._known[next(iter(self._known))]
        self._known[reference] = body

    async def cancel_invoice(self, reference: str) -> Invoice:
        """Cancel an open invoice and return how it stands afterwards; a settled one stays settled.

        One that is being paid cannot be cancelled: it stays OPEN until that has ended.

        Raises:
            ProviderUnavailable: the outcome is unknown; look up the reference.
            ProviderMisconfigured: the operator must act.
        """
        body = await self._find(reference)
        if body is None:
            return missing(reference)
        if body.state != "UNPAID":
            return await self._as_it_stands(body)
        try:
            body = await self._client.cancel_invoice(body.invoice_id)
        except StrikeRefusal as refusal:
            if refusal.meaning is not Meaning.REFUSED:
                raise
            return await self.lookup_invoice(reference)
        self._check_name(body, reference)
        return await self._as_it_stands(body)

    async def reference_of(self, *, kind: str, entity_id: str) -> str | None:
        """Return the correlation id of the invoice that a callback tells of; None if it is none of this account.

        Callbacks are of the whole account: of what others issued and of what is no invoice, nothing is asked (W10).

        Raises:
            ProviderUnavailable: no answer.
            ProviderMisconfigured: the operator must act.
        """
        if not (kind.startswith("invoice.") and is_uuid(entity_id)):
            return None
        body = await self._client.find_invoice(entity_id)
        return None if body is None else body.own_name

    def settlements(self, *, resume: FeedPosition | None) -> AsyncGenerator[Settlement | FeedPosition]:
        """Yield what settled after ``resume``, then what settles from now on, until Strike does not answer.

        Raises:
            ProviderUnavailable: no answer, or asked too often; call again with the last stored position.
            ProviderMisconfigured: the operator must act.
        """
        pace = feed.Pace(now=self._now, poll_s=self._poll_s)
        return feed.follow(self._client, self._read, asset=self.asset, resume=resume, pace=pace)

    async def invoices(self) -> AsyncGenerator[Invoice]:
        """Yield every invoice of the account, ours or not, the oldest first.

        One that others made in another currency, and without a name, is left out: it can be none of ours.

        Raises:
            ProviderUnavailable: no answer; what was yielded before is not the whole list.
            ProviderMisconfigured: the operator must act; likewise.
        """
        seen: set[str] = set()
        async for page in self._client.invoice_pages():
            for body in page:
                if body.invoice_id not in seen and body.amount.currency == self.asset.code:
                    seen.add(body.invoice_id)
                    yield to_invoice(body, asset=self.asset, provider=self.name)

    async def health(self) -> ProviderHealth:
        """Tell whether Strike answers to our key; never raises.

        Nothing of Strike tells its network: it shows in the first invoice that we verify.
        """
        if self._other_network:
            detail = f"Strike makes invoices for another network than {self._set_to}"
            return ProviderHealth(ready=False, detail=detail, wrong_network=True)
        try:
            await self._client.newest_invoices(count=1)
        except NodeUnavailable as error:
            return ProviderHealth(ready=False, detail=error.reason)
        except QuittanceError as error:
            return ProviderHealth(ready=False, detail=error.message)
        return ProviderHealth(ready=True, detail=f"invoices in {self.asset.code} on {self._set_to}")
