"""What a macaroon lets a rail pay, and how the rail tells."""

import pytest
from pydantic import SecretStr
from tests.contract.conftest import Connect

from quittance.domain.errors import ProviderMisconfigured
from quittance.domain.money import msat
from quittance.providers.base import (
    ProviderHealth,
    SendRequest,
)
from quittance.providers.lnd._proto import lnrpc_pb2
from quittance.providers.lnd.channel import LndConnection, open_channel
from quittance.providers.lnd.payer import LndPayer
from quittance.sandbox.rails import SandboxRails


@pytest.mark.parametrize(
    ("macaroon", "may"),
    [("spend.macaroon", True), ("admin.macaroon", True), ("receive.macaroon", False), ("invoice.macaroon", False)],
)
async def test_the_macaroon_decides_whether_a_rail_may_pay(rails: SandboxRails, macaroon: str, may: bool) -> None:
    payer = await _payer_of(rails, macaroon)

    health = await payer.paying_health()

    refusal = "the macaroon may not pay; it needs offchain:read and offchain:write"
    assert health == ProviderHealth(ready=may, detail="may pay" if may else refusal)
    assert rails.nodes["merchant"].payments == {}
    await payer.aclose()


async def _payer_of(rails: SandboxRails, macaroon: str) -> LndPayer:
    where = rails.node_coordinates("merchant", macaroon)
    connection = LndConnection(
        address=where.address,
        tls_cert=where.tls_cert_path.read_bytes(),
        macaroon=SecretStr(where.macaroon_path.read_bytes().hex()),
    )
    return LndPayer(open_channel(connection), network="regtest", timeout_s=2)


async def test_a_macaroon_that_may_not_pay_begins_nothing(rails: SandboxRails, connect: Connect) -> None:
    bob = connect("bob")
    asked = await bob.lightning.AddInvoice(lnrpc_pb2.Invoice(value=1), metadata=bob.auth)
    payer = await _payer_of(rails, "receive.macaroon")

    with pytest.raises(ProviderMisconfigured, match="may not pay"):
        await payer.send(SendRequest(payment_request=asked.payment_request, amount=None, fee_max=msat(1_000)))

    assert rails.nodes["merchant"].payments == {}
    await payer.aclose()
