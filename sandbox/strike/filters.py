"""Pages of a list: the part of OData that Strike takes (sheet 1.4)."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from starlette.datastructures import QueryParams

from quittance.sandbox.strike.refusals import Blocked, invalid_query

TOP_MAX: Final = 100
TOP: Final = 50
_SKIP_MAX: Final = 2**31 - 1
_FILTER_CHARACTERS_MAX: Final = 2_000
_TOKEN: Final = re.compile(r"\s*('(?:[^']|'')*'|[(),]|[^\s(),']+)")
_DIGITS: Final = re.compile(r"[0-9]{1,10}", re.ASCII)
_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "eq": lambda a, b: a == b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
}

Kept = TypeVar("Kept")
Field = Callable[[Kept], Any]


@dataclass(frozen=True, slots=True)
class _Term:
    field: str
    operator: str
    values: tuple[Any, ...]

    def holds(self, value: Any) -> bool:
        if self.operator == "in":
            return value in self.values
        if value is None or self.values[0] is None:
            return self.operator == "eq" and value is self.values[0]
        return _COMPARISONS[self.operator](value, self.values[0])


def page(
    items: Sequence[Kept], query: QueryParams, *, fields: Mapping[str, Field[Kept]], shown: Callable[[Kept], Any]
) -> dict[str, Any]:
    """Return one page of ``items``, which come oldest first; without an order the newest stands first.

    Raises:
        Refused: the query asks for what Strike does not know.
        Blocked: it contains ``or``, which the edge in front of Strike lets nobody ask.
    """
    terms = _read_filter(query.get("$filter", ""), fields)
    found = [item for item in items if all(term.holds(fields[term.field](item)) for term in terms)]
    if _is_descending(query.get("$orderby", "")):
        found.reverse()
    return cut(found, query, shown=shown)


def cut(found: Sequence[Kept], query: QueryParams, *, shown: Callable[[Kept], Any]) -> dict[str, Any]:
    """Return the page that ``$skip`` and ``$top`` name.

    Raises:
        Refused: they are no numbers, or too large.
    """
    skip = _number(query, "$skip", default=0, most=_SKIP_MAX)
    top = _number(query, "$top", default=TOP, most=TOP_MAX)
    items = [shown(item) for item in found[skip : skip + top]]
    return {"items": items, "count": len(found), "isCountUnknown": False}


def values_of(query: QueryParams, name: str) -> frozenset[str] | None:
    """Return an array of the query, whose values are repeated or joined by commas; None when there is none."""
    given = [*query.getlist(f"${name}"), *query.getlist(f"${name}[]")]
    return frozenset(part.strip() for one in given for part in one.split(",")) if given else None


def among(wanted: frozenset[str] | None, value: str | None) -> bool:
    return wanted is None or value in wanted


def _read_filter(text: str, fields: Mapping[str, Field[Kept]]) -> list[_Term]:
    if len(text) > _FILTER_CHARACTERS_MAX:
        raise invalid_query("$filter is too long.")
    tokens = _tokens(text)
    if any(token.lower() == "or" for token in tokens):
        raise Blocked
    terms: list[_Term] = []
    left = iter(tokens)
    for name in left:
        terms.append(_read_term(name, left, fields))
        joint = next(left, None)
        if joint is None:
            return terms
        if joint != "and":
            raise invalid_query("$filter could not be parsed.")
    if terms or tokens:
        raise invalid_query("$filter ends too early.")
    return terms


def _read_term(name: str, left: Iterable[str], fields: Mapping[str, Field[Kept]]) -> _Term:
    tokens = iter(left)
    operator = next(tokens, "")
    if name not in fields:
        raise invalid_query(f"$filter does not know the property '{name[:64]}'.")
    if operator == "in":
        return _Term(name, operator, tuple(_literal(name, one) for one in _read_list(tokens)))
    if operator not in _COMPARISONS:
        raise invalid_query("$filter could not be parsed.")
    return _Term(name, operator, (_literal(name, next(tokens, "")),))


def _read_list(tokens: Iterable[str]) -> list[str]:
    """Return the values between parentheses, separated by commas."""
    left = iter(tokens)
    found: list[str] = []
    if next(left, "") != "(":
        raise invalid_query("$filter could not be parsed.")
    for value in left:
        found.append(value)
        separator = next(left, "")
        if separator == ")":
            return found
        if separator != ",":
            break
    raise invalid_query("$filter could not be parsed.")


def _tokens(text: str) -> list[str]:
    found, place = [], 0
    while text[place:].strip():
        token = _TOKEN.match(text, place)
        if token is None:
            raise invalid_query("$filter could not be parsed.")
        found.append(token[1])
        place = token.end()
    return found


def _literal(field: str, token: str) -> Any:
    """Return a value. Texts and ids come with quotes or without; times without."""
    if not token or token in {"(", ")", ","}:
        raise invalid_query("$filter could not be parsed.")
    text = token[1:-1].replace("''", "'") if token.startswith("'") else token
    if field == "created":
        return _time(text)
    if token.startswith("'"):
        return text
    return {"null": None, "true": True, "false": False}.get(text, text)


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise invalid_query(f"'{text[:64]}' is not a time.") from None
    if at.tzinfo is None:
        raise invalid_query(f"'{text[:64]}' has no offset.")
    return at


def _is_descending(order: str) -> bool:
    if order.split() in ([], ["created", "desc"]):
        return True
    if order.split() not in (["created"], ["created", "asc"]):
        raise invalid_query("$orderby could not be parsed.")
    return False


def _number(query: QueryParams, name: str, *, default: int, most: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not _DIGITS.fullmatch(text) or int(text) > most:
        raise invalid_query(f"{name} is a number between 0 and {most}.")
    return int(text)
