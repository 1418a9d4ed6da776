"""Files that other processes read while we write them."""

import os
import tempfile
from pathlib import Path

_PRIVATE = 0o600


def write_private(path: Path, content: bytes) -> None:
    """Replace ``path`` in one step by a file that only its owner reads; a reader sees the old one or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), _PRIVATE)
            file.write(content)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
