"""What can go wrong with money on its way out, and be acted upon. Nothing moved, unless it says so."""

from typing import TYPE_CHECKING

from quittance.domain.errors import QuittanceError

if TYPE_CHECKING:
    from quittance.domain.money import Money


class SendRefused(QuittanceError):
    """The provider did not begin to pay; nothing moved."""

    code = "SEND_REFUSED"

    def __init__(self, provider: str, reason: str) -> None:
        super().__init__(f"provider {provider!r} refused to pay: {reason}")
        self.provider = provider
        self.reason = reason


class InvalidDestination(QuittanceError):
    """Nobody can be paid by what was given; nothing moved. ``flaw`` is stable: MALFORMED, NETWORK, EXPIRED, AMOUNT,
    USED or UNSUPPORTED.
    """

    code = "INVALID_DESTINATION"

    def __init__(self, flaw: str, reason: str) -> None:
        super().__init__(f"the destination cannot be paid: {reason}")
        self.flaw = flaw
        self.reason = reason


class InsufficientBalance(QuittanceError):
    """Less is held than the amount and the most its way may cost; nothing moved. ``available`` can be paid out."""

    code = "INSUFFICIENT_BALANCE"

    def __init__(self, available: "Money") -> None:
        super().__init__(f"the balance does not cover this and its fee cap; {available.formatted} can be paid out")
        self.available = available


class RefundTooLarge(QuittanceError):
    """More would be given back than came in; nothing moved. ``left`` can be refunded."""

    code = "REFUND_TOO_LARGE"

    def __init__(self, left: "Money") -> None:
        super().__init__(f"of this payment {left.formatted} can be refunded, and no more")
        self.left = left


class NothingToRefund(QuittanceError):
    code = "NOTHING_TO_REFUND"

    def __init__(self) -> None:
        super().__init__("nothing of this payment is owed back")


class TransferNotFound(QuittanceError):
    code = "TRANSFER_NOT_FOUND"

    def __init__(self, transfer_id: str) -> None:
        super().__init__("no such refund or payout that this caller may see")
        self.transfer_id = transfer_id


class CannotPayFrom(QuittanceError):
    """The rail is connected to receive, and was given no credential to pay with."""

    code = "CANNOT_PAY_FROM"

    def __init__(self, provider: str) -> None:
        super().__init__(f"provider {provider!r} may not pay; the operator gives it the means in the settings")
        self.provider = provider


class InvalidPayee(QuittanceError):
    """What was given cannot be paid: it is no payee, or what it leads to offers no payment. ``reason`` says why."""

    code = "INVALID_PAYEE"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the payee {reason}")
        self.reason = reason


class PayeeUnavailable(QuittanceError):
    """The payee's server gave no answer; nothing was paid, so retrying is safe."""

    code = "PAYEE_UNAVAILABLE"
    retryable = True

    def __init__(self, reason: str) -> None:
        super().__init__(f"the payee's server gave no answer ({reason}); nothing was paid, so try again")
        self.reason = reason


class PayeeRefused(QuittanceError):
    """The payee's server answered with an error. ``reason`` is its own, made short and printable."""

    code = "PAYEE_REFUSED"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the payee's server refused: {reason}")
        self.reason = reason


class AmountOutOfBounds(QuittanceError):
    """The payee does not take this amount; the bounds are in millisatoshi."""

    code = "AMOUNT_OUT_OF_BOUNDS"

    def __init__(self, *, amount_msat_min: int, amount_msat_max: int) -> None:
        super().__init__(f"the payee takes {amount_msat_min} to {amount_msat_max} millisatoshi at once")
        self.amount_msat_min = amount_msat_min
        self.amount_msat_max = amount_msat_max


class PayeeInvoiceMismatch(QuittanceError):
    """The payee's server gave an invoice that is not the one asked for; it must not be paid. ``flaw`` is stable."""

    code = "PAYEE_INVOICE_MISMATCH"

    def __init__(self, flaw: str, reason: str) -> None:
        super().__init__(f"the invoice that the payee's server gave is not paid: {reason}")
        self.flaw = flaw
        self.reason = reason


class TooManyTransfers(QuittanceError):
    """So many are under way, or of one payment, that no more are begun; nothing moved."""

    code = "TOO_MANY_TRANSFERS"
    retryable = True

    def __init__(self, most: int) -> None:
        super().__init__(f"no more than {most} at once; wait until some have ended")
        self.most = most
