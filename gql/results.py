"""What mutations give: a success, or one of the errors that this mutation can meet."""

from typing import Annotated

import strawberry

from quittance.gql.errors import (
    ArticleHiddenError,
    ArticleNotFoundError,
    ArticleRemovedError,
    CorrelationIdTakenError,
    ForbiddenAddressError,
    HoldNotSupportedError,
    IdempotencyConflictError,
    InvalidAmountError,
    InvalidArticleError,
    InvalidInputError,
    InvalidRefundAddressError,
    InvoiceRejectedError,
    LoginRequiredError,
    PayeeUnavailableError,
    PaymentNotFoundError,
    PaymentNotPayableError,
    PermissionDeniedError,
    ProviderMisconfiguredError,
    ProviderUnavailableError,
    RateLimitedError,
    RateUnavailableError,
    UnknownProviderError,
)
from quittance.gql.types.article import Article
from quittance.gql.types.payment import Payment


@strawberry.type(description="The article as it was made.")
class CreateArticleSuccess:
    article: Article = strawberry.field(description="The new article.")


@strawberry.type(description="The article as it is now.")
class UpdateArticleSuccess:
    article: Article = strawberry.field(description="The changed article.")


@strawberry.type(description="The article, hidden now.")
class HideArticleSuccess:
    article: Article = strawberry.field(description="The hidden article.")


@strawberry.type(description="A payment that can be paid now.")
class GenerateInvoiceSuccess:
    payment: Payment = strawberry.field(description="The payment, with its invoice.")
    client_secret: str = strawberry.field(
        description="Opens this payment and what it buys, nothing else. Hand it to the payer's device only."
    )
    replayed: bool = strawberry.field(
        description="Whether the payment was there before, made with this idempotency key or for this reader's view."
    )


@strawberry.type(description="The payment as the provider says it stands.")
class CheckPaymentSuccess:
    payment: Payment = strawberry.field(description="The payment.")


@strawberry.type(description="The payment, with a new invoice.")
class RetryPaymentSuccess:
    payment: Payment = strawberry.field(description="The payment.")


@strawberry.type(description="The payment, canceled.")
class CancelPaymentSuccess:
    payment: Payment = strawberry.field(description="The payment.")


CreateArticleResult = Annotated[
    CreateArticleSuccess | PermissionDeniedError | InvalidArticleError | InvalidAmountError | RateLimitedError,
    strawberry.union("CreateArticleResult", description="What `createArticle` gives."),
]
UpdateArticleResult = Annotated[
    UpdateArticleSuccess
    | PermissionDeniedError
    | ArticleNotFoundError
    | ArticleRemovedError
    | InvalidArticleError
    | InvalidAmountError
    | RateLimitedError,
    strawberry.union("UpdateArticleResult", description="What `updateArticle` gives."),
]
HideArticleResult = Annotated[
    HideArticleSuccess | PermissionDeniedError | ArticleNotFoundError | ArticleRemovedError | RateLimitedError,
    strawberry.union("HideArticleResult", description="What `hideArticle` gives."),
]
GenerateInvoiceResult = Annotated[
    GenerateInvoiceSuccess
    | PermissionDeniedError
    | LoginRequiredError
    | ArticleNotFoundError
    | ArticleHiddenError
    | InvalidAmountError
    | RateUnavailableError
    | InvalidInputError
    | ForbiddenAddressError
    | IdempotencyConflictError
    | CorrelationIdTakenError
    | InvalidRefundAddressError
    | PayeeUnavailableError
    | UnknownProviderError
    | HoldNotSupportedError
    | ProviderUnavailableError
    | ProviderMisconfiguredError
    | InvoiceRejectedError
    | RateLimitedError,
    strawberry.union("GenerateInvoiceResult", description="What `generateInvoice` gives."),
]
CheckPaymentResult = Annotated[
    CheckPaymentSuccess
    | PaymentNotFoundError
    | ProviderUnavailableError
    | ProviderMisconfiguredError
    | RateLimitedError,
    strawberry.union("CheckPaymentResult", description="What `checkPayment` gives."),
]
RetryPaymentResult = Annotated[
    RetryPaymentSuccess
    | PermissionDeniedError
    | ArticleNotFoundError
    | ArticleHiddenError
    | PaymentNotFoundError
    | PaymentNotPayableError
    | UnknownProviderError
    | HoldNotSupportedError
    | ProviderUnavailableError
    | ProviderMisconfiguredError
    | InvoiceRejectedError
    | RateLimitedError,
    strawberry.union("RetryPaymentResult", description="What `retryPayment` gives."),
]
CancelPaymentResult = Annotated[
    CancelPaymentSuccess
    | PermissionDeniedError
    | PaymentNotFoundError
    | PaymentNotPayableError
    | UnknownProviderError
    | ProviderUnavailableError
    | ProviderMisconfiguredError
    | RateLimitedError,
    strawberry.union("CancelPaymentResult", description="What `cancelPayment` gives."),
]
