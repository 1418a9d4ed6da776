"""Held money: the two ways a hold may end, for schema and errors alike."""

from typing import Annotated

import strawberry

from quittance.domain.ids import PaymentId
from quittance.gql.arguments import Id
from quittance.gql.context import QuittanceInfo
from quittance.gql.errors import (
    HoldNotSupportedError,
    OutcomeUnknownError,
    PaymentNotFoundError,
    PaymentNotPayableError,
    PermissionDeniedError,
    ProviderMisconfiguredError,
    ProviderUnavailableError,
    RateLimitedError,
    UnknownProviderError,
)
from quittance.gql.types.payment import Payment
from quittance.resolvers import holds


@strawberry.type(description="The payment, complete: what it held is the merchant's.")
class CapturePaymentSuccess:
    payment: Payment = strawberry.field(description="The payment.")


@strawberry.type(description="The payment, canceled: what it held went back to its payer.")
class ReleasePaymentSuccess:
    payment: Payment = strawberry.field(description="The payment.")


CapturePaymentResult = Annotated[
    CapturePaymentSuccess
    | PermissionDeniedError
    | PaymentNotFoundError
    | PaymentNotPayableError
    | UnknownProviderError
    | HoldNotSupportedError
    | OutcomeUnknownError
    | ProviderUnavailableError
    | ProviderMisconfiguredError
    | RateLimitedError,
    strawberry.union("CapturePaymentResult", description="What `capturePayment` gives."),
]
ReleasePaymentResult = Annotated[
    ReleasePaymentSuccess
    | PermissionDeniedError
    | PaymentNotFoundError
    | PaymentNotPayableError
    | UnknownProviderError
    | OutcomeUnknownError
    | ProviderUnavailableError
    | ProviderMisconfiguredError
    | RateLimitedError,
    strawberry.union("ReleasePaymentResult", description="What `releasePayment` gives."),
]


@strawberry.type(description="What can be done with money that is held.")
class HoldMutations:
    @strawberry.mutation(
        description="Take the money that a payment holds, asked for with `hold: true`. Only then is it COMPLETE."
    )
    async def capture_payment(self, info: QuittanceInfo, id: Id) -> CapturePaymentResult | None:  # noqa: A002
        captured = await holds.capture_payment(info.context.services, info.context.principal, PaymentId(id))
        info.context.loaders.forget_payment(captured.id)
        return CapturePaymentSuccess(payment=Payment.from_domain(captured))

    @strawberry.mutation(description="Give back the money that a payment holds; the payment is CANCELED then.")
    async def release_payment(self, info: QuittanceInfo, id: Id) -> ReleasePaymentResult | None:  # noqa: A002
        released = await holds.release_payment(info.context.services, info.context.principal, PaymentId(id))
        info.context.loaders.forget_payment(released.id)
        return ReleasePaymentSuccess(payment=Payment.from_domain(released))
