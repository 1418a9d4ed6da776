"""The installation's secret key: from the settings, or a file that only its owner can read."""

import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path

from quittance.domain.secrets import SecretDeriver
from quittance.server.settings import Settings

_KEY_BYTES = 32


class SecretKeyDamaged(Exception):
    """The key's file does not hold a key: restore it from the backup, for a new one opens nothing handed out."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} does not hold a secret key; restore it from your backup, or set QUITTANCE_SECRET_KEY")


def load_deriver(settings: Settings) -> SecretDeriver:
    """Return the deriver of client secrets and preimages; the first start without a key makes one."""
    if settings.secret_key is not None:
        return SecretDeriver(settings.secret_key.get_secret_value().encode())
    text = remembered(settings.state_dir / "secret-key", lambda: secrets.token_hex(_KEY_BYTES))
    try:
        return SecretDeriver(bytes.fromhex(text))
    except ValueError:
        raise SecretKeyDamaged(settings.state_dir / "secret-key") from None


def remembered(path: Path, make: Callable[[], str]) -> str:
    """Return what the file holds; the first caller writes it whole, and callers at the same time agree."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        descriptor, name = tempfile.mkstemp(dir=path.parent)  # readable by its owner alone
        with os.fdopen(descriptor, "w") as file:
            file.write(make())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(name, path)
        except FileExistsError:
            pass
        finally:
            Path(name).unlink()
    return path.read_text().strip()
