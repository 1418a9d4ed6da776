"""Which network the invoices of payees must be of."""

from pathlib import Path

import pytest

from quittance.server.rails import bitcoin_network
from quittance.server.settings import Settings


@pytest.mark.parametrize("network", ["mainnet", "testnet", "signet", "regtest"])
def test_a_server_with_core_lightning_alone_pays_on_its_network(tmp_path: Path, network: str) -> None:
    rune = tmp_path / "rune"
    rune.write_text("a rune")
    settings = Settings.model_validate(
        {"cln_url": "https://localhost:3010", "cln_rune_path": rune, "cln_network": network, "sandbox": False}
    )

    assert bitcoin_network(settings, None) == network
