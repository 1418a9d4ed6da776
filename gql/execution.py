"""Execution: one admitted operation on the schema, straight on graphql-core, with every error masked."""

from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from inspect import isawaitable
from typing import Any, cast

import orjson
import strawberry
import structlog
from graphql import ExecutionResult, create_source_event_stream
from strawberry.execution import optimized_is_awaitable
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from structlog.typing import FilteringBoundLogger

from quittance.gql.documents import Document, DocumentStore, GraphQLRequest, Operation
from quittance.gql.limits import LimitExceeded, check_variables
from quittance.gql.masking import (
    Problem,
    RequestRefused,
    field_problem,
    problem,
    problem_of,
    unexpected,
    variable_problem,
)

_COERCION_ERRORS_MAX = 10


class AnswerKind(Enum):
    """Whether execution began: before that the request is at fault, after that the answer is partial at worst."""

    REQUEST_ERROR = auto()
    EXECUTED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The response to one operation, ready to be encoded."""

    kind: AnswerKind
    data: dict[str, Any] | None = None
    errors: list[Problem] = field(default_factory=list)
    extensions: Mapping[str, object] | None = None

    def as_response(self) -> dict[str, object]:
        """Return the response map: ``data`` only if execution began, ``errors`` only if there are any."""
        response: dict[str, object] = {}
        if self.errors:
            response["errors"] = self.errors
        if self.kind is AnswerKind.EXECUTED:
            response["data"] = self.data
        if self.extensions:
            response["extensions"] = self.extensions
        return response

    def encode(self) -> bytes:
        return orjson.dumps(self.as_response())


def request_error(problems: list[Problem]) -> Answer:
    return Answer(kind=AnswerKind.REQUEST_ERROR, errors=problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """An operation that passed every check but the coercion of its variables."""

    document: Document
    operation: Operation
    variables: Mapping[str, object]
    extensions: Mapping[str, object]


class Executor:
    """Runs admitted operations; nothing it returns tells more than it should."""

    def __init__(
        self, *, schema: strawberry.Schema, documents: DocumentStore, log: FilteringBoundLogger | None = None
    ) -> None:
        self._schema = schema._schema  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - strawberry has no public name for its graphql-core schema
        self._documents = documents
        self.log: FilteringBoundLogger = log or structlog.get_logger("quittance.gql")

    def prepare(self, request: GraphQLRequest) -> Prepared:
        """Find the document and the operation, and check the page sizes in the variables.

        Raises:
            RequestRefused: nothing of this request can run.
        """
        document = self._documents.find(request)
        operation = document.operation(request.operation_name)
        try:
            check_variables(operation.facts, request.variables, self._documents.limits)
        except LimitExceeded as error:
            raise RequestRefused([problem_of(error)]) from error
        return Prepared(
            document=document, operation=operation, variables=request.variables, extensions=request.extensions
        )

    async def execute(self, request: GraphQLRequest, context: object, *, allow_mutation: bool) -> Answer:
        """Answer a query or a mutation; a subscription needs a transport that streams."""
        try:
            prepared = self.prepare(request)
        except RequestRefused as refusal:
            return request_error(refusal.problems)
        if prepared.operation.kind == "mutation" and not allow_mutation:
            return request_error([problem("a mutation must be sent by POST", "MUTATION_NOT_ALLOWED")])
        if prepared.operation.kind == "subscription":
            message = "a subscription needs a websocket or Accept: text/event-stream"
            return request_error([problem(message, "SUBSCRIPTION_NOT_ALLOWED")])
        return await self.run(prepared, context)

    async def run(self, prepared: Prepared, context: object, *, root_value: object = None) -> Answer:
        """Execute once: a query, a mutation, or one event of a subscription."""
        try:
            built = self._build(prepared, context, root_value)
            if isinstance(built, Answer):
                return built
            serially = prepared.operation.kind == "mutation"
            result: Any = built.execute_operation(serially)
            if isawaitable(result):
                result = await result
        except Exception as error:  # noqa: BLE001 - the last line before the client: logged there and masked
            return Answer(kind=AnswerKind.EXECUTED, errors=[unexpected(error, log=self.log)])
        return self._answer(cast("ExecutionResult", result))

    async def source(self, prepared: Prepared, context: object) -> AsyncIterable[Any] | Answer:
        """Run a subscription's resolver and return its stream, or the answer that ends it."""
        try:
            built = self._build(prepared, context, None)
            if isinstance(built, Answer):
                return built
            stream: Any = create_source_event_stream(built)
            if isawaitable(stream):
                stream = await stream
        except Exception as error:  # noqa: BLE001 - as above
            return request_error([unexpected(error, log=self.log)])
        if isinstance(stream, ExecutionResult):
            return request_error(self._problems(stream))
        return cast("AsyncIterable[Any]", stream)

    def _build(
        self, prepared: Prepared, context: object, root_value: object
    ) -> StrawberryGraphQLCoreExecutionContext | Answer:
        built = StrawberryGraphQLCoreExecutionContext.build(
            self._schema,
            prepared.document.ast,
            root_value,
            context,
            dict(prepared.variables),
            prepared.operation.name or None,
            max_coercion_errors=_COERCION_ERRORS_MAX,
            is_awaitable=cast("Any", optimized_is_awaitable),
            hide_suggestions=True,
            operation_extensions=dict(prepared.extensions),
        )
        if isinstance(built, list):
            return request_error([variable_problem(error) for error in built])
        return cast("StrawberryGraphQLCoreExecutionContext", built)

    def _answer(self, result: ExecutionResult) -> Answer:
        return Answer(kind=AnswerKind.EXECUTED, data=result.data, errors=self._problems(result))

    def _problems(self, result: ExecutionResult) -> list[Problem]:
        return [field_problem(error, log=self.log) for error in result.errors or ()]
