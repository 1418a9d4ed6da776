"""The handlers that turn expected exceptions into data.

A handler applies only where the field's union lists its type, so the SDL tells the truth.
"""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from quittance.domain import errors, money, outgoing_errors, provider_webhook, rate
from quittance.gql.errors import (
    AlreadyOwnedError,
    AmountOutOfBoundsError,
    ApiKeyNotFoundError,
    ArticleHiddenError,
    ArticleNotFoundError,
    ArticleRemovedError,
    CannotManageWebhooksError,
    CannotPayFromError,
    CorrelationIdTakenError,
    ForbiddenAddressError,
    HoldNotSupportedError,
    IdempotencyConflictError,
    InsufficientBalanceError,
    InvalidAmountError,
    InvalidArticleError,
    InvalidDestinationError,
    InvalidDocumentError,
    InvalidInputError,
    InvalidPayeeError,
    InvalidRefundAddressError,
    InvalidSignatureError,
    InvoiceRejectedError,
    KeyTakenError,
    LightningNamesUsedUpError,
    LightningNameTakenError,
    LoginChallengeNotFoundError,
    LoginNotSignedError,
    LoginRequiredError,
    MerchantNotFoundError,
    NothingToRefundError,
    OutcomeUnknownError,
    PayeeInvoiceMismatchError,
    PayeeRefusedError,
    PayeeUnavailableError,
    PaymentNotClaimableError,
    PaymentNotFoundError,
    PaymentNotPayableError,
    PermissionDeniedError,
    ProviderMisconfiguredError,
    ProviderUnavailableError,
    ProviderWebhookNotFoundError,
    ProviderWebhookRejectedError,
    RateLimitedError,
    RateUnavailableError,
    RefundTooLargeError,
    SessionNotFoundError,
    TooManyTransfersError,
    UnknownProviderError,
    UserError,
    UsernameRequiredError,
    UsernameTakenError,
    WalletLinkedError,
    WebhookDeliveryNotFoundError,
    WebhookEndpointNotFoundError,
)
from quittance.gql.types.money import Money

E = TypeVar("E", bound=errors.QuittanceError)


class _Handler(Generic[E]):
    """Turns one exception into its GraphQL type; ``extra`` names the members that both carry."""

    def __init__(self, exception_type: type[E], error_type: Callable[..., UserError], *extra: str) -> None:
        self.exception_type = exception_type
        self.error_type = error_type
        self._extra = extra

    def handle(self, exception: E, *, field: Any, info: Any) -> UserError:
        del field, info
        members = {name: _on_the_wire(getattr(exception, name)) for name in self._extra}
        return self.error_type(code=exception.code, message=exception.message, retryable=exception.retryable, **members)


def _on_the_wire(member: object) -> object:
    return Money.from_domain(member) if isinstance(member, money.Money) else member


EXCEPTION_HANDLERS: tuple[_Handler[Any], ...] = (
    _Handler(errors.ArticleNotFound, ArticleNotFoundError, "article_id"),
    _Handler(errors.ArticleHidden, ArticleHiddenError, "article_id"),
    _Handler(errors.ArticleRemoved, ArticleRemovedError, "article_id"),
    _Handler(errors.InvalidArticle, InvalidArticleError, "field"),
    _Handler(errors.InvalidAmount, InvalidAmountError),
    _Handler(errors.InvalidInput, InvalidInputError, "field"),
    _Handler(errors.IdempotencyConflict, IdempotencyConflictError, "key"),
    _Handler(errors.CorrelationIdTaken, CorrelationIdTakenError, "correlation_id", "payment_id"),
    _Handler(errors.RefundAddressRefused, InvalidRefundAddressError, "flaw", "reason"),
    _Handler(errors.PaymentNotFound, PaymentNotFoundError, "payment_id"),
    _Handler(errors.PaymentNotPayable, PaymentNotPayableError, "payment_id", "status"),
    _Handler(errors.MerchantNotFound, MerchantNotFoundError, "merchant_id"),
    _Handler(errors.ApiKeyNotFound, ApiKeyNotFoundError, "api_key_id"),
    _Handler(errors.PermissionDenied, PermissionDeniedError, "needed"),
    _Handler(errors.RateLimited, RateLimitedError, "retry_after_s"),
    _Handler(errors.ProviderUnavailable, ProviderUnavailableError, "provider"),
    _Handler(errors.ProviderMisconfigured, ProviderMisconfiguredError, "provider"),
    _Handler(errors.InvoiceRejected, InvoiceRejectedError, "provider"),
    _Handler(rate.RateUnavailable, RateUnavailableError, "base", "quote", "reason"),
    _Handler(errors.OutcomeUnknown, OutcomeUnknownError, "provider"),
    _Handler(errors.HoldNotSupported, HoldNotSupportedError, "provider"),
    _Handler(errors.UnknownProvider, UnknownProviderError),
    _Handler(errors.EndpointNotFound, WebhookEndpointNotFoundError, "endpoint_id"),
    _Handler(errors.DeliveryNotFound, WebhookDeliveryNotFoundError, "delivery_id"),
    _Handler(errors.InvalidDocument, InvalidDocumentError, "reason"),
    _Handler(errors.ForbiddenAddress, ForbiddenAddressError, "reason"),
    _Handler(errors.LoginChallengeNotFound, LoginChallengeNotFoundError),
    _Handler(errors.InvalidSignature, InvalidSignatureError),
    _Handler(errors.UsernameRequired, UsernameRequiredError),
    _Handler(errors.UsernameTaken, UsernameTakenError),
    _Handler(errors.LoginNotSigned, LoginNotSignedError),
    _Handler(errors.KeyTaken, KeyTakenError),
    _Handler(errors.WalletLinked, WalletLinkedError),
    _Handler(errors.PaymentNotClaimable, PaymentNotClaimableError, "payment_id"),
    _Handler(errors.AlreadyOwned, AlreadyOwnedError, "payment_id", "article_id"),
    _Handler(errors.LoginRequired, LoginRequiredError),
    _Handler(errors.SessionNotFound, SessionNotFoundError, "session_id"),
    _Handler(outgoing_errors.InvalidDestination, InvalidDestinationError, "flaw", "reason"),
    _Handler(outgoing_errors.InsufficientBalance, InsufficientBalanceError, "available"),
    _Handler(outgoing_errors.RefundTooLarge, RefundTooLargeError, "left"),
    _Handler(outgoing_errors.NothingToRefund, NothingToRefundError),
    _Handler(outgoing_errors.TooManyTransfers, TooManyTransfersError, "most"),
    _Handler(outgoing_errors.CannotPayFrom, CannotPayFromError, "provider"),
    _Handler(errors.LightningNameTaken, LightningNameTakenError, "name"),
    _Handler(errors.LightningNamesUsedUp, LightningNamesUsedUpError, "names_max"),
    _Handler(outgoing_errors.InvalidPayee, InvalidPayeeError, "reason"),
    _Handler(outgoing_errors.PayeeUnavailable, PayeeUnavailableError, "reason"),
    _Handler(outgoing_errors.PayeeRefused, PayeeRefusedError, "reason"),
    _Handler(outgoing_errors.AmountOutOfBounds, AmountOutOfBoundsError, "amount_msat_min", "amount_msat_max"),
    _Handler(outgoing_errors.PayeeInvoiceMismatch, PayeeInvoiceMismatchError, "flaw", "reason"),
    _Handler(provider_webhook.CannotManageWebhooks, CannotManageWebhooksError, "provider"),
    _Handler(provider_webhook.ProviderWebhookNotFound, ProviderWebhookNotFoundError, "webhook_id"),
    _Handler(provider_webhook.ProviderWebhookRejected, ProviderWebhookRejectedError, "provider", "reason"),
)


def as_data(error: errors.QuittanceError) -> UserError:
    """Return an expected error as the type it has in unions: an event of a subscription passes no handler.

    Raises:
        QuittanceError: the error itself, where it has no such type.
    """
    for handler in EXCEPTION_HANDLERS:
        if handler.exception_type is type(error):
            return handler.handle(error, field=None, info=None)
    raise error
