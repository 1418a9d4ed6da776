"""Limits: what one document and one connection may cost, decided before anything expensive runs."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from graphql import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLArgument,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
)

from quittance.domain.errors import QuittanceError

_PAGE_ARGUMENTS = frozenset({"first", "last"})
_INTROSPECTION = frozenset({"__schema", "__type"})
_MONOMIALS_MAX = 64

Cost = Mapping[tuple[str, ...], int]
"""Cost as a polynomial: how often each product of page size variables counts; ``()`` is the constant."""


class LimitExceeded(QuittanceError):
    """The document or its variables ask for more than is served; nothing ran."""

    code = "LIMIT_EXCEEDED"


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentLimits:
    """What a document may hold. Every count follows fragments, so that nothing hides in them."""

    characters_max: int = 20_000
    tokens_max: int = 2_000
    operations_max: int = 10
    fragments_max: int = 40
    variables_max: int = 50
    depth_max: int = 12
    introspection_depth_max: int = 20
    selections_max: int = 1_000
    aliases_max: int = 50
    repeats_max: int = 2_000
    directives_max: int = 50
    literals_max: int = 200
    mutations_max: int = 5
    cost_max: int = 20_000
    page_size_max: int = 100
    page_size_default: int = 25
    validation_errors_max: int = 10
    introspection: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportLimits:
    """What one connection, one address and the whole process may hold open or send."""

    body_bytes_max: int = 256 * 1024
    batch_max: int = 0
    sockets_max: int = 10_000
    sockets_per_address_max: int = 100
    subscriptions_per_socket_max: int = 50
    subscription_queue_max: int = 256
    init_timeout_s: float = 10.0
    ping_interval_s: float = 20.0
    pong_timeout_s: float = 20.0
    message_bytes_max: int = 256 * 1024
    sse_keepalive_s: float = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationFacts:
    """What is known of one operation before its variables are."""

    page_variables: Mapping[str, int]
    cost: Cost


@dataclass(slots=True)
class _Name:
    """One response name within a scope: how often it stands there, and the scope below it."""

    count: int = 0
    below: dict[str, "_Name"] = field(default_factory=dict)


@dataclass(slots=True)
class _Totals:
    selections: int = 0
    aliases: int = 0
    repeats: int = 0
    directives: int = 0
    literals: int = 0


def check(document: DocumentNode, schema: GraphQLSchema, limits: DocumentLimits) -> dict[str, OperationFacts]:
    """Return the facts of every operation by name (the empty name for an anonymous one).

    Does not need a valid document: unknown fields and types are left to validation.

    Raises:
        LimitExceeded: names the limit.
    """
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    _at_most(len(operations), limits.operations_max, "operations")
    _at_most(len(document.definitions) - len(operations), limits.fragments_max, "fragments")
    walk = _Walk(schema, limits, fragments)
    facts = {_name_of(node): walk.operation(node) for node in operations}
    for node in fragments.values():  # an unused one is refused by validation, which would have to walk it first
        if node.name.value not in walk.reached:
            walk.unused(node)
    return facts


def check_variables(facts: OperationFacts, variables: Mapping[str, object], limits: DocumentLimits) -> None:
    """Refuse page sizes and costs that only the variables reveal.

    Raises:
        LimitExceeded: names the variable or the limit.
    """
    if not facts.page_variables:
        return
    sizes = {}
    for name, fallback in facts.page_variables.items():
        size = variables.get(name, fallback)
        if isinstance(size, bool) or not isinstance(size, int | float):
            size = fallback  # null takes the default; anything else is refused by coercion
        if not 0 <= size <= limits.page_size_max:
            raise LimitExceeded(f"${name} must lie between 0 and {limits.page_size_max}")
        sizes[name] = max(1, int(size))
    _at_most(_cost(facts.cost, sizes), limits.cost_max, "cost")


def _cost(cost: Cost, sizes: Mapping[str, int]) -> int:
    total = 0
    for names, count in cost.items():
        for name in names:
            count *= sizes.get(name, 1)  # noqa: PLW2901
        total += count
    return total


def _at_most(count: int, limit: int, what: str) -> None:
    if count > limit:
        raise LimitExceeded(f"the document exceeds the limit of {limit} for {what}")


def _name_of(node: OperationDefinitionNode) -> str:
    return node.name.value if node.name else ""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the walk stands: how deep, how deep it may go, and how often this place is served."""

    depth: int
    depth_max: int
    times: int
    variables: tuple[str, ...]
    fragments: tuple[str, ...] = ()


class _Walk:
    """Walks selections through fragments, with every count bounded: a circle or a bomb ends it early."""

    def __init__(
        self, schema: GraphQLSchema, limits: DocumentLimits, fragments: Mapping[str, FragmentDefinitionNode]
    ) -> None:
        self.reached: set[str] = set()
        self._schema = schema
        self._limits = limits
        self._fragments = fragments
        self._totals = _Totals()
        self._cost: Counter[tuple[str, ...]] = Counter()
        self._page_variables: dict[str, int] = {}

    def operation(self, node: OperationDefinitionNode) -> OperationFacts:
        self._cost = Counter()
        self._page_variables = {}
        definitions = node.variable_definitions or ()
        _at_most(len(definitions), self._limits.variables_max, "variables")
        self._directives(node.directives or ())
        scope: dict[str, _Name] = {}
        self._selections(node.selection_set, self._schema.get_root_type(node.operation), scope, self._start())
        if node.operation is OperationType.MUTATION:
            _at_most(sum(name.count for name in scope.values()), self._limits.mutations_max, "mutations")
        self._literals(node.default_value for node in definitions if node.default_value)
        for definition in definitions:
            name, default = definition.variable.name.value, definition.default_value
            if name in self._page_variables and isinstance(default, IntValueNode):
                self._page_variables[name] = self._page_size(default)
        _at_most(_cost(self._cost, {}), self._limits.cost_max, "cost")
        return OperationFacts(page_variables=self._page_variables, cost=dict(self._cost))

    def unused(self, node: FragmentDefinitionNode) -> None:
        self.reached.add(node.name.value)
        parent = self._schema.get_type(node.type_condition.name.value)
        self._selections(node.selection_set, parent, {}, self._start())

    def _start(self) -> _Place:
        return _Place(depth=0, depth_max=self._limits.depth_max, times=1, variables=())

    def _selections(
        self, node: SelectionSetNode, parent: GraphQLNamedType | None, scope: dict[str, _Name], place: _Place
    ) -> None:
        _at_most(len(place.fragments), self._limits.fragments_max + self._limits.depth_max, "nested fragments")
        for selection in node.selections:
            self._totals.selections += 1
            _at_most(self._totals.selections, self._limits.selections_max, "selections")
            self._directives(selection.directives or ())
            if isinstance(selection, FieldNode):
                self._field(selection, parent, scope, place)
            elif isinstance(selection, InlineFragmentNode):
                condition = selection.type_condition
                narrowed = self._schema.get_type(condition.name.value) if condition else parent
                self._selections(selection.selection_set, narrowed, scope, _inside(place, ""))
            elif isinstance(selection, FragmentSpreadNode):
                self._spread(selection.name.value, scope, place)

    def _spread(self, name: str, scope: dict[str, _Name], place: _Place) -> None:
        fragment = self._fragments.get(name)
        if fragment is None:
            return
        if name in place.fragments:
            raise LimitExceeded("fragments must not form a circle")
        self.reached.add(name)
        parent = self._schema.get_type(fragment.type_condition.name.value)
        self._selections(fragment.selection_set, parent, scope, _inside(place, name))

    def _field(self, node: FieldNode, parent: GraphQLNamedType | None, scope: dict[str, _Name], place: _Place) -> None:
        name = node.name.value
        if node.alias:
            self._totals.aliases += 1
            _at_most(self._totals.aliases, self._limits.aliases_max, "aliases")
        depth_max = place.depth_max
        if name in _INTROSPECTION:
            if not self._limits.introspection:
                raise LimitExceeded("introspection is switched off; read schema.graphql instead")
            depth_max = place.depth + self._limits.introspection_depth_max
        _at_most(place.depth + 1, depth_max, "depth")
        entry = scope.setdefault(node.alias.value if node.alias else name, _Name())
        self._totals.repeats += entry.count  # validation compares each pair of equal names
        entry.count += 1
        _at_most(self._totals.repeats, self._limits.repeats_max, "repeated names")
        self._literals(argument.value for argument in node.arguments or ())
        definition = _definition(parent, name)
        times, variables = self._multiplied(node, definition, place)
        self._cost[variables] += times
        _at_most(len(self._cost), _MONOMIALS_MAX, "combined page sizes")
        if node.selection_set:
            below = _Place(place.depth + 1, depth_max, times, variables, place.fragments)
            self._selections(
                node.selection_set, get_named_type(definition.type) if definition else None, entry.below, below
            )

    def _multiplied(
        self, node: FieldNode, definition: GraphQLField | None, place: _Place
    ) -> tuple[int, tuple[str, ...]]:
        """Return how often the field is served: its place's number times its page size."""
        known = definition.args if definition else {}
        defaults = {name: _default(known[name], self._limits) for name in _PAGE_ARGUMENTS & known.keys()}
        given = False
        times, variables = place.times, place.variables
        for argument in node.arguments or ():
            name, value = argument.name.value, argument.value
            if name not in _PAGE_ARGUMENTS:
                continue
            given = True
            if isinstance(value, IntValueNode):
                times *= max(1, self._page_size(value))
            elif isinstance(value, VariableNode):
                self._page_variables.setdefault(value.name.value, defaults.get(name, 1))
                variables = tuple(sorted((*variables, value.name.value)))
        if not given and defaults:
            times *= max(defaults.values())
        return times, variables

    def _page_size(self, node: IntValueNode) -> int:
        size = int(node.value) if len(node.value) <= 10 else -1
        if not 0 <= size <= self._limits.page_size_max:
            raise LimitExceeded(f"a page size must lie between 0 and {self._limits.page_size_max}")
        return size

    def _directives(self, nodes: Iterable[DirectiveNode]) -> None:
        for node in nodes:
            self._totals.directives += 1
            _at_most(self._totals.directives, self._limits.directives_max, "directives")
            self._literals(argument.value for argument in node.arguments or ())

    def _literals(self, values: Iterable[ValueNode]) -> None:
        for value in values:
            self._totals.literals += 1  # validation prints a wrong object once for each of its mistakes
            _at_most(self._totals.literals, self._limits.literals_max, "arguments and literal values")
            if isinstance(value, ListValueNode):
                self._literals(value.values)
            elif isinstance(value, ObjectValueNode):
                self._literals(member.value for member in value.fields)


def _inside(place: _Place, fragment: str) -> _Place:
    return _Place(place.depth, place.depth_max, place.times, place.variables, (*place.fragments, fragment))


def _definition(parent: GraphQLNamedType | None, name: str) -> GraphQLField | None:
    if isinstance(parent, GraphQLObjectType | GraphQLInterfaceType):
        found: GraphQLField | None = parent.fields.get(name)
        return found
    return None


def _default(argument: GraphQLArgument, limits: DocumentLimits) -> int:
    value = argument.default.value if argument.default else argument.default_value
    return value if isinstance(value, int) and 0 < value <= limits.page_size_max else limits.page_size_default


def operations_of(document: DocumentNode) -> Iterator[tuple[str, OperationDefinitionNode]]:
    """Yield every operation with its name; the empty name for an anonymous one."""
    for node in document.definitions:
        if isinstance(node, OperationDefinitionNode):
            yield _name_of(node), node
