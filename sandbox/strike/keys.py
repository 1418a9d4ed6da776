"""API keys: each is made once, kept in a file, and carries scopes."""

import hmac
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from quittance.sandbox.files import write_private
from quittance.sandbox.strike.operations import RECEIVING, SCOPES
from quittance.sandbox.strike.refusals import Refused

_KEY_BYTES: Final = 32
_FILES: Final[Mapping[str, frozenset[str]]] = {"api.key": SCOPES, "receive.key": RECEIVING}
_SCHEME: Final = "bearer"


class Keys:
    """The keys in one directory: ``api.key`` may do everything, ``receive.key`` may not spend."""

    def __init__(self, home: Path) -> None:
        self._scopes: dict[str, frozenset[str]] = {}
        for name, scopes in _FILES.items():
            if not (home / name).exists():
                write_private(home / name, secrets.token_hex(_KEY_BYTES).upper().encode())
            self._scopes[(home / name).read_text().strip()] = scopes

    def admit(self, authorization: str | None, *, scope: str) -> None:
        """Let in who has a key with this scope.

        Raises:
            Refused: 401 for nobody's key, 403 for one without the scope.
        """
        scheme, _, given = (authorization or "").partition(" ")
        known = [
            scopes for key, scopes in self._scopes.items() if hmac.compare_digest(key.encode(), given.strip().encode())
        ]
        if scheme.lower() != _SCHEME or not known:
            raise Refused(401, "UNAUTHORIZED", "Invalid or unspecified identity.")
        if scope not in known[0]:
            raise Refused(403, "FORBIDDEN", "Insufficient permissions to perform this action.")
