"""Strike's answers: only the fields that we read, and only in the form in which they make sense (1.4)."""

import re
from typing import Annotated, Final, Generic, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

DecimalText = Annotated[str, Field(pattern=r"^[0-9]{1,18}(\.[0-9]{1,18})?$")]
_UUID: Final = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
Uuid = Annotated[str, Field(pattern=f"^{_UUID}$")]
Text = Annotated[str, Field(max_length=16_384)]
_Item = TypeVar("_Item")


def is_uuid(text: str) -> bool:
    """Tell whether a text has the form that all of Strike's ids have."""
    return re.fullmatch(_UUID, text) is not None


def _none_is_empty(value: object) -> object:
    """Read a list that Strike does not have as one that is empty: it leaves such members out, or says null."""
    return () if value is None else value


class Body(BaseModel):
    """Part of an answer; what else Strike tells is left out."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, alias_generator=to_camel, populate_by_name=True
    )


class ErrorCode(Body):
    code: Annotated[str, Field(min_length=1, max_length=100)]


class ErrorBody(Body):
    """How Strike says no."""

    data: ErrorCode


class MoneyBody(Body):
    amount: DecimalText
    currency: Text


class TransactionBody(Body):
    state: Text
    completed: AwareDatetime | None = None


class InvoiceBody(Body):
    """An invoice of the account: its own, or one that somebody else issued for it and named as they liked."""

    invoice_id: Uuid
    amount: MoneyBody
    state: Text
    created: AwareDatetime
    correlation_id: Text | None = None
    issuer_id: Text | None = None
    receiver_id: Text | None = None
    transactions: Annotated[tuple[TransactionBody, ...], BeforeValidator(_none_is_empty)] = ()

    @property
    def own_name(self) -> str | None:
        """The name that we may have given it; None where somebody else did."""
        return self.correlation_id if self.issuer_id == self.receiver_id else None


class Page(Body, Generic[_Item]):
    items: tuple[_Item, ...]


class InvoiceQuoteBody(Body):
    """What pays an invoice, and until when. ``source_amount`` is what the payer sends."""

    ln_invoice: Text
    expiration: AwareDatetime
    source_amount: MoneyBody
    target_amount: MoneyBody


class PaymentQuoteBody(Body):
    """``amount`` reaches the payee, ``total_amount`` leaves the account."""

    payment_quote_id: Uuid
    amount: MoneyBody
    total_amount: MoneyBody
    total_fee: MoneyBody | None = None
    valid_until: AwareDatetime | None = None


class LightningBody(Body):
    pre_image: Text | None = None


class PaymentBody(Body):
    payment_id: Uuid
    state: Literal["PENDING", "COMPLETED", "FAILED"]
    amount: MoneyBody
    total_amount: MoneyBody
    lightning: LightningBody | None = None


class EventEntity(Body):
    """What an event is about. Types that we do not know may name nothing, or nothing of this form."""

    entity_id: Text | None = None


class EventBody(Body):
    """Something that happened to an entity; in which state it is now, only the entity says.

    ``delivery_success``: whether every webhook was told of it, None where none is to be told.
    """

    id: Uuid
    event_type: Text
    created: AwareDatetime
    data: EventEntity = EventEntity()
    delivery_success: bool | None = None


class SubscriptionBody(Body):
    """A webhook; its secret is never told."""

    id: Uuid
    webhook_url: Text
    event_types: tuple[Text, ...]
    enabled: bool
    created: AwareDatetime


class CallbackBody(Body):
    """What Strike sends of an event; in which state the entity is now, only the entity says."""

    id: Annotated[str, Field(min_length=1, max_length=255)]
    event_type: Annotated[str, Field(min_length=1, max_length=255)]
    data: EventEntity = EventEntity()


class RateBody(Body):
    amount: DecimalText
    source_currency: Text
    target_currency: Text


class BalanceBody(Body):
    currency: Text
    available: DecimalText


class TierBody(Body):
    """How soon an on-chain payment is in a block, and for how much."""

    id: Text
    estimated_delivery_duration_in_min: Annotated[int, Field(ge=0, strict=True)]
    estimated_fee: MoneyBody
    minimum_amount: MoneyBody | None = None


class LnurlBody(Body):
    """What a payee by LNURL takes; both bounds in millisatoshi."""

    min_sendable: Annotated[int, Field(ge=1, strict=True)]
    max_sendable: Annotated[int, Field(ge=1, strict=True)]
    metadata: Text
    comment_allowed: Annotated[int, Field(ge=0, strict=True)] | None = None
    tag: Literal["payRequest"]


class RequestedBolt11(Body):
    invoice: Text
    payment_hash: Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")]
    expires: AwareDatetime


class RequestedOnchain(Body):
    address: Text
    address_uri: Text


class ReceiveRequestBody(Body):
    """Where any number of payments may come to."""

    receive_request_id: Uuid
    created: AwareDatetime
    bolt11: RequestedBolt11 | None = None
    onchain: RequestedOnchain | None = None


class ReceiveBody(Body):
    """Money that came, or is coming. Of a P2P one, no hash and no preimage is told."""

    receive_id: Uuid
    receive_request_id: Uuid
    type: Literal["LIGHTNING", "ONCHAIN", "P2P"]
    state: Literal["PENDING", "COMPLETED"]
    amount_received: MoneyBody
    amount_credited: MoneyBody | None = None
    created: AwareDatetime
    completed: AwareDatetime | None = None


class ExchangeBody(Body):
    """What changing one currency into another brings."""

    id: Uuid
    state: Literal["NEW", "PENDING", "COMPLETED", "FAILED"]
    valid_until: AwareDatetime
    source: MoneyBody
    target: MoneyBody
    fee: MoneyBody | None = None


class ProfileCurrency(Body):
    currency: Text
    is_default_currency: bool
    is_available: bool
    is_invoiceable: bool


class ProfileBody(Body):
    handle: Text
    can_receive: bool
    currencies: tuple[ProfileCurrency, ...]
