"""Requests that any number of payments may come to, over Lightning or the chain (1.4)."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter

from quittance.domain.money import Money
from quittance.providers.strike import calls
from quittance.providers.strike.bodies import Page, ReceiveBody, ReceiveRequestBody
from quittance.providers.strike.client import Question, StrikeClient
from quittance.providers.strike.money import written

DESCRIPTION_MAX: Final = 250
_REQUEST: Final = TypeAdapter(ReceiveRequestBody)
_REQUESTS: Final = TypeAdapter(Page[ReceiveRequestBody])
_RECEIVES: Final = TypeAdapter(Page[ReceiveBody])


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiveOrder:
    """What to ask for. Without an amount, the payer chooses. ``expires_in_s`` is of the Lightning invoice."""

    amount: Money | None
    description: str = ""
    expires_in_s: int | None = None
    with_onchain: bool = False


class ReceiveRequests:
    """Nothing protects a request from being made twice: one whose answer was lost is an orphan (1.6)."""

    def __init__(self, client: StrikeClient) -> None:
        self._client = client

    async def create(self, order: ReceiveOrder) -> ReceiveRequestBody:
        amount: Mapping[str, object] = {} if order.amount is None else {"amount": written(order.amount)}
        bolt11 = dict(amount)
        if order.description:
            bolt11["description"] = order.description[:DESCRIPTION_MAX]
        if order.expires_in_s is not None:
            bolt11["expiryInSeconds"] = order.expires_in_s
        body = {"bolt11": bolt11} | ({"onchain": dict(amount)} if order.with_onchain else {})
        return await self._client.ask(calls.CREATE_RECEIVE_REQUEST, _REQUEST, Question(body=body))

    async def find(self, request_id: str) -> ReceiveRequestBody:
        return await self._client.ask(calls.FIND_RECEIVE_REQUEST, _REQUEST, Question(entity_id=request_id))

    async def with_payment_hash(self, payment_hash: str) -> Sequence[ReceiveRequestBody]:
        question = Question(query={"$paymentHash": payment_hash})
        return (await self._client.ask(calls.LIST_RECEIVE_REQUESTS, _REQUESTS, question)).items

    async def receives(self, request_id: str) -> AsyncIterator[Sequence[ReceiveBody]]:
        """Yield what came for a request, page by page; several payments may."""
        skip = 0
        while True:
            question = Question(entity_id=request_id, query={"$skip": str(skip), "$top": str(calls.PAGE)})
            items = (await self._client.ask(calls.LIST_RECEIVES, _RECEIVES, question)).items
            if items:
                yield items
            if len(items) < calls.PAGE:
                return
            skip += calls.PAGE
