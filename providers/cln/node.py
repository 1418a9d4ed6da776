"""Questions to one node: every call has a deadline, and no error of the wire gets past here."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from http import HTTPStatus
from typing import Final, Literal, TypeVar

import httpx
from pydantic import ValidationError

from quittance.domain.errors import ProviderMisconfigured
from quittance.providers.cln.errors import (
    CLNREST_SAYS,
    NO_CLNREST,
    SILENT,
    Fault,
    NodeRefusal,
    from_transport,
    to_quittance_error,
    without_words,
)
from quittance.providers.cln.rows import Answer, Info, InvoiceRow, InvoiceRows, Nothing, Refusal
from quittance.providers.lightning import NodeUnavailable

_PAGE: Final = 500
_ANSWER_BYTES_MAX: Final = 32 * 1024 * 1024
_WAIT_S: Final = 30
_SAID_MAX: Final = 200
_RECEIVES_BY: Final = ("invoice", "listinvoices", "delinvoice", "waitanyinvoice")

Given = TypeVar("Given", bound=Answer)


class Node:
    """One Core Lightning node behind clnrest."""

    def __init__(self, http: httpx.AsyncClient, *, name: str, timeout_s: float) -> None:
        self.name = name
        self._http = http
        self._timeout_s = timeout_s
        self._may: dict[Sequence[str], bool] = {}

    async def ask(
        self, method: str, question: Mapping[str, object], answer: type[Given], *, longer_s: float = 0
    ) -> Given:
        """Return the node's answer within the deadline, which is ``longer_s`` later for a call that waits.

        Raises:
            ProviderUnavailable: no answer; what the call did is unknown.
            ProviderMisconfigured: the operator must act; a :class:`NodeRefusal` may mean something to this call.
        """
        if self._http.is_closed:
            raise NodeUnavailable(self.name, SILENT)
        try:
            async with asyncio.timeout(self._timeout_s + longer_s):
                status, content = await self._post(method, question)
        except (httpx.HTTPError, httpx.StreamError, TimeoutError, OSError) as error:
            raise from_transport(error, provider=self.name) from error
        if status != HTTPStatus.CREATED:
            raise self._refusal(status, content)
        try:
            return answer.model_validate_json(content)
        except ValidationError as error:
            raise ProviderMisconfigured(self.name, NO_CLNREST) from error

    async def _post(self, method: str, question: Mapping[str, object]) -> tuple[int, bytes]:
        content = bytearray()
        async with self._http.stream("POST", f"/v1/{method}", json=question) as response:
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > _ANSWER_BYTES_MAX:
                    raise ProviderMisconfigured(self.name, "the node's answer is larger than we accept")
        return response.status_code, bytes(content)

    def _refusal(self, status: int, content: bytes) -> Exception:
        try:
            refusal = Refusal.model_validate(json.loads(content)) if status in CLNREST_SAYS else None
        except (RecursionError, ValueError):  # pydantic's is one of them
            refusal = None
        if refusal is None:
            return without_words(status, provider=self.name)
        return to_quittance_error(status, refusal.code, refusal.message[:_SAID_MAX], provider=self.name)

    async def facts(self) -> Info:
        """Return what the node says of itself."""
        return await self.ask("getinfo", {}, Info)

    async def pages(self, *, index: Literal["created", "updated"]) -> AsyncIterator[Sequence[InvoiceRow]]:
        """Yield all invoices in the order they were made; by "updated", those that changed since, as they changed."""
        start = 1
        while True:
            question = {"index": index, "start": start, "limit": _PAGE}
            rows = (await self.ask("listinvoices", question, InvoiceRows)).invoices
            if not rows:
                return
            indexes = [row.created_index if index == "created" else row.updated_index for row in rows]
            if min(indexes) < start or sorted(set(indexes)) != indexes:
                raise ProviderMisconfigured(self.name, "the node's list of invoices does not advance")
            yield rows
            start = indexes[-1] + 1

    async def next_paid(self, *, after: int, wait_s: int = _WAIT_S) -> InvoiceRow | None:
        """Return the invoice that was paid next after ``after``, or None if there is none within ``wait_s``."""
        question = {"lastpay_index": after, "timeout": wait_s}
        try:
            row = await self.ask("waitanyinvoice", question, InvoiceRow, longer_s=wait_s)
        except NodeRefusal as refusal:
            if refusal.fault is Fault.NO_NEWS:
                return None
            raise
        if row.pay_index is None or row.pay_index <= after:
            raise ProviderMisconfigured(self.name, "the node tells of a payment that we did not ask for")
        return row

    async def may_receive(self) -> bool:
        """Tell whether the rune may read, make and delete invoices."""
        return await self.may(_RECEIVES_BY)

    async def may(self, methods: Sequence[str]) -> bool:
        """Tell whether the rune allows all of ``methods``. Nothing changes: no call is given what it needs to act.

        A yes is remembered.
        """
        if not self._may.get(methods):
            self._may[methods] = all([await self._allows(method) for method in methods])
        return self._may[methods]

    async def _allows(self, method: str) -> bool:
        try:
            await self.ask(method, {"timeout": "none", "start": "none"}, Nothing)
        except NodeRefusal as refusal:
            return refusal.fault is not Fault.FORBIDDEN
        return True
