"""Trusted documents: the operations that clients were built with."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from quittance.server.runtime import StartRefused


def load_trusted_documents(path: Path | None) -> Mapping[str, str] | None:
    """Return the documents by their SHA-256 in hex, or None when no file is set.

    Raises:
        StartRefused: the file is not JSON of that shape, or a hash is not its document's.
    """
    if path is None:
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StartRefused(f"QUITTANCE_TRUSTED_DOCUMENTS_PATH: {path} is not readable JSON ({error})") from None
    if not isinstance(found, dict):
        raise StartRefused(f"QUITTANCE_TRUSTED_DOCUMENTS_PATH: {path} must hold an object of {{sha256: document}}")
    documents: dict[str, str] = {}
    for name, text in found.items():
        key = str(name).removeprefix("sha256:")
        if not isinstance(text, str) or hashlib.sha256(text.encode()).hexdigest() != key:
            raise StartRefused(f"QUITTANCE_TRUSTED_DOCUMENTS_PATH: {name} is not the SHA-256 of its document")
        documents[key] = text
    return documents
