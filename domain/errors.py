"""What can go wrong and be acted upon. Anything else is a bug."""

from typing import ClassVar


class QuittanceError(Exception):
    """An error that the caller can act on: a stable code, a sentence, and whether the same call may succeed later."""

    code: ClassVar[str] = "ERROR"
    retryable: ClassVar[bool] = False

    @property
    def message(self) -> str:
        return str(self)


class ArticleNotFound(QuittanceError):
    code = "ARTICLE_NOT_FOUND"

    def __init__(self, article_id: str) -> None:
        super().__init__("no such article; list the articles to find its id")
        self.article_id = article_id


class ArticleHidden(QuittanceError):
    code = "ARTICLE_HIDDEN"

    def __init__(self, article_id: str) -> None:
        super().__init__("this article is not sold (any more); list the articles to find those that are")
        self.article_id = article_id


class ArticleRemoved(QuittanceError):
    """The operator took the article off; its merchant cannot put it back."""

    code = "ARTICLE_REMOVED"

    def __init__(self, article_id: str) -> None:
        super().__init__("the operator removed this article and alone can show it again; the audit log says why")
        self.article_id = article_id


class InvalidArticle(QuittanceError):
    """A field of an article breaks a rule; ``field`` names it."""

    code = "INVALID_ARTICLE"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class InvalidAmount(QuittanceError):
    code = "INVALID_AMOUNT"


class InvalidInput(QuittanceError):
    """An argument breaks a rule; ``field`` names it."""

    code = "INVALID_INPUT"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class IdempotencyConflict(QuittanceError):
    code = "IDEMPOTENCY_CONFLICT"

    def __init__(self, key: str) -> None:
        super().__init__("this idempotency key was used with another input; send a new key, or the first input again")
        self.key = key


class CorrelationIdTaken(QuittanceError):
    """The merchant wants each correlation id used once, and another payment has this one; nothing was made."""

    code = "CORRELATION_ID_TAKEN"

    def __init__(self, correlation_id: str, payment_id: str) -> None:
        super().__init__(
            "another payment has this correlation id; retry that payment, or send an id that no payment has"
        )
        self.correlation_id = correlation_id
        self.payment_id = payment_id


class RefundAddressRefused(QuittanceError):
    """Money of this payment could not go back to the refund address; nothing was made.

    ``flaw`` is stable: MALFORMED, NETWORK, EXPIRED, AMOUNT, UNSUPPORTED, FORBIDDEN or PAYEE.
    """

    code = "INVALID_REFUND_ADDRESS"

    def __init__(self, flaw: str, reason: str) -> None:
        super().__init__(f"nothing can be sent back to this refund address: {reason}")
        self.flaw = flaw
        self.reason = reason


class PaymentNotFound(QuittanceError):
    code = "PAYMENT_NOT_FOUND"

    def __init__(self, payment_id: str) -> None:
        super().__init__("no such payment for this key or client secret")
        self.payment_id = payment_id


class PaymentNotPayable(QuittanceError):
    """The payment's state does not allow what was asked; nothing changed."""

    code = "PAYMENT_NOT_PAYABLE"

    def __init__(self, payment_id: str, status: str) -> None:
        super().__init__(f"the payment is {status}, which does not allow this")
        self.payment_id = payment_id
        self.status = status


class MerchantNotFound(QuittanceError):
    code = "MERCHANT_NOT_FOUND"

    def __init__(self, merchant_id: str) -> None:
        super().__init__("no such merchant; list the merchants to find its id")
        self.merchant_id = merchant_id


class ApiKeyNotFound(QuittanceError):
    code = "API_KEY_NOT_FOUND"

    def __init__(self, api_key_id: str) -> None:
        super().__init__("no such API key; list the keys to find its id")
        self.api_key_id = api_key_id


class PermissionDenied(QuittanceError):
    code = "PERMISSION_DENIED"

    def __init__(self, needed: str) -> None:
        super().__init__(f"this call needs an API key with the scope {needed}")
        self.needed = needed


class Unauthenticated(QuittanceError):
    """The credential is unknown, revoked or malformed; which of them is not told."""

    code = "UNAUTHENTICATED"

    def __init__(self) -> None:
        super().__init__("the API key or client secret is not valid")


class RateLimited(QuittanceError):
    code = "RATE_LIMITED"
    retryable = True

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"too many requests; try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class ProviderUnavailable(QuittanceError):
    """The provider did not answer; nothing was charged, so retrying is safe."""

    code = "PROVIDER_UNAVAILABLE"
    retryable = True

    def __init__(self, provider: str) -> None:
        super().__init__(f"provider {provider!r} did not answer; nothing was charged, so retry with the same key")
        self.provider = provider


class ProviderMisconfigured(QuittanceError):
    """The provider refuses us: wrong credential, network or version. Retrying will not help; the operator must act."""

    code = "PROVIDER_MISCONFIGURED"

    def __init__(self, provider: str, reason: str) -> None:
        super().__init__(f"provider {provider!r}: {reason}")
        self.provider = provider
        self.reason = reason


class InvoiceRejected(QuittanceError):
    """The provider refused to make this invoice; nothing was made."""

    code = "INVOICE_REJECTED"

    def __init__(self, provider: str, reason: str) -> None:
        super().__init__(f"provider {provider!r} refused the invoice: {reason}")
        self.provider = provider


class OutcomeUnknown(QuittanceError):
    """The provider was asked to move money and did not say whether it did; it is looked up what became of it."""

    code = "OUTCOME_UNKNOWN"
    retryable = True

    def __init__(self, provider: str) -> None:
        super().__init__(
            f"provider {provider!r} has not said what it did; it is asked again, and the payment's status will tell"
        )
        self.provider = provider


class HoldNotSupported(QuittanceError):
    """The rail settles every invoice the moment it is paid; nothing was made."""

    code = "HOLD_NOT_SUPPORTED"

    def __init__(self, provider: str) -> None:
        super().__init__(
            f"provider {provider!r} cannot hold money; leave `hold` out, or ask a provider with the capability HOLD"
        )
        self.provider = provider


class UnknownProvider(QuittanceError):
    code = "UNKNOWN_PROVIDER"

    def __init__(self, provider: str) -> None:
        super().__init__(f"no provider {provider!r} is connected; the query `providers` lists those that are")
        self.provider = provider


class InvalidCursor(QuittanceError):
    code = "INVALID_CURSOR"

    def __init__(self) -> None:
        super().__init__("the cursor was not made by this field; pass `after` back exactly as it was given")


class EndpointNotFound(QuittanceError):
    code = "WEBHOOK_ENDPOINT_NOT_FOUND"

    def __init__(self, endpoint_id: str) -> None:
        super().__init__("no such webhook endpoint; list webhookEndpoints to find its id")
        self.endpoint_id = endpoint_id


class DeliveryNotFound(QuittanceError):
    code = "WEBHOOK_DELIVERY_NOT_FOUND"

    def __init__(self, delivery_id: str) -> None:
        super().__init__("no such webhook delivery; list webhookDeliveries to find its id")
        self.delivery_id = delivery_id


class InvalidDocument(QuittanceError):
    """A subscription document does not fit the schema; ``reason`` says why."""

    code = "INVALID_DOCUMENT"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the document is no subscription that can become a payload: {reason}")
        self.reason = reason


class ForbiddenAddress(QuittanceError):
    """An address that we do not call; ``reason`` completes the sentence and says what to give instead."""

    code = "FORBIDDEN_ADDRESS"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the address {reason}")
        self.reason = reason


class LoginChallengeNotFound(QuittanceError):
    """The nonce, or a wallet's login, is unknown, used or expired; which of them is not told."""

    code = "LOGIN_CHALLENGE_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("this login is unknown, was used or has expired; begin a new one")


class InvalidSignature(QuittanceError):
    code = "INVALID_SIGNATURE"

    def __init__(self) -> None:
        super().__init__("this is no signature of the nonce; sign the nonce as it is with your node's signmessage")


class UsernameRequired(QuittanceError):
    """A key that has no account yet needs a name for one."""

    code = "USERNAME_REQUIRED"

    def __init__(self) -> None:
        super().__init__("a new account needs a username of 4 letters or more; send the same again with one")


class UsernameTaken(QuittanceError):
    code = "USERNAME_TAKEN"

    def __init__(self) -> None:
        super().__init__("another reader has this name; send the same again with another one")


class LoginNotSigned(QuittanceError):
    """The wallet has not signed yet."""

    code = "LOGIN_NOT_SIGNED"
    retryable = True

    def __init__(self) -> None:
        super().__init__("no wallet has signed this login yet; show the QR code, and ask again once one has")


class KeyTaken(QuittanceError):
    code = "KEY_TAKEN"

    def __init__(self) -> None:
        super().__init__("another account has this wallet's key; log in with the wallet to use that account")


class WalletLinked(QuittanceError):
    """The account has another wallet already, and keeps it: else a stolen token would be a stolen account."""

    code = "WALLET_LINKED"

    def __init__(self) -> None:
        super().__init__("this account has another wallet already, and keeps it; log in with that one")


class PaymentNotClaimable(QuittanceError):
    code = "PAYMENT_NOT_CLAIMABLE"

    def __init__(self, payment_id: str) -> None:
        super().__init__("only a view that was bought anonymously can be claimed, and only by one account")
        self.payment_id = payment_id


class AlreadyOwned(QuittanceError):
    """The account bought the article before, or paid a part of it; ``payment_id`` is the payment that did."""

    code = "ALREADY_OWNED"

    def __init__(self, payment_id: str, article_id: str) -> None:
        super().__init__(
            "this account has bought the article already, or paid a part of it; "
            "the client secret still opens the other payment"
        )
        self.payment_id = payment_id
        self.article_id = article_id


class LoginRequired(QuittanceError):
    code = "LOGIN_REQUIRED"

    def __init__(self) -> None:
        super().__init__("this call needs a reader's token; log in with createLoginChallenge and verifyLogin")


class SessionNotFound(QuittanceError):
    code = "SESSION_NOT_FOUND"

    def __init__(self, session_id: str) -> None:
        super().__init__("no such session of this account; viewer { account { sessions { id } } } lists them")
        self.session_id = session_id


class LightningNamesUsedUp(QuittanceError):
    """The merchant has had as many names as one may; a name stays its merchant's for ever."""

    code = "LIGHTNING_NAMES_USED_UP"

    def __init__(self, names_max: int) -> None:
        super().__init__(f"a merchant may have had {names_max} names; take one of those again")
        self.names_max = names_max


class LightningNameTaken(QuittanceError):
    """The name is another merchant's, or was: what was printed must not pay a stranger."""

    code = "LIGHTNING_NAME_TAKEN"

    def __init__(self, name: str) -> None:
        super().__init__("this name is, or was, another merchant's; choose another one")
        self.name = name


class PayeeNotFound(QuittanceError):
    """Nothing is paid here under this name."""

    code = "PAYEE_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("there is nothing to be paid under this address")


class IllegalTransition(Exception):
    """A state change that the table does not allow: a bug, never a caller's mistake."""
