"""Scalars that JSON has no exact form for."""

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NewType

import strawberry
from graphql import FloatValueNode, GraphQLError, IntValueNode, StringValueNode, ValueNode
from strawberry.types.scalar import ScalarDefinition

BigInt = NewType("BigInt", int)

_INT64_MIN = -(2**63)
_INT64_MAX = 2**63 - 1
_INT64_DIGITS = 20
_DECIMAL = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?", re.ASCII)


def _big_int(value: object) -> BigInt:
    if isinstance(value, str) and len(value) <= _INT64_DIGITS and value.removeprefix("-").isascii():
        digits = value.removeprefix("-")
        if digits.isdigit():
            value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not _INT64_MIN <= value <= _INT64_MAX:
        raise GraphQLError("a BigInt is a 64-bit integer, written as an integer or as a string of digits")
    return BigInt(value)


def _big_int_literal(node: ValueNode, _variables: Any = None) -> BigInt:
    if isinstance(node, (IntValueNode, StringValueNode)):
        return _big_int(node.value)
    return _big_int(None)


def _decimal(value: object) -> Decimal:
    try:
        if isinstance(value, (str, int)) and not isinstance(value, bool) and _DECIMAL.fullmatch(str(value)):
            number = Decimal(value)
            if number.is_finite():
                return number
    except InvalidOperation:
        pass
    raise GraphQLError('a Decimal is written as a string, such as "12.34"')


def _decimal_literal(node: ValueNode, _variables: Any = None) -> Decimal:
    if isinstance(node, (IntValueNode, FloatValueNode, StringValueNode)):
        return _decimal(node.value)
    return _decimal(None)


def _moment(value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        moment = datetime.min  # noqa: DTZ901 - has no time zone, so it is refused below
    if moment.tzinfo is None:
        raise GraphQLError("a DateTime is written as in RFC 3339, such as 2026-01-31T12:00:00Z")
    return moment.astimezone(UTC)


def _moment_text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


SCALARS: dict[object, ScalarDefinition] = {
    BigInt: strawberry.scalar(
        name="BigInt",
        description="A 64-bit integer: a string of digits on the way out, a string or an integer on the way in.",
        serialize=str,
        parse_value=_big_int,
        parse_literal=_big_int_literal,
    ),
    Decimal: strawberry.scalar(
        name="Decimal",
        description='An exact decimal number as a string, such as "12.34"; never a float.',
        serialize=lambda number: f"{number:f}",
        parse_value=_decimal,
        parse_literal=_decimal_literal,
    ),
    datetime: strawberry.scalar(
        name="DateTime",
        description="A moment as in RFC 3339, always in UTC, such as 2026-01-31T12:00:00Z.",
        serialize=_moment_text,
        parse_value=_moment,
    ),
}
