"""Payloads of webhooks: a subscription document, an endpoint's own or ours, executed on one event."""

from collections.abc import Mapping
from typing import Any, Final

from graphql import ArgumentNode, FieldNode, IntValueNode, StringValueNode, Visitor, visit

from quittance.domain.access import Principal, Scope
from quittance.domain.cursor import encode_position
from quittance.domain.errors import InvalidDocument, InvalidInput
from quittance.domain.event import Event, EventKind
from quittance.domain.ids import ARTICLE, MerchantId, prefix_of
from quittance.gql.context import Access
from quittance.gql.documents import DocumentStore, GraphQLRequest
from quittance.gql.execution import Answer, Executor, Prepared
from quittance.gql.limits import DocumentLimits, operations_of
from quittance.gql.masking import INTERNAL, RequestRefused
from quittance.gql.pages import asked_page
from quittance.gql.schema import core_schema, schema
from quittance.gql.streams import EventStream
from quittance.gql.subscription import PAID_OUT, PUBLISHED, REFUNDED, SETTLED, UPDATED
from quittance.resolvers.payloads import NotConcerned, PayloadUnavailable

_PAYMENT: Final = """
  id status statusReason purpose provider description correlationId createdAt expiresAt settledAt
  amount { value assetCode assetScale } received { value assetCode assetScale } article { id title }
"""
_PAYOUT: Final = """
  id status statusReason provider destinationKind destination createdAt endedAt
  amount { value assetCode assetScale } fee { value assetCode assetScale }
"""
_REFUND: Final = f"{_PAYOUT} reason payment {{ id correlationId }}"
_OURS: Final[Mapping[EventKind, str]] = {
    EventKind.PAYMENT_SETTLED: f"subscription {{ paymentSettled {{ eventId cursor payment {{ {_PAYMENT} }} }} }}",
    EventKind.PAYMENT_UPDATED: f"subscription {{ paymentUpdated {{ eventId cursor payment {{ {_PAYMENT} }} }} }}",
    EventKind.REFUND_UPDATED: f"subscription {{ refundUpdated {{ eventId cursor refund {{ {_REFUND} }} }} }}",
    EventKind.PAYOUT_UPDATED: f"subscription {{ payoutUpdated {{ eventId cursor payout {{ {_PAYOUT} }} }} }}",
    EventKind.ARTICLE_PUBLISHED: "subscription { articlePublished { eventId cursor article { id title status } } }",
}
_KINDS: Final[Mapping[str, frozenset[EventKind]]] = {
    "paymentSettled": SETTLED,
    "paymentUpdated": UPDATED,
    "articlePublished": PUBLISHED,
    "refundUpdated": REFUNDED,
    "payoutUpdated": PAID_OUT,
}


class GraphQLPayloads:
    """Implements ``quittance.resolvers.payloads.PayloadRenderer``: the merchant's own view, and nothing beyond it."""

    def __init__(self, access: Access, *, limits: DocumentLimits) -> None:
        documents = DocumentStore(schema=core_schema(), limits=limits)  # apart from strangers', and never trusted only
        self._executor = Executor(schema=schema, documents=documents)
        self._access = access

    def kinds_of(self, document: str) -> frozenset[EventKind]:
        prepared = self._prepared(document)
        operation = dict(operations_of(prepared.document.ast))[prepared.operation.name]
        if prepared.operation.kind != "subscription":
            raise InvalidDocument("it is a query or a mutation; write `subscription { … }`")
        if operation.variable_definitions:
            raise InvalidDocument("it has variables, which nobody could give; write the values into it")
        root = operation.selection_set.selections[0]
        kinds = _KINDS.get(root.name.value) if isinstance(root, FieldNode) else None
        if kinds is None:
            raise InvalidDocument(f"its field must be one of {', '.join(sorted(_KINDS))}")
        return kinds

    async def check(self, document: str, merchant_id: MerchantId) -> None:
        self.kinds_of(document)
        prepared = self._prepared(document)
        visit(prepared.document.ast, _Arguments())
        await self._stream(prepared, merchant_id)

    async def render(self, event: Event, *, document: str | None) -> object:
        if document is not None:
            return await self._executed(document, event)
        ours = _OURS.get(event.kind)
        if ours is None:
            return _thin(event)
        data = await self._executed(ours, event)
        return next(iter(data.values()))

    async def _executed(self, document: str, event: Event) -> Mapping[str, Any]:
        prepared = self._prepared(document)
        stream = await self._stream(prepared, event.merchant_id)
        if not stream.selector.matches(event):
            raise NotConcerned
        answer = await self._executor.run(prepared, self._context(event.merchant_id), root_value=stream.to_type(event))
        if answer.errors or answer.data is None:
            raise _refusal(answer)
        return answer.data  # what fields give is JSON already

    async def _stream(self, prepared: Prepared, merchant_id: MerchantId) -> EventStream[Any]:
        """Return what the document subscribes to; whom it names must be there, and this merchant's."""
        stream = await self._executor.source(prepared, self._context(merchant_id))
        if isinstance(stream, Answer):
            raise _refusal(stream)
        if not isinstance(stream, EventStream):
            raise InvalidDocument("it does not follow the event log")
        return stream

    def _context(self, merchant_id: MerchantId) -> object:
        scopes = frozenset({Scope.PAYMENTS_READ})
        return self._access.new_context(Principal(merchant_id=merchant_id, key_name="webhook", scopes=scopes))

    def _prepared(self, document: str) -> Prepared:
        try:
            return self._executor.prepare(GraphQLRequest(query=document))
        except RequestRefused as refused:
            raise InvalidDocument(str(refused.problems[0]["message"])) from None


class _Arguments(Visitor):
    """Refuses values of arguments that a field would refuse when it is served; none of them is a variable."""

    def enter_argument(self, node: ArgumentNode, *_: object) -> None:
        match node.name.value, node.value:
            case "after", _:
                raise InvalidDocument("it has the argument `after`, but a payload is about one event; leave it out")
            case "clientSecret", _:
                raise InvalidDocument("it has the argument `clientSecret`, but reads with your own right; leave it out")
            case "articleId", StringValueNode(value=text) | IntValueNode(value=text):
                if prefix_of(text) != ARTICLE:
                    raise InvalidDocument("articleId is the id of no article; list the articles to find it")
            case "first", IntValueNode(value=text):
                try:
                    asked_page(int(text), None)
                except InvalidInput as error:
                    raise InvalidDocument(error.message) from None
            case _:
                pass


def _refusal(answer: Answer) -> Exception:
    """Tell a document that does not fit from what passes, and from a bug of ours: neither is the endpoint's fault."""
    codes = [told["extensions"]["code"] for told in answer.errors]
    if INTERNAL in codes:
        return RuntimeError("a payload could not be made; the log above says why")
    lasting = [told for told in answer.errors if not told["extensions"].get("retryable")]
    return InvalidDocument(str(lasting[0]["message"])) if lasting else PayloadUnavailable(codes[0])


def _thin(event: Event) -> dict[str, object]:
    """Return the bare facts, for events that no subscription tells of."""
    named = {"articleId": event.article_id, "paymentId": event.payment_id, "subjectId": event.subject_id}
    return {
        "eventId": event.id,
        "cursor": encode_position(event.position),
        "status": event.status,
        **{name: value for name, value in named.items() if value is not None},
    }
