"""Input objects, read by readers that are built once: Strawberry would resolve their types at each request."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING
from functools import cache, partial
from typing import Any

import strawberry
from strawberry.schema.name_converter import NameConverter
from strawberry.types.arguments import InputContext
from strawberry.types.base import (
    StrawberryList,
    StrawberryMaybe,
    StrawberryObjectDefinition,
    StrawberryOptional,
    has_object_definition,
)
from strawberry.types.lazy_type import LazyType

_Conversion = Callable[[Any], Any]


class RememberedNames(NameConverter):
    """Strawberry's names, each converted once: it asks for the same ones at every request."""

    def __init__(self) -> None:
        super().__init__()
        self.apply_naming_config = cache(super().apply_naming_config)  # type: ignore[method-assign]


def read_inputs_directly(schema: strawberry.Schema) -> None:
    """Give every input type of the schema a reader of its own; values come out as Strawberry would make them.

    Raises:
        TypeError: an input type uses what the readers do not know.
    """
    names = schema.config.name_converter
    for entry in schema.schema_converter.type_map.values():
        definition = entry.definition
        if isinstance(definition, StrawberryObjectDefinition) and definition.is_input:
            definition.from_input = _Reader(definition, names)


class _Reader:
    def __init__(self, definition: StrawberryObjectDefinition, names: NameConverter) -> None:
        self._make = definition.origin
        self._implicit: dict[str, None] = {}
        self._fields: list[tuple[str, str, _Conversion | None]] = []
        for field in definition.fields:
            conversion = _conversion(field.resolve_type(type_definition=definition))
            self._fields.append((names.from_field(field), field.python_name, conversion))
            if field.default_value is MISSING and field.default_factory is MISSING:
                self._implicit[field.python_name] = None

    def __call__(self, _cls: type, value: Mapping[str, Any], _context: InputContext | None = None) -> Any:
        given: dict[str, Any] = dict(self._implicit)
        for said, name, conversion in self._fields:
            if said in value:
                part = value[said]
                given[name] = part if conversion is None or part is None else conversion(part)
        return self._make(**given)


def _conversion(type_: Any) -> _Conversion | None:
    """Return what makes a value of this type out of graphql-core's, or None where that is one already."""
    if isinstance(type_, StrawberryMaybe | LazyType):
        raise TypeError(f"input fields of type {type_} are not read here; see strawberry's convert_argument")
    if isinstance(type_, StrawberryOptional):
        return _conversion(type_.of_type)
    if isinstance(type_, StrawberryList):
        one = _conversion(type_.of_type)
        return list if one is None else lambda many: [None if part is None else one(part) for part in many]
    if has_object_definition(type_):
        return partial(_nested, type_.__strawberry_definition__)
    return None


def _nested(definition: StrawberryObjectDefinition, part: Any) -> Any:
    read = definition.from_input  # set by now: the types of a schema are given their readers in any order
    assert isinstance(read, _Reader)
    return read(definition.origin, part)
