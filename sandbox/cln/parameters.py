"""Reading what a call was given, as the node reads it."""

from collections.abc import Mapping
from typing import Any, Final

from quittance.sandbox.cln.refusals import WRONG_PARAMETERS, Refused

_HASH_BYTES: Final = 32
_NUMBER_MAX: Final = 2**63 - 1

Parameters = Mapping[str, Any]


def check_names(given: Parameters, *, known: frozenset[str]) -> None:
    """Refuse a parameter that the call does not have."""
    for name in given:
        if name not in known:
            raise Refused(WRONG_PARAMETERS, f"unknown parameter: {name}")


def required(given: Parameters, name: str) -> Any:
    if given.get(name) is None:
        raise Refused(WRONG_PARAMETERS, f"missing required parameter: {name}")
    return given[name]


def number(given: Parameters, name: str, *, default: int) -> int:
    value = given.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _NUMBER_MAX:
        raise Refused(WRONG_PARAMETERS, f"{name}: should be an integer: invalid token '{value}'")
    return value


def text(given: Parameters, name: str) -> str:
    value = required(given, name)
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise Refused(WRONG_PARAMETERS, f"{name}: should be a string: invalid token '{value}'")
    return str(value)


def flag(given: Parameters, name: str) -> bool:
    value = given.get(name)
    if value is not None and value not in (True, False, "true", "false"):
        raise Refused(WRONG_PARAMETERS, f"{name}: should be 'true' or 'false': invalid token '{value}'")
    return value in (True, "true")


def hash_of(given: Parameters, name: str) -> bytes | None:
    """Return 32 bytes given in hex, or None when there are none."""
    if given.get(name) is None:
        return None
    try:
        value = bytes.fromhex(text(given, name))
    except ValueError:
        value = b""
    if len(value) != _HASH_BYTES:
        raise Refused(WRONG_PARAMETERS, f"{name}: should be a 32 byte hex value: invalid token '{given[name]}'")
    return value
