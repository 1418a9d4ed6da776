"""The same shop with a second rail: the sandbox's Litecoin node beside its Bitcoin node."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from quittance.domain.money import LTC_MSAT, Money
from quittance.providers.base import Settlement
from quittance.providers.lnd.channel import LndConnection, open_channel
from quittance.providers.lnd.currencies import LITECOIN
from quittance.providers.lnd.payer import LndPayer
from quittance.providers.lnd.provider import LndProvider
from quittance.resolvers.settlements import Booking
from quittance.sandbox.rails import LndCoordinates, SandboxRails

RAIL = "lnd-ltc"
GENERATE = """
mutation ($input: GenerateInvoiceInput!) {
  generateInvoice(input: $input) {
    __typename
    ... on GenerateInvoiceSuccess {
      clientSecret
      payment {
        id status provider paymentRequest qrCode
        amount { value assetCode assetScale decimal formatted }
        options { provider amount { value assetCode } }
      }
    }
    ... on UserError { code message }
  }
}
"""
CHECK = """
mutation ($id: ID!) {
  checkPayment(id: $id) {
    __typename
    ... on CheckPaymentSuccess { payment { status received { value assetCode assetScale formatted } } }
  }
}
"""


def litoshi(value: int) -> dict[str, object]:
    """Return an amount of Litecoin as a client writes it, in its smallest unit."""
    return {"asset": {"assetCode": "LTC", "assetScale": 8, "value": str(value)}}


@dataclass(frozen=True)
class Counter:
    """The till's Litecoin side. Amounts are in thousandths of a litoshi, as the node counts."""

    till: Any

    async def ask(self, **input_: object) -> dict[str, Any]:
        """Ask for an invoice on the Litecoin rail, and return the whole answer."""
        asked = {"provider": RAIL, "amount": litoshi(1_000)} | input_
        said = {"input": {name: value for name, value in asked.items() if value is not None}}
        answer: dict[str, Any] = await self.till.shop.mutate("generateInvoice", GENERATE, said)
        return answer

    async def payment(self, **input_: object) -> dict[str, Any]:
        answer = await self.ask(**input_)
        assert answer["__typename"] == "GenerateInvoiceSuccess", answer
        payment: dict[str, Any] = answer["payment"]
        return payment

    async def check(self, payment_id: str) -> dict[str, Any]:
        """Ask the node now, and return the payment."""
        answer = await self.till.shop.mutate("checkPayment", CHECK, {"id": payment_id})
        payment: dict[str, Any] = answer["payment"]
        return payment

    async def pay(self, payment_id: str, **more: Any) -> Settlement:
        """Let Dave pay the payment's newest invoice, and return what the feed would report of it."""
        option = (await self.till.options(payment_id))[-1]
        await self.till.rails.pay(option.payment_request, **more)
        invoice = self.till.rails.nodes["merchant-ltc"].invoices[bytes.fromhex(option.reference)]
        return Settlement(
            reference=option.reference,
            received=Money(invoice.paid_msat, LTC_MSAT),
            settled_at=datetime.fromtimestamp(invoice.settled_at_s, UTC),
            position=None,
        )

    async def money(self, payment_id: str, *, value: int) -> Settlement:
        """Return a report of money that a rail could make, whether or not a node would."""
        report: Settlement = await self.till.money(payment_id)
        return replace(report, received=Money(value, LTC_MSAT))

    async def report(self, settlement: Settlement) -> Booking:
        booking: Booking = await self.till.report(settlement, provider=RAIL)
        return booking


async def accounts(till: Any) -> dict[str, int]:
    """Return every account of the ledger, without its owner, after the sums of each asset were found to be zero."""
    rows = await till.rows("ledger_account")
    for code in {row["asset_code"] for row in rows}:
        assert sum(row["balance_value"] for row in rows if row["asset_code"] == code) == 0
    return {f"{row['kind']} {row['asset_code']}": row["balance_value"] for row in rows}


def _connection(where: LndCoordinates, macaroon: Path | None) -> LndConnection:
    assert macaroon is not None
    return LndConnection(
        address=where.address,
        tls_cert=where.tls_cert_path.read_bytes(),
        macaroon=SecretStr(macaroon.read_bytes().hex()),
    )


@pytest.fixture
async def lnd_ltc(rails: SandboxRails) -> AsyncIterator[LndProvider]:
    channel = open_channel(_connection(rails.lnd_ltc, rails.lnd_ltc.macaroon_path))
    provider = LndProvider(channel, network="regtest", name=RAIL, timeout_s=2.0, currency=LITECOIN)
    yield provider
    await provider.aclose()


@pytest.fixture
async def ltc_payer(rails: SandboxRails) -> AsyncIterator[LndPayer]:
    channel = open_channel(_connection(rails.lnd_ltc, rails.lnd_ltc.spend_macaroon_path))
    paying = LndPayer(channel, network="regtest", name=RAIL, timeout_s=2.0, wait_s=2.0, currency=LITECOIN)
    yield paying
    await paying.aclose()


@pytest.fixture
def both(till: Any, lnd_ltc: LndProvider, ltc_payer: LndPayer) -> Any:
    """The till with both rails connected, to receive and to pay."""
    services = till.services
    rails, payers = {**services.rails, RAIL: lnd_ltc}, {**services.payers, RAIL: ltc_payer}
    return till.on(replace(services, rails=rails, payers=payers))


@pytest.fixture
def counter(both: Any) -> Counter:
    return Counter(both)
