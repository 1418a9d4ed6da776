"""Questions to one Strike account: counted, with a deadline each, and no error of the wire gets past here."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode

import httpx
from pydantic import TypeAdapter, ValidationError

from quittance.domain.errors import ProviderMisconfigured
from quittance.domain.money import Money
from quittance.providers.lightning import NodeUnavailable
from quittance.providers.strike import calls
from quittance.providers.strike.bodies import (
    BalanceBody,
    EventBody,
    InvoiceBody,
    InvoiceQuoteBody,
    Page,
    PaymentBody,
    PaymentQuoteBody,
    RateBody,
)
from quittance.providers.strike.budget import Budget
from quittance.providers.strike.calls import Call
from quittance.providers.strike.errors import (
    NO_STRIKE,
    SILENT,
    RateLimited,
    StrikeRefusal,
    from_transport,
    to_quittance_error,
)
from quittance.providers.strike.money import written

TIMEOUT_S: Final = 10.0
IN_DROPS: Final = 1.5  # how much longer an answer may take that never falls silent
_PAGES_MAX: Final = 10_000
_ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
_INVOICE: Final = TypeAdapter(InvoiceBody)
_INVOICES: Final = TypeAdapter(Page[InvoiceBody])
_INVOICE_QUOTE: Final = TypeAdapter(InvoiceQuoteBody)
_PAYMENT_QUOTE: Final = TypeAdapter(PaymentQuoteBody)
_PAYMENT: Final = TypeAdapter(PaymentBody)
_EVENTS: Final = TypeAdapter(Page[EventBody])
_RATES: Final = TypeAdapter(list[RateBody])
_BALANCES: Final = TypeAdapter(list[BalanceBody])

Given = TypeVar("Given")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What one call is asked. ``key`` makes Strike refuse the same question a second time (1.6)."""

    entity_id: str | None = None
    query: Mapping[str, str] | None = None
    body: Mapping[str, Any] | None = None
    key: str | None = None
    urgent: bool = False


_NOTHING: Final = Question()


class StrikeClient:
    """One API key of an account. All clients of an account share one ``budget``."""

    def __init__(
        self, http: httpx.AsyncClient, *, budget: Budget, name: str = "strike", timeout_s: float = TIMEOUT_S
    ) -> None:
        self.name = name
        self._http = http
        self._budget = budget
        self._timeout_s = timeout_s
        self._under_way: set[asyncio.Task[tuple[int, bytes]]] = set()

    async def aclose(self) -> None:
        """Close the connections; what was begun at Strike goes on there."""
        await self._http.aclose()

    async def ask(self, call: Call, answer: TypeAdapter[Given], question: Question = _NOTHING) -> Given:
        """Return Strike's answer within the deadline.

        Raises:
            NotAsked: nothing was done; RateLimited if the calls of this kind are used up.
            ProviderUnavailable: no answer; what the call did is unknown.
            ProviderMisconfigured: the operator must act; a :class:`StrikeRefusal` may mean something to this call.
        """
        content = await self._content(call, question)
        try:
            return answer.validate_json(content)
        except ValidationError as error:
            raise ProviderMisconfigured(self.name, NO_STRIKE) from error

    async def do(self, call: Call, question: Question) -> None:
        """Make a call whose answer says nothing but yes; as ``ask`` otherwise."""
        await self._content(call, question)

    async def _content(self, call: Call, question: Question) -> bytes:
        status, content = await self._answer(call, question)
        if status not in call.statuses:
            raise self._refusal(call, status, content)
        return content

    async def _answer(self, call: Call, question: Question) -> tuple[int, bytes]:
        if self._http.is_closed:
            raise NodeUnavailable(self.name, SILENT)
        wait_s = self._budget.take(call.bucket, urgent=question.urgent)
        if wait_s > 0:
            raise RateLimited(self.name, wait_s=wait_s)
        try:
            return await self._in_time(self._send(call, question))
        except (httpx.HTTPError, httpx.StreamError, TimeoutError, OSError) as error:
            raise from_transport(error, provider=self.name) from error

    async def _in_time(self, sending: Coroutine[None, None, tuple[int, bytes]]) -> tuple[int, bytes]:
        """Wait for an answer until the deadline, and no longer.

        A call whose caller goes away is left to end by itself: canceled, it may keep its place among the connections
        for good, until there is none left.

        Raises:
            TimeoutError: there was no answer.
        """
        task = asyncio.create_task(sending)
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        await asyncio.wait({task}, timeout=self._timeout_s * IN_DROPS)
        if not task.done():
            task.cancel()
            raise TimeoutError
        return task.result()

    def _ended(self, task: "asyncio.Task[tuple[int, bytes]]") -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that one that nobody waits for is not reported as forgotten

    async def _send(self, call: Call, question: Question) -> tuple[int, bytes]:
        path = call.path if question.entity_id is None else call.path.format(id=quote(question.entity_id, safe=""))
        if question.query:
            path = f"{path}?{urlencode(question.query, quote_via=quote, safe='$')}"
        headers = {} if question.key is None else {"idempotency-key": question.key}
        content = bytearray()
        silence = httpx.Timeout(self._timeout_s)
        async with self._http.stream(
            call.method, path, json=question.body, headers=headers, timeout=silence
        ) as response:
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > _ANSWER_BYTES_MAX:
                    raise ProviderMisconfigured(self.name, "Strike's answer is larger than we accept")
        return response.status_code, bytes(content)

    def _refusal(self, call: Call, status: int, content: bytes) -> Exception:
        if status == HTTPStatus.TOO_MANY_REQUESTS:  # whatever else it says: one more call would make it last longer
            return RateLimited(self.name, wait_s=self._budget.lock(call.bucket))
        return to_quittance_error(status, content, scope=call.scope, provider=self.name)

    async def issue_invoice(
        self, *, amount: Money, description: str, correlation_id: str, handle: str | None = None
    ) -> InvoiceBody:
        """Make an invoice; a ``correlation_id`` that was used before is refused as DUPLICATE_INVOICE.

        With a ``handle`` it is that customer of Strike's who receives.
        """
        body: dict[str, object] = {"correlationId": correlation_id, "amount": written(amount)}
        if description:
            body["description"] = description
        call = calls.ISSUE_INVOICE if handle is None else calls.ISSUE_INVOICE_FOR_HANDLE
        return await self.ask(call, _INVOICE, Question(entity_id=handle, body=body))

    async def invoices_named(self, correlation_id: str) -> Sequence[InvoiceBody]:
        """Return the invoices with this correlation id; there is one at most, if Strike keeps its word."""
        quoted = correlation_id.replace("'", "''")
        query = {"$filter": f"correlationId eq '{quoted}'", "$top": "2"}
        return (await self.ask(calls.LIST_INVOICES, _INVOICES, Question(query=query))).items

    async def find_invoice(self, invoice_id: str) -> InvoiceBody | None:
        """Return an invoice with its transactions, or None if the account has none of this id."""
        question = Question(entity_id=invoice_id, query={"includeTransactions": "true"})
        try:
            found = await self.ask(calls.FIND_INVOICE, _INVOICE, question)
        except StrikeRefusal as refusal:
            if refusal.strike_code == "NOT_FOUND":
                return None
            raise
        if found.invoice_id.lower() != invoice_id.lower():
            raise ProviderMisconfigured(self.name, "Strike answers with another invoice than the one asked for")
        return found

    async def newest_invoices(self, *, count: int) -> Sequence[InvoiceBody]:
        return (await self.ask(calls.LIST_INVOICES, _INVOICES, Question(query={"$top": str(count)}))).items

    async def invoice_pages(self) -> AsyncIterator[Sequence[InvoiceBody]]:
        """Yield all invoices of the account, the oldest first; pages may overlap, as they are counted, not cut."""
        async for page in self.pages(calls.LIST_INVOICES, _INVOICES, {}, urgent=False):
            yield page

    async def quote_invoice(self, invoice_id: str, *, description_hash: str | None) -> InvoiceQuoteBody:
        """Make what pays an invoice. An earlier quote may stay payable until its own end."""
        body = None if description_hash is None else {"descriptionHash": description_hash}
        return await self.ask(calls.ISSUE_QUOTE, _INVOICE_QUOTE, Question(entity_id=invoice_id, body=body))

    async def cancel_invoice(self, invoice_id: str) -> InvoiceBody:
        return await self.ask(calls.CANCEL_INVOICE, _INVOICE, Question(entity_id=invoice_id))

    async def quote_lightning(
        self, *, ln_invoice: str, amount: Money | None, currency: str, key: str
    ) -> PaymentQuoteBody:
        """Ask what paying an invoice costs; ``amount`` for one that names none. Nothing moves yet.

        A ``key`` that was used before is refused as DUPLICATE_PAYMENT_QUOTE.
        """
        body: dict[str, object] = {"lnInvoice": ln_invoice, "sourceCurrency": currency}
        if amount is not None:
            body["amount"] = {**written(amount), "feePolicy": "EXCLUSIVE"}
        return await self.ask(calls.QUOTE_LIGHTNING, _PAYMENT_QUOTE, Question(body=body, key=key, urgent=True))

    async def execute_quote(self, quote_id: str) -> PaymentBody:
        """Pay a quote. Strike does it once: a second call is PAYMENT_PROCESSED or PROCESSING_PAYMENT."""
        return await self.ask(calls.EXECUTE_QUOTE, _PAYMENT, Question(entity_id=quote_id, urgent=True))

    async def find_payment(self, payment_id: str) -> PaymentBody:
        found = await self.ask(calls.FIND_PAYMENT, _PAYMENT, Question(entity_id=payment_id, urgent=True))
        if found.payment_id.lower() != payment_id.lower():
            raise ProviderMisconfigured(self.name, "Strike answers with another payment than the one asked for")
        return found

    async def event_pages(self, *, since: datetime, urgent: bool = False) -> AsyncGenerator[Sequence[EventBody]]:
        """Yield the events from ``since`` on, the oldest first, of every type.

        One term a filter: Strike's edge blocks some that have several (1.1), so types are told apart by the caller.
        """
        moment = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        async for page in self.pages(calls.LIST_EVENTS, _EVENTS, {"$filter": f"created ge {moment}"}, urgent=urgent):
            yield page

    async def pages(
        self, call: Call, answer: TypeAdapter[Page[Given]], query: Mapping[str, str], *, urgent: bool
    ) -> AsyncIterator[Sequence[Given]]:
        """Yield a list page by page, the oldest first; an item may come twice, as pages are counted, not cut."""
        for number in range(_PAGES_MAX):
            paged = {**query, "$orderby": "created asc", "$skip": str(number * calls.PAGE), "$top": str(calls.PAGE)}
            items = (await self.ask(call, answer, Question(query=paged, urgent=urgent))).items
            if items:
                yield items
            if len(items) < calls.PAGE:
                return
        raise NodeUnavailable(self.name, "Strike's list does not end")

    async def ticker(self) -> Sequence[RateBody]:
        """Return the rates of every pair, in both directions."""
        return await self.ask(calls.RATES_TICKER, _RATES)

    async def balances(self) -> Sequence[BalanceBody]:
        return await self.ask(calls.BALANCES, _BALANCES)
