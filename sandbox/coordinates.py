"""Where running rails are found by other processes."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from quittance.sandbox.files import write_private

_FILE: Final = "rails.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class LndCoordinates:
    """How to reach the merchant's node. The one macaroon can receive and read, the other can spend and nothing else."""

    address: str
    tls_cert_path: Path
    macaroon_path: Path
    spend_macaroon_path: Path | None = None
    network: str = "regtest"


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxCoordinates:
    """What a process needs to use rails that another one runs."""

    pid: int
    lnd: LndCoordinates
    prices_url: str

    @classmethod
    def load(cls, directory: Path) -> "SandboxCoordinates":
        """Read where the rails of ``directory`` run.

        Raises:
            FileNotFoundError: none have run there yet.
        """
        content = json.loads((directory / _FILE).read_bytes())
        lnd = content["lnd"]
        return cls(
            pid=content["pid"],
            prices_url=content["prices_url"],
            lnd=LndCoordinates(
                address=lnd["address"],
                tls_cert_path=Path(lnd["tls_cert_path"]),
                macaroon_path=Path(lnd["macaroon_path"]),
                spend_macaroon_path=Path(lnd["spend_macaroon_path"]),
                network=lnd["network"],
            ),
        )

    def save(self, directory: Path) -> None:
        """Leave a note in ``directory`` that only its owner can read."""
        write_private(directory / _FILE, self.to_json().encode())

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=str)

    @staticmethod
    def forget(directory: Path) -> None:
        """Take the note away: the rails have stopped."""
        (directory / _FILE).unlink(missing_ok=True)
