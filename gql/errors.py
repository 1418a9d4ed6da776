"""Expected errors as data: one GraphQL type for each."""

import strawberry

from quittance.gql.scalars import BigInt
from quittance.gql.types.enums import InvoiceFlaw, PaymentStatus, RateFlaw
from quittance.gql.types.money import Money


@strawberry.interface(
    description="Something the caller can act upon. `... on UserError { code message }` sees them all."
)
class UserError:
    code: str = strawberry.field(description="A stable code, such as ARTICLE_NOT_FOUND.")
    message: str = strawberry.field(description="A sentence for people: what is wrong, and what to do next.")
    retryable: bool = strawberry.field(description="Whether the very same call may succeed later.")


@strawberry.type(description="There is no such article.")
class ArticleNotFoundError(UserError):
    article_id: strawberry.ID = strawberry.field(description="The id that was asked for.")


@strawberry.type(description="The article is hidden or removed and cannot be bought.")
class ArticleHiddenError(UserError):
    article_id: strawberry.ID = strawberry.field(description="The id that was asked for.")


@strawberry.type(description="The operator removed the article; its merchant cannot show or hide it.")
class ArticleRemovedError(UserError):
    article_id: strawberry.ID = strawberry.field(description="The id that was asked for.")


@strawberry.type(description="A field of the article breaks a rule.")
class InvalidArticleError(UserError):
    field: str = strawberry.field(description="The field that is wrong.")


@strawberry.type(
    description="The amount is zero, negative, above the limit, finer than the asset's smallest unit, of a currency "
    "that does not exist, or missing."
)
class InvalidAmountError(UserError):
    pass


@strawberry.type(description="An argument breaks a rule.")
class InvalidInputError(UserError):
    field: str = strawberry.field(description="The argument that is wrong.")


@strawberry.type(description="The idempotency key was used with another input; nothing was made.")
class IdempotencyConflictError(UserError):
    key: str = strawberry.field(description="The key in question.")


@strawberry.type(
    description="The merchant wants each correlation id used once, and a payment has this one; nothing was made."
)
class CorrelationIdTakenError(UserError):
    correlation_id: str = strawberry.field(description="The id in question.")
    payment_id: strawberry.ID = strawberry.field(description="The payment that has it.")


@strawberry.type(
    description="Money of this payment could not go back to the refund address; the message says why. Nothing was made."
)
class InvalidRefundAddressError(UserError):
    flaw: str = strawberry.field(
        description="MALFORMED, NETWORK, EXPIRED, AMOUNT, UNSUPPORTED, FORBIDDEN or PAYEE: what its server says."
    )
    reason: str = strawberry.field(description="What is wrong with it.")


@strawberry.type(description="There is no such payment that this caller may see.")
class PaymentNotFoundError(UserError):
    payment_id: strawberry.ID = strawberry.field(description="The id that was asked for.")


@strawberry.type(description="The payment's status does not allow this; nothing changed.")
class PaymentNotPayableError(UserError):
    payment_id: strawberry.ID = strawberry.field(description="The payment in question.")
    status: PaymentStatus = strawberry.field(description="The status it is in.")


@strawberry.type(description="There is no such merchant that this key may manage.")
class MerchantNotFoundError(UserError):
    merchant_id: strawberry.ID = strawberry.field(description="The id that was asked for.")


@strawberry.type(description="The merchant has no such API key.")
class ApiKeyNotFoundError(UserError):
    api_key_id: strawberry.ID = strawberry.field(description="The id that was asked for.")


@strawberry.type(description="The key lacks the scope for this, or there is no key.")
class PermissionDeniedError(UserError):
    needed: str = strawberry.field(description="The scope that is needed.")


@strawberry.type(description="Too many requests.")
class RateLimitedError(UserError):
    retry_after_s: int = strawberry.field(description="After how many seconds to try again.")


@strawberry.type(description="The provider did not answer. Nobody was charged; the same idempotency key again is safe.")
class ProviderUnavailableError(UserError):
    provider: str = strawberry.field(description="The provider in question.")


@strawberry.type(description="The provider refuses us; its operator must act.")
class ProviderMisconfiguredError(UserError):
    provider: str = strawberry.field(description="The provider in question.")


@strawberry.type(
    description="There is no exchange rate that can be believed now; nothing was made, and the same call again is safe."
)
class RateUnavailableError(UserError):
    base: str = strawberry.field(description="The asset that has no price.")
    quote: str = strawberry.field(description="The currency that it has no price in.")
    reason: RateFlaw = strawberry.field(description="Why.")


@strawberry.type(description="The provider refused to make this invoice; nothing was made.")
class InvoiceRejectedError(UserError):
    provider: str = strawberry.field(description="The provider in question.")


@strawberry.type(
    description="The provider has not said whether it moved the money. It is asked again, and the payment's status "
    "will tell; the same call again is safe."
)
class OutcomeUnknownError(UserError):
    provider: str = strawberry.field(description="The provider in question.")


@strawberry.type(description="The provider cannot hold money; `providers` says which have the capability HOLD.")
class HoldNotSupportedError(UserError):
    provider: str = strawberry.field(description="The provider in question.")


@strawberry.type(description="No provider of this name is connected; `providers` lists those that are.")
class UnknownProviderError(UserError):
    pass


@strawberry.type(description="There is no such webhook endpoint of this merchant.")
class WebhookEndpointNotFoundError(UserError):
    endpoint_id: strawberry.ID = strawberry.field(description="The id that was asked for.")


@strawberry.type(description="There is no such webhook delivery of this merchant.")
class WebhookDeliveryNotFoundError(UserError):
    delivery_id: strawberry.ID = strawberry.field(description="The id that was asked for.")


@strawberry.type(description="The document cannot become a payload; the message says why.")
class InvalidDocumentError(UserError):
    reason: str = strawberry.field(description="What is wrong with it.")


@strawberry.type(description="The address may not be called; the message says what to give instead.")
class ForbiddenAddressError(UserError):
    reason: str = strawberry.field(description="What is wrong with it.")


@strawberry.type(description="The nonce or wallet's login is unknown, was used or has expired. Begin a new one.")
class LoginChallengeNotFoundError(UserError):
    pass


@strawberry.type(description="No key made this signature, or another one than was named; the nonce can still be used.")
class InvalidSignatureError(UserError):
    pass


@strawberry.type(description="A key that has no account yet needs a name for one; the login can still be finished.")
class UsernameRequiredError(UserError):
    pass


@strawberry.type(description="Another reader has this name; the login can still be finished.")
class UsernameTakenError(UserError):
    pass


@strawberry.type(description="No wallet has signed this login yet.")
class LoginNotSignedError(UserError):
    pass


@strawberry.type(description="Another account has the key of this wallet; nothing was linked.")
class KeyTakenError(UserError):
    pass


@strawberry.type(
    description="The account has another wallet already, and keeps it: nothing was linked. Log in with that wallet."
)
class WalletLinkedError(UserError):
    pass


@strawberry.type(description="This needs a reader's token.")
class LoginRequiredError(UserError):
    pass


@strawberry.type(description="The payment buys for somebody already; nothing changed.")
class PaymentNotClaimableError(UserError):
    payment_id: strawberry.ID = strawberry.field(description="The payment in question.")


@strawberry.type(description="The account bought the article before; the client secret still opens the other payment.")
class AlreadyOwnedError(UserError):
    payment_id: strawberry.ID = strawberry.field(description="The payment that bought it.")
    article_id: strawberry.ID = strawberry.field(description="The article.")


@strawberry.type(description="The reader has no such session.")
class SessionNotFoundError(UserError):
    session_id: strawberry.ID = strawberry.field(description="The id that was asked for.")


@strawberry.type(description="Nobody can be paid by what was given; nothing moved.")
class InvalidDestinationError(UserError):
    flaw: str = strawberry.field(description="MALFORMED, NETWORK, EXPIRED, AMOUNT, USED or UNSUPPORTED.")
    reason: str = strawberry.field(description="What is wrong with it.")


@strawberry.type(description="The balance does not cover the amount and its fee cap; nothing moved.")
class InsufficientBalanceError(UserError):
    available: Money = strawberry.field(description="What can be paid out, its fee cap on top.")


@strawberry.type(description="More would go back than came in; nothing moved.")
class RefundTooLargeError(UserError):
    left: Money = strawberry.field(description="What can be refunded.")


@strawberry.type(description="Nothing of the payment is left to go back, or owed to its payer.")
class NothingToRefundError(UserError):
    pass


@strawberry.type(description="So many refunds or payouts are under way, or of one payment, that no more are begun.")
class TooManyTransfersError(UserError):
    most: int = strawberry.field(description="How many there may be.")


@strawberry.type(description="The rail was given no means to pay; nothing moved.")
class CannotPayFromError(UserError):
    provider: str = strawberry.field(description="The provider in question.")


@strawberry.type(
    description="The merchant has had as many names as one may, and none gets free again; it may take one of its own."
)
class LightningNamesUsedUpError(UserError):
    names_max: int = strawberry.field(description="How many names a merchant may have had.")


@strawberry.type(description="The name is, or was, another merchant's.")
class LightningNameTakenError(UserError):
    name: str = strawberry.field(description="The name in question.")


@strawberry.type(description="The payee is no Lightning Address or LNURL, or leads to something that cannot be paid.")
class InvalidPayeeError(UserError):
    reason: str = strawberry.field(description="What is wrong with it.")


@strawberry.type(description="The payee's server gave no answer; nothing was paid.")
class PayeeUnavailableError(UserError):
    reason: str = strawberry.field(description="What happened instead.")


@strawberry.type(description="The payee's server answered with an error; nothing was paid.")
class PayeeRefusedError(UserError):
    reason: str = strawberry.field(description="What it says, made short and printable.")


@strawberry.type(description="The payee does not take this amount; nothing was paid.")
class AmountOutOfBoundsError(UserError):
    amount_msat_min: BigInt = strawberry.field(description="The least that it takes, in millisatoshi.")
    amount_msat_max: BigInt = strawberry.field(description="The most that it takes, in millisatoshi.")


@strawberry.type(description="The payee's server gave another invoice than the one asked for; it is not paid.")
class PayeeInvoiceMismatchError(UserError):
    flaw: InvoiceFlaw = strawberry.field(description="In what it differs.")
    reason: str = strawberry.field(description="The same in words.")


@strawberry.type(description="The provider has no webhooks, or we have no means to manage them.")
class CannotManageWebhooksError(UserError):
    provider: str = strawberry.field(description="The provider in question.")


@strawberry.type(description="The provider has no such webhook, or for its secret: none that is ours.")
class ProviderWebhookNotFoundError(UserError):
    webhook_id: strawberry.ID = strawberry.field(description="The id that was asked for.")


@strawberry.type(description="The provider refused what was asked of its webhooks; nothing changed there.")
class ProviderWebhookRejectedError(UserError):
    provider: str = strawberry.field(description="The provider in question.")
    reason: str = strawberry.field(description="The provider's code.")
