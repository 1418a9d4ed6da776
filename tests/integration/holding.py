"""What tests of held money share: a shop that asks for it through the contract, and a payer that locks it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from quittance.providers.lnd._proto import lnrpc_pb2 as ln
from quittance.sandbox.lnd.records import InvoiceRecord
from quittance.sandbox.rails import SandboxRefused

START_MSAT = 10 * 10**11
HOLD_S_MAX = 3_600
_PAYMENT = "payment { id status statusReason hold holdExpiresAt paymentHash received { value } }"
_ERRORS = "... on UserError { code retryable }"
_REFUSALS = f"... on PaymentNotPayableError {{ status }} {_ERRORS}"
GENERATE = f"""
mutation ($input: GenerateInvoiceInput!) {{
  generateInvoice(input: $input) {{
    __typename
    ... on GenerateInvoiceSuccess {{ clientSecret replayed {_PAYMENT} }}
    {_ERRORS}
  }}
}}
"""
CAPTURE = f"""
mutation ($id: ID!) {{
  capturePayment(id: $id) {{ __typename ... on CapturePaymentSuccess {{ {_PAYMENT} }} {_REFUSALS} }}
}}
"""
RELEASE = f"""
mutation ($id: ID!) {{
  releasePayment(id: $id) {{ __typename ... on ReleasePaymentSuccess {{ {_PAYMENT} }} {_REFUSALS} }}
}}
"""
CHECK = f"""
mutation ($id: ID!) {{ checkPayment(id: $id) {{ __typename ... on CheckPaymentSuccess {{ {_PAYMENT} }} {_ERRORS} }} }}
"""
READ = f"""query ($id: ID!) {{ payment(id: $id) {{ {_PAYMENT.removeprefix("payment { ").removesuffix(" }")} }} }}"""
REFUSED = {"__typename": "PaymentNotPayableError", "code": "PAYMENT_NOT_PAYABLE", "retryable": False}
UNKNOWN = {"__typename": "OutcomeUnknownError", "code": "OUTCOME_UNKNOWN", "retryable": True}


@dataclass(frozen=True)
class Holder:
    """A till whose money is held."""

    till: Any

    def on(self, services: Any) -> "Holder":
        return Holder(self.till.on(services))

    async def ask(self, **said: Any) -> dict[str, Any]:
        order = {"hold": True} | ({} if "articleId" in said else {"amount": {"msat": "5000"}}) | said
        made: dict[str, Any] = await self.till.shop.mutate("generateInvoice", GENERATE, {"input": order})
        return made

    async def open(self, **said: Any) -> str:
        made = await self.ask(**said)
        assert made["__typename"] == "GenerateInvoiceSuccess", made
        return str(made["payment"]["id"])

    async def lock(self, payment_id: str, *, option: int = -1) -> None:
        """Let Alice pay; her money is on its way until somebody decides."""
        paid = (await self.till.options(payment_id))[option]
        with pytest.raises(SandboxRefused, match="in flight"):
            await self.till.rails.pay(paid.payment_request, wait_s=0.01)

    async def held(self, **said: Any) -> str:
        payment_id = await self.open(**said)
        await self.lock(payment_id)
        assert (await self.check(payment_id))["status"] == "HELD"
        return payment_id

    async def check(self, payment_id: str) -> dict[str, Any]:
        checked = await self.till.shop.mutate("checkPayment", CHECK, {"id": payment_id})
        found: dict[str, Any] = checked["payment"]
        return found

    async def read(self, payment_id: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.till.shop.run(READ, {"id": payment_id}))["payment"]
        return found

    async def capture(self, payment_id: str, **more: Any) -> dict[str, Any]:
        found: dict[str, Any] = await self.till.shop.mutate("capturePayment", CAPTURE, {"id": payment_id}, **more)
        return found

    async def release(self, payment_id: str, **more: Any) -> dict[str, Any]:
        found: dict[str, Any] = await self.till.shop.mutate("releasePayment", RELEASE, {"id": payment_id}, **more)
        return found

    async def invoice(self, payment_id: str, *, node: str = "merchant", option: int = -1) -> InvoiceRecord:
        """Return what the node itself knows."""
        reference = (await self.till.options(payment_id))[option].reference
        found: InvoiceRecord = self.till.rails.nodes[node].invoices[bytes.fromhex(reference)]
        return found

    async def audited(self) -> list[dict[str, Any]]:
        """Return the audit log's entries on payments, the oldest first."""
        return [row for row in await self.till.rows("audit_entry") if row["action"].startswith("PAYMENT_")]

    async def assert_taken_once(self, payment_id: str) -> None:
        """The node has it, the books have it once, and the world was told once."""
        assert (await self.invoice(payment_id)).state == ln.Invoice.SETTLED
        assert self.till.rails.nodes["merchant"].balance_msat == 5_000
        settlements = await self.till.rows("settlement")
        assert [(row["payment_id"], row["amount_value"], row["disposition"]) for row in settlements] == [
            (payment_id, 5_000, "ACCEPTED")
        ]
        assert await self.till.events(payment_id) == [
            ("payment.updated", "PENDING_INVOICE"),
            ("payment.updated", "PENDING_PAYMENT"),
            ("payment.updated", "HELD"),
            ("payment.settled", "COMPLETE"),
        ]
        assert await self.till.balances() == {"PROVIDER": 5_000, "MERCHANT": -5_000}
        found = await self.read(payment_id)
        assert (found["status"], found["received"], found["holdExpiresAt"]) == ("COMPLETE", {"value": "5000"}, None)

    async def assert_given_back(self, payment_id: str, status: str, reason: str | None) -> None:
        """The payer has it again, and nothing was ever booked."""
        assert (await self.invoice(payment_id)).state == ln.Invoice.CANCELED
        assert self.till.rails.nodes["alice"].balance_msat == START_MSAT
        assert self.till.rails.nodes["merchant"].balance_msat == 0
        assert await self.till.rows("settlement") == []
        assert await self.till.balances() == {}
        found = await self.read(payment_id)
        assert (found["status"], found["statusReason"], found["received"]) == (status, reason, None)
        assert found["holdExpiresAt"] is None

    def wait(self, seconds: float) -> None:
        self.till.clock.advance(seconds)

    @property
    def hold_max(self) -> timedelta:
        return timedelta(seconds=self.till.services.rules.hold_s_max)
