"""The port of payees: who is paid by an address of theirs instead of an invoice."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from quittance.domain.ids import PaymentHash, Preimage
from quittance.domain.lnurl_pay import AesAction, Payee, SuccessAction
from quittance.domain.money import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class PayeeInvoice:
    """An invoice that was checked: of this amount, on our network, bound to what the payee offered, and not expired.

    ``verify_url`` is where the payee's server says whether it was paid, if it says so at all.
    """

    payment_request: str
    payment_hash: PaymentHash
    amount: Money
    payee_key: str
    expires_at: datetime
    success_action: SuccessAction | None
    verify_url: str | None


class PayeeDirectory(Protocol):
    """Knows how to find payees, and how to get invoices from them."""

    async def resolve(self, payee: str) -> Payee:
        """Ask what a payee takes: a Lightning Address, an LNURL, or ``lnurlp://…``.

        Raises:
            InvalidPayee: it is none of these, or what it leads to offers no payment.
            ForbiddenAddress: it leads to where no call is made.
            PayeeUnavailable: no answer.
            PayeeRefused: the answer is an error.
        """
        ...

    async def request_invoice(
        self, payee: Payee, *, amount: Money, comment: str | None = None, strict: bool = True
    ) -> PayeeInvoice:
        """Return an invoice to pay, or none; asking moves no money. ``comment`` reaches the payee.

        Without ``strict``, an invoice with a description of its own will do; the amount is exact in any case.

        Raises:
            AmountOutOfBounds, InvalidAmount, InvalidInput: the payee does not take this amount or comment.
            PayeeInvoiceMismatch: what came must not be paid.
            InvalidPayee, ForbiddenAddress, PayeeUnavailable, PayeeRefused: as for ``resolve``.
        """
        ...

    async def proof(self, invoice: PayeeInvoice) -> Preimage | None:
        """Return the preimage that the payee's server shows for a paid invoice (LUD-21).

        None where it says that it was not paid, says paid without proof, or tells nothing of its invoices.

        Raises:
            PayeeInvoiceMismatch: it speaks of another invoice, or the preimage is not this one's.
            InvalidPayee, ForbiddenAddress, PayeeUnavailable, PayeeRefused: as for ``resolve``.
        """
        ...

    def reveal(self, action: AesAction, preimage: Preimage) -> str | None:
        """Return the text that a payment has opened; None where its preimage does not open it."""
        ...
