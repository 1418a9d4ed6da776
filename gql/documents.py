"""Documents: parsed, limited and validated once per text, then found by their hash."""

import hashlib
import re
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    VariableNode,
    Visitor,
    parse,
    specified_rules,
    validate,
    visit,
)
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from quittance.gql.limits import DocumentLimits, LimitExceeded, OperationFacts, check, operations_of
from quittance.gql.masking import (
    BAD_REQUEST,
    PARSE_FAILED,
    VALIDATION_FAILED,
    RequestRefused,
    document_problem,
    problem_of,
    refused,
)

OperationKind = Literal["query", "mutation", "subscription"]

DOCUMENTS_MAX = 1_000
DOCUMENT_CHARACTERS_MAX = 1_000_000
_REFUSALS_MAX = 256
_RULES = (*specified_rules, MaybeNullValidationRule, OneOfInputValidationRule)
_SHA256 = re.compile(r"(?:sha256:)?([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphQLRequest:
    """What a client asks, whatever the transport; the members' types have been checked."""

    query: str | None = None
    operation_name: str | None = None
    variables: Mapping[str, object] = field(default_factory=dict)
    extensions: Mapping[str, object] = field(default_factory=dict)
    document_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """``cursor_variables`` say where a subscription starts and nothing else."""

    name: str
    kind: OperationKind
    facts: OperationFacts
    cursor_variables: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    key: str
    characters: int
    ast: DocumentNode
    operations: Mapping[str, Operation]

    def operation(self, name: str | None) -> Operation:
        """Return the operation to run.

        Raises:
            RequestRefused: no such operation, or several and none was named.
        """
        if name is not None and name in self.operations and name:
            return self.operations[name]
        if name is None and len(self.operations) == 1:
            return next(iter(self.operations.values()))
        message = "no operation of this name" if name is not None else "operationName is required: there are several"
        raise refused(message, "OPERATION_RESOLUTION_FAILURE")


class DocumentStore:
    """Admits documents and remembers them, bounded by number and by characters.

    Trusted documents are admitted at start-up and never evicted: strangers share the other places.
    """

    def __init__(
        self,
        *,
        schema: GraphQLSchema,
        limits: DocumentLimits,
        capacity: int = DOCUMENTS_MAX,
        trusted: Mapping[str, str] | None = None,
        trusted_only: bool = False,
    ) -> None:
        self.limits = limits
        self._schema = schema
        self._capacity = capacity
        self._trusted_only = trusted_only
        self._known: OrderedDict[str, Document] = OrderedDict()
        self._known_characters = 0
        self._refusals: OrderedDict[str, RequestRefused] = OrderedDict()
        self._trusted = {key: self._trust(key, text) for key, text in (trusted or {}).items()}

    def find(self, request: GraphQLRequest) -> Document:
        """Return the document of a request, admitting its text if it is new.

        Raises:
            RequestRefused: unknown hash, or a text that breaks a limit or the schema.
        """
        claimed = _claimed_hash(request)
        if request.query is None:
            if claimed is None:
                raise refused("the request has no query", BAD_REQUEST)
            return self._by_hash(claimed)
        if len(request.query) > self.limits.characters_max:
            raise RequestRefused([problem_of(LimitExceeded("the document is too long"))])
        key = _hash(request.query)
        if claimed is not None and claimed != key:
            raise refused("the hash is not that of the query", "PERSISTED_QUERY_HASH_MISMATCH")
        return self._by_text(key, request.query)

    def _by_hash(self, key: str) -> Document:
        document = self._trusted.get(key)
        if document is None and not self._trusted_only:
            document = self._remembered(key)
        if document is None:
            raise refused("PersistedQueryNotFound", "PERSISTED_QUERY_NOT_FOUND")
        return document

    def _by_text(self, key: str, text: str) -> Document:
        if (document := self._trusted.get(key)) is not None:
            return document
        if self._trusted_only:
            raise refused("only trusted documents are executed here", "TRUSTED_DOCUMENTS_ONLY")
        if (document := self._remembered(key)) is not None:
            return document
        known = self._refusals.get(key)
        if known is not None:
            self._refusals.move_to_end(key)
            raise RequestRefused(known.problems)
        try:
            document = self._admit(key, text)
        except RequestRefused as refusal:
            self._refusals[key] = RequestRefused(refusal.problems)  # without the traceback and what it holds
            if len(self._refusals) > _REFUSALS_MAX:
                self._refusals.popitem(last=False)
            raise
        self._remember(document)
        return document

    def _remembered(self, key: str) -> Document | None:
        document = self._known.get(key)
        if document is not None:
            self._known.move_to_end(key)
        return document

    def _remember(self, document: Document) -> None:
        self._known[document.key] = document
        self._known_characters += document.characters
        while len(self._known) > self._capacity or self._known_characters > DOCUMENT_CHARACTERS_MAX:
            _, evicted = self._known.popitem(last=False)
            self._known_characters -= evicted.characters

    def _trust(self, key: str, text: str) -> Document:
        if key != _hash(text):
            raise ValueError(f"trusted document {key}: the key is not the SHA-256 of the text")
        try:
            return self._admit(key, text)
        except RequestRefused as refusal:
            raise ValueError(f"trusted document {key}: {refusal}") from refusal

    def _admit(self, key: str, text: str) -> Document:
        try:
            ast = parse(text, max_tokens=self.limits.tokens_max)
            facts = check(ast, self._schema, self.limits)
        except GraphQLError as error:
            code = LimitExceeded.code if "Parsing aborted" in error.message else PARSE_FAILED
            raise RequestRefused([document_problem(error, code)]) from error
        except LimitExceeded as error:
            raise RequestRefused([problem_of(error)]) from error
        except RecursionError:
            raise RequestRefused([problem_of(LimitExceeded("the document is nested too deeply"))]) from None
        errors = validate(
            self._schema, ast, _RULES, max_errors=self.limits.validation_errors_max, hide_suggestions=True
        )
        if errors:
            raise RequestRefused([document_problem(error, VALIDATION_FAILED) for error in errors])
        operations = {
            name: Operation(
                name=name,
                kind=node.operation.value,
                facts=facts[name],
                cursor_variables=_cursor_variables(ast, node),
            )
            for name, node in operations_of(ast)
        }
        if not operations:
            raise refused("the document has no operation", VALIDATION_FAILED)
        return Document(key=key, characters=len(text), ast=ast, operations=operations)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _claimed_hash(request: GraphQLRequest) -> str | None:
    """Return the hash by which the client names a document, in either of the two spellings."""
    persisted = request.extensions.get("persistedQuery")
    if request.document_id is not None:
        if request.query is not None or persisted is not None:
            raise refused("documentId stands alone, without a query", BAD_REQUEST)
        return _sha256(request.document_id)
    if persisted is None:
        return None
    if not isinstance(persisted, Mapping) or persisted.get("version") != 1:
        raise refused("extensions.persistedQuery must be version 1", BAD_REQUEST)
    return _sha256(persisted.get("sha256Hash"))


def _sha256(text: object) -> str:
    found = _SHA256.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise refused("a document is named by the SHA-256 of its text, in lower-case hex", BAD_REQUEST)
    return found[1]


class _VariableUses(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def enter_variable(self, node: VariableNode, *_: object) -> None:
        self.count[node.name.value] += 1


def _cursor_variables(ast: DocumentNode, operation: OperationDefinitionNode) -> frozenset[str]:
    """Return the variables that feed ``after`` of a subscription's field and are used for nothing else."""
    if operation.operation.value != "subscription" or sum(1 for _ in operations_of(ast)) > 1:
        return frozenset()
    fed = Counter(
        argument.value.name.value
        for selection in operation.selection_set.selections
        if isinstance(selection, FieldNode)
        for argument in selection.arguments or ()
        if argument.name.value == "after" and isinstance(argument.value, VariableNode)
    )
    uses = _VariableUses()
    visit(ast, uses)
    return frozenset(name for name, count in fed.items() if uses.count[name] == count + 1)  # and its definition
