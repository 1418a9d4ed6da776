"""Where running rails are found by other processes."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from quittance.sandbox.files import write_private

PRICES_PATH: Final = "/api/v3"
_FILE: Final = "rails.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class LndCoordinates:
    """How to reach a merchant's node. The one macaroon can receive and read, the other can spend and nothing else."""

    address: str
    tls_cert_path: Path
    macaroon_path: Path
    spend_macaroon_path: Path | None = None
    network: str = "regtest"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClnCoordinates:
    """How to reach the merchant's Core Lightning node. The one rune can receive and read, the other can pay."""

    url: str
    ca_path: Path | None
    rune_path: Path
    spend_rune_path: Path | None
    network: str = "regtest"

    @classmethod
    def read(cls, content: Mapping[str, str]) -> "ClnCoordinates":
        return cls(
            url=content["url"],
            ca_path=Path(content["ca_path"]),
            rune_path=Path(content["rune_path"]),
            spend_rune_path=Path(content["spend_rune_path"]),
            network=content["network"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StrikeCoordinates:
    """How to reach the merchant's Strike account, at ``url`` and ``/v1``. The one key can do all that a merchant needs,
    the other can receive and read.
    """

    url: str
    api_key_path: Path
    receive_key_path: Path
    network: str = "regtest"

    @classmethod
    def read(cls, content: Mapping[str, str]) -> "StrikeCoordinates":
        return cls(
            url=content["url"],
            api_key_path=Path(content["api_key_path"]),
            receive_key_path=Path(content["receive_key_path"]),
            network=content["network"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxCoordinates:
    """What a process needs to use rails that another one runs."""

    pid: int
    lnd: LndCoordinates
    cln: ClnCoordinates
    lnd_ltc: LndCoordinates
    strike: StrikeCoordinates
    prices_url: str

    @property
    def prices_root(self) -> str:
        """Where every price source listens; the address in ``prices_url`` is CoinGecko's, with its path."""
        return self.prices_url.removesuffix(PRICES_PATH)

    @classmethod
    def load(cls, directory: Path) -> "SandboxCoordinates":
        """Read where the rails of ``directory`` run.

        Raises:
            FileNotFoundError: none have run there yet.
        """
        content = json.loads((directory / _FILE).read_bytes())
        return cls(
            pid=content["pid"],
            cln=ClnCoordinates.read(content["cln"]),
            strike=StrikeCoordinates.read(content["strike"]),
            prices_url=content["prices_url"],
            lnd=_read_lnd(content["lnd"]),
            lnd_ltc=_read_lnd(content["lnd_ltc"]),
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


def _read_lnd(content: Mapping[str, str]) -> LndCoordinates:
    return LndCoordinates(
        address=content["address"],
        tls_cert_path=Path(content["tls_cert_path"]),
        macaroon_path=Path(content["macaroon_path"]),
        spend_macaroon_path=Path(content["spend_macaroon_path"]),
        network=content["network"],
    )
