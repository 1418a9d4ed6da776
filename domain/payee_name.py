"""The names that merchants are paid by: the first half of their Lightning Addresses (LUD-16)."""

import re
from typing import Final

from quittance.domain.errors import InvalidInput
from quittance.domain.ids import prefix_of

PAYEE_NAME_MAX: Final = 64
NAMES_MAX: Final = 5  # of one merchant, with those that it gave up: a name is never free again
RESERVED: Final = frozenset({
    "abuse", "admin", "administrator", "billing", "contact", "help", "hostmaster", "info", "mail", "mailer-daemon",
    "news", "no-reply", "noc", "noreply", "operator", "payments", "postmaster", "quittance", "root", "sales",
    "security", "ssl-admin", "staff", "support", "system", "webmaster", "www",
})  # fmt: skip
_NAME: Final = re.compile(rf"[a-z0-9](?:[a-z0-9._-]{{0,{PAYEE_NAME_MAX - 2}}}[a-z0-9])?", re.ASCII)


def check_payee_name(name: str) -> str:
    """Return a name that a merchant can have, in the small letters that it is looked up by.

    Raises:
        InvalidInput: it has other characters, or looks like the id of something, as articles are paid by theirs.
    """
    small = name.strip().lower()
    if not _NAME.fullmatch(small) or ".." in small:
        raise InvalidInput(
            "name", f"a name has 1 to {PAYEE_NAME_MAX} letters (a to z) or digits, and dots, - or _ between them"
        )
    if prefix_of(small):
        raise InvalidInput("name", "a name does not look like an id")
    return small


def check_unreserved(name: str) -> None:
    """Return if a name does not sound like the server's own, as those of mailboxes (RFC 2142) do.

    Raises:
        InvalidInput: it does.
    """
    if name in RESERVED:
        raise InvalidInput("name", "this name is kept for the operator of the server; choose another one")
