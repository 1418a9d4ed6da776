"""What mutations of outgoing money give."""

from typing import Annotated

import strawberry

from quittance.gql.errors import (
    AmountOutOfBoundsError,
    CannotPayFromError,
    ForbiddenAddressError,
    IdempotencyConflictError,
    InsufficientBalanceError,
    InvalidAmountError,
    InvalidDestinationError,
    InvalidInputError,
    InvalidPayeeError,
    LoginRequiredError,
    NothingToRefundError,
    PayeeInvoiceMismatchError,
    PayeeRefusedError,
    PaymentNotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    RefundTooLargeError,
    TooManyTransfersError,
)
from quittance.gql.types.transfer import Payout, Refund


@strawberry.type(description="The refund; its status says how far it is.")
class RefundPaymentSuccess:
    refund: Refund = strawberry.field(description="The refund.")


@strawberry.type(description="The refund; its status says how far it is.")
class ClaimRefundSuccess:
    refund: Refund = strawberry.field(description="The refund.")


@strawberry.type(description="The payout; its status says how far it is.")
class RequestPayoutSuccess:
    payout: Payout = strawberry.field(description="The payout.")


_TransferErrors = (
    InsufficientBalanceError
    | InvalidAmountError
    | InvalidInputError
    | InvalidDestinationError
    | InvalidPayeeError
    | ForbiddenAddressError
    | PayeeRefusedError
    | AmountOutOfBoundsError
    | PayeeInvoiceMismatchError
    | IdempotencyConflictError
    | CannotPayFromError
    | TooManyTransfersError
    | RateLimitedError
)
RefundPaymentResult = Annotated[
    RefundPaymentSuccess
    | PermissionDeniedError
    | PaymentNotFoundError
    | NothingToRefundError
    | RefundTooLargeError
    | _TransferErrors,
    strawberry.union("RefundPaymentResult", description="What `refundPayment` gives."),
]
ClaimRefundResult = Annotated[
    ClaimRefundSuccess | PaymentNotFoundError | NothingToRefundError | RefundTooLargeError | _TransferErrors,
    strawberry.union("ClaimRefundResult", description="What `claimRefund` gives."),
]
RequestPayoutResult = Annotated[
    RequestPayoutSuccess | LoginRequiredError | PermissionDeniedError | _TransferErrors,
    strawberry.union("RequestPayoutResult", description="What `requestPayout` gives."),
]
