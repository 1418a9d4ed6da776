"""Reading what a call was given, as Strike reads it: names in any case, unknown ones ignored, every flaw listed."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from quittance.sandbox.strike import money as strike_money
from quittance.sandbox.strike.money import Money
from quittance.sandbox.strike.refusals import (
    BAD_CURRENCY,
    BAD_VALUE,
    REQUIRED,
    TOO_LONG,
    TOO_SHORT,
    invalid,
    invalid_field,
)

_AMOUNT_CHARACTERS_MAX: Final = 32
_AMOUNT: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)
_EXPONENT: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?[eE][+-]?[0-9]{1,3}", re.ASCII)
_HASH: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_NUMBER_MAX: Final = 2**63 - 1


class Given:
    """The members of one object. Flaws are collected; :meth:`check` refuses the call for all of them at once.

    ``exponents``: amounts such as ``5e-05`` are taken too, which Strike perhaps does (sheet 1.2).
    """

    def __init__(
        self,
        content: Mapping[str, Any],
        *,
        exponents: bool = False,
        path: str = "",
        flaws: dict[str, list[dict[str, str]]] | None = None,
    ) -> None:
        self._content = {name.lower(): value for name, value in content.items() if value is not None}
        self._exponents = exponents
        self._path = path
        self._flaws = flaws if flaws is not None else {}

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._content

    def check(self) -> None:
        """Accept what was read.

        Raises:
            Refused: 400, with every flaw that was found.
        """
        if self._flaws:
            raise invalid(self._flaws)

    def flaw(self, name: str, code: str, message: str) -> None:
        self._flaws.setdefault(f"{self._path}{name}", []).append({"code": code, "message": message})

    def required(self, name: str) -> None:
        if name not in self:
            self.flaw(name, REQUIRED, f"The {name} field is required.")

    def text(self, name: str, *, size_max: int, size_min: int = 0) -> str | None:
        """Return a text, or None when there is none."""
        value = self._content.get(name.lower())
        if value is None:
            return None
        if not isinstance(value, str):
            self.flaw(name, BAD_VALUE, f"The {name} field is not a string.")
            return None
        if not _is_unicode(value):
            self.flaw(name, BAD_VALUE, f"The {name} field holds half of a character.")
            return None
        if len(value) > size_max:
            self.flaw(name, TOO_LONG, f"The {name} field has at most {size_max} characters.")
        if len(value) < size_min:
            self.flaw(name, TOO_SHORT, f"The {name} field has at least {size_min} characters.")
        return value

    def needed_text(self, name: str, *, size_max: int, size_min: int = 1) -> str:
        """Return a text that must be there; it is empty only where :meth:`check` will refuse."""
        self.required(name)
        return self.text(name, size_max=size_max, size_min=size_min) or ""

    def hash(self, name: str) -> str | None:
        """Return 32 bytes in hex, in small letters."""
        value = self.text(name, size_max=64)
        if value is not None and not _HASH.fullmatch(value):
            self.flaw(name, BAD_VALUE, f"The {name} field is not a hash in hex.")
        return value.lower() if value is not None else None

    def flag(self, name: str) -> bool | None:
        value = self._content.get(name.lower())
        if value is not None and not isinstance(value, bool):
            self.flaw(name, BAD_VALUE, f"The {name} field is not a boolean.")
            return None
        return value

    def number(self, name: str) -> int | None:
        value = self._content.get(name.lower())
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _NUMBER_MAX:
            self.flaw(name, BAD_VALUE, f"The {name} field is not a number above zero.")
            return None
        return value

    def texts(self, name: str) -> tuple[str, ...] | None:
        value = self._content.get(name.lower())
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
            self.flaw(name, BAD_VALUE, f"The {name} field is not a list of strings.")
            return None
        return tuple(value)

    def choice(self, name: str, *choices: str) -> str | None:
        value = self.text(name, size_max=64)
        if value is not None and value not in choices:
            self.flaw(name, BAD_VALUE, f"The {name} field is one of {', '.join(choices)}.")
        return value

    def currency(self, name: str) -> str | None:
        value = self.text(name, size_max=64)
        if value is not None and value not in strike_money.KNOWN:
            self.flaw(name, BAD_CURRENCY, f"The {name} field is not a currency.")
        return value

    def within(self, name: str) -> "Given | None":
        """Return an object within this one."""
        value = self._content.get(name.lower())
        if value is None:
            return None
        if not isinstance(value, dict):
            self.flaw(name, BAD_VALUE, f"The {name} field is not an object.")
            return None
        return Given(value, exponents=self._exponents, path=f"{self._path}{name}.", flaws=self._flaws)

    def money(self, name: str) -> Money | None:
        """Return an amount; what it may be worth is for :func:`money.check_amount` to say."""
        given = self.within(name)
        if given is None:
            return None
        text = given.needed_text("amount", size_max=_AMOUNT_CHARACTERS_MAX)
        given.required("currency")
        currency = given.currency("currency")
        if text and not _AMOUNT.fullmatch(text) and not (self._exponents and _EXPONENT.fullmatch(text)):
            given.flaw("amount", BAD_VALUE, "The amount field is not a decimal number.")
            return None
        return Money(value=Decimal(text), currency=currency) if text and currency else None

    def needed_money(self, name: str) -> Money:
        """Return an amount that must be there.

        Raises:
            Refused: 400 for this and every other flaw.
        """
        self.required(name)
        value = self.money(name)
        self.check()
        assert value is not None, "else there was a flaw"
        return value


def read_id(text: str, *, name: str) -> str:
    """Return an id that stands in the path.

    Raises:
        Refused: it is no UUID.
    """
    try:
        return str(UUID(text))
    except ValueError:
        raise invalid_field(name, f"The value '{text[:64]}' is not valid.") from None


def _is_unicode(text: str) -> bool:
    """Tell whether a text can be written: JSON can spell what is half of a character."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
