"""The node's answers: only the fields that we read, and only in the form in which they make sense."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Hex32 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Pubkey = Annotated[str, Field(pattern="^0[23][0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, lt=2**63, strict=True)]


class Answer(BaseModel):
    """Part of an answer; what else the node tells is left out."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class Nothing(Answer):
    """An answer of which nothing is read."""


class Refusal(Answer):
    """How clnrest says no. Without a code it could not ask the node."""

    code: Annotated[int, Field(strict=True)] | None = None
    message: str = ""


class Info(Answer):
    """What the node says of itself."""

    id: Pubkey
    network: str
    warning_bitcoind_sync: str | None = None
    warning_lightningd_sync: str | None = None


class NewInvoice(Answer):
    bolt11: str


class InvoiceRow(Answer):
    """One invoice. What was paid tells what came, when, and as the how-manieth."""

    label: str
    payment_hash: Hex32
    status: Literal["unpaid", "paid", "expired"]
    expires_at: Count
    created_index: Count
    updated_index: Count = 0
    bolt11: str | None = None
    pay_index: Count | None = None
    amount_received_msat: Count | None = None
    paid_at: Count | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.status == "paid" and None in {self.pay_index, self.amount_received_msat, self.paid_at}:
            raise ValueError("a paid invoice tells what came, and when")
        return self


class InvoiceRows(Answer):
    invoices: list[InvoiceRow]


class Paid(Answer):
    """What xpay tells of a payment that succeeded: what the payee got, and what left us."""

    payment_preimage: str
    amount_msat: Count
    amount_sent_msat: Count


class PayRow(Answer):
    """One try to pay a hash, with all its parts."""

    payment_hash: Hex32
    status: Literal["pending", "complete", "failed"]
    preimage: str = ""
    amount_msat: Count | None = None
    amount_sent_msat: Count = 0


class PayRows(Answer):
    pays: list[PayRow]
