"""What the two sides of LNURL-pay say to each other, and what must hold before anybody pays (LUD-06 and its kin)."""

import json
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlencode

from quittance.domain.bolt11 import Bolt11, MalformedInvoice, decode
from quittance.domain.errors import InvalidInput
from quittance.domain.lnurl import is_same_site, scheme_of
from quittance.domain.money import MONEY_VALUE_MAX
from quittance.domain.outgoing_errors import AmountOutOfBounds, InvalidPayee, PayeeInvoiceMismatch, PayeeRefused

PAY_TAG: Final = "payRequest"
REASON_CHARACTERS_MAX: Final = 200
DESCRIPTION_CHARACTERS_MAX: Final = 639
COMMENT_CHARACTERS_MAX: Final = 1_000
CALLBACK_CHARACTERS_MAX: Final = 2_048
ACTION_CHARACTERS_MAX: Final = 144  # LUD-09
CIPHERTEXT_CHARACTERS_MAX: Final = 4_096  # LUD-10
_IV_CHARACTERS: Final = 24
_SCHEME: Final = "lightning:"
_BLOCK_BYTES: Final = 16
_PLAIN, _IDENTIFIER, _EMAIL = "text/plain", "text/identifier", "text/email"


class NotAnAnswer(ValueError):
    """What a server said is no JSON object."""


class InvoiceFlaw(StrEnum):
    """In what an invoice, or what came with it, differs from what was asked for."""

    MISSING = "MISSING"
    MALFORMED = "MALFORMED"
    NETWORK = "NETWORK"
    AMOUNT = "AMOUNT"
    DESCRIPTION = "DESCRIPTION"
    EXPIRED = "EXPIRED"
    SUCCESS_ACTION = "SUCCESS_ACTION"
    PROOF = "PROOF"


@dataclass(frozen=True, slots=True, kw_only=True)
class Payee:
    """What a payee takes. ``metadata`` is exactly what its invoices are bound to; the rest is clean and short.

    ``comment_characters_max`` is 0 where no comment is taken.
    """

    url: str
    callback: str
    amount_msat_min: int
    amount_msat_max: int
    metadata: str
    description: str
    identifier: str | None
    comment_characters_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageAction:
    """A text to show to who paid."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlAction:
    """A link to show to who paid; it leads to the site of the callback, and nobody follows it unasked."""

    description: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AesAction:
    """A text that only the preimage of the paid invoice opens (LUD-10)."""

    description: str
    ciphertext: bytes
    iv: bytes


SuccessAction = MessageAction | UrlAction | AesAction


@dataclass(frozen=True, slots=True, kw_only=True)
class PayAnswer:
    """The second answer, its invoice not yet checked."""

    payment_request: str
    success_action: SuccessAction | None
    verify_url: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceTerms:
    """What an invoice must be to be paid. ``prefix`` is that of the network that we pay on.

    ``strict``: it is bound to the metadata by its hash. Otherwise one that has a description instead will do, as many
    servers send.
    """

    amount_msat: int
    metadata: str
    prefix: str
    now_s: int
    strict: bool = True


def metadata_hash(metadata: str) -> str:
    """Return the hash that an invoice is bound to metadata by, in hex: of the text exactly as it was sent."""
    return sha256(metadata.encode()).hexdigest()


def metadata_text(description: str, *, identifier: str | None = None) -> str:
    """Return the metadata of an offer; ``identifier`` is the Lightning Address that it is of."""
    entries = [[_PLAIN, description]] if identifier is None else [[_PLAIN, description], [_IDENTIFIER, identifier]]
    return json.dumps(entries, ensure_ascii=False, separators=(",", ":"))


def printable(text: str, *, characters_max: int) -> str:
    """Return a stranger's text for people: on one line, without what cannot be printed or turns text around."""
    clean = "".join(character if character.isprintable() else " " for character in text[: 4 * characters_max])
    short = " ".join(clean.split())
    return short if len(short) <= characters_max else f"{short[: characters_max - 1]}…"


def read_json(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a server answered.

    Raises:
        NotAnAnswer: it is none.
    """
    try:
        answer = json.loads(body.decode())
    except (RecursionError, ValueError) as error:
        raise NotAnAnswer("it is no JSON") from error
    if not isinstance(answer, dict):
        raise NotAnAnswer("it is no JSON object")
    return answer


def read_payee(answer: Mapping[str, Any], *, url: str) -> Payee:
    """Read the first answer.

    Raises:
        PayeeRefused: it is an error, or asks for data about the payer.
        InvalidPayee: it offers no payment.
    """
    check_refusal(answer)
    if answer.get("tag") != PAY_TAG:
        raise InvalidPayee("leads to something else than an offer to be paid")
    callback, metadata = answer.get("callback"), answer.get("metadata")
    amount_min, amount_max = _whole(answer.get("minSendable")), _whole(answer.get("maxSendable"))
    if not isinstance(callback, str) or not isinstance(metadata, str):
        raise InvalidPayee("makes an offer without callback or metadata")
    if amount_min is None or amount_max is None or not 1 <= amount_min <= min(amount_max, MONEY_VALUE_MAX):
        raise InvalidPayee("makes an offer whose bounds make no sense")
    _check_payer_data(answer.get("payerData"))
    entries = _entries(metadata)
    return Payee(
        url=url,
        callback=callback,
        amount_msat_min=amount_min,
        amount_msat_max=min(amount_max, MONEY_VALUE_MAX),
        metadata=metadata,
        description=printable(entries[_PLAIN], characters_max=DESCRIPTION_CHARACTERS_MAX),
        identifier=_identifier(entries),
        comment_characters_max=min(max(_whole(answer.get("commentAllowed")) or 0, 0), COMMENT_CHARACTERS_MAX),
    )


def check_refusal(answer: Mapping[str, Any]) -> None:
    """Accept an answer that is no error.

    Raises:
        PayeeRefused: it is one.
    """
    status, reason = answer.get("status"), answer.get("reason")
    if isinstance(status, str) and status.upper() == "ERROR":
        said = printable(reason, characters_max=REASON_CHARACTERS_MAX) if isinstance(reason, str) else ""
        raise PayeeRefused(said or "it gives no reason")


def _check_payer_data(offer: object) -> None:
    """Refuse what cannot be paid without telling who pays (LUD-18): we tell nobody."""
    asked = offer.values() if isinstance(offer, dict) else ()
    if any(isinstance(one, dict) and one.get("mandatory") is True for one in asked):
        raise PayeeRefused("it asks for the name or another mark of the payer, which is not given")


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _entries(metadata: str) -> dict[str, str]:
    """Return the texts in metadata by their kind.

    Raises:
        InvalidPayee: it is no array of entries with exactly one ``text/plain``.
    """
    try:
        metadata.encode()  # its hash is of these bytes
        rows = json.loads(metadata)
    except (RecursionError, ValueError) as error:
        raise InvalidPayee("makes an offer whose metadata is no JSON") from error
    if not isinstance(rows, list) or not all(isinstance(row, list) and row for row in rows):
        raise InvalidPayee("makes an offer whose metadata is no list of entries")
    if sum(row[0] == _PLAIN for row in rows) != 1:
        raise InvalidPayee("makes an offer whose metadata has not exactly one text/plain")
    texts = {row[0]: row[1] for row in rows if len(row) > 1 and isinstance(row[0], str) and isinstance(row[1], str)}
    if _PLAIN not in texts:
        raise InvalidPayee("makes an offer whose metadata has no text in its text/plain")
    return texts


def _identifier(entries: Mapping[str, str]) -> str | None:
    said = entries.get(_IDENTIFIER) or entries.get(_EMAIL)
    return printable(said, characters_max=320) if said else None


def callback_url(payee: Payee, *, amount_msat: int, comment: str | None) -> str:
    """Return the address that gives an invoice of this amount.

    Raises:
        AmountOutOfBounds: the payee does not take it.
        InvalidInput: the payee does not take this comment.
    """
    if not payee.amount_msat_min <= amount_msat <= payee.amount_msat_max:
        raise AmountOutOfBounds(amount_msat_min=payee.amount_msat_min, amount_msat_max=payee.amount_msat_max)
    query = {"amount": str(amount_msat)}
    if comment:
        if len(comment) > payee.comment_characters_max:
            raise InvalidInput("comment", f"the payee takes at most {payee.comment_characters_max} characters")
        query["comment"] = _encodable(comment)
    url = f"{payee.callback}{'&' if '?' in payee.callback else '?'}{urlencode(query)}"
    if comment and len(url) > CALLBACK_CHARACTERS_MAX:
        raise InvalidInput("comment", "the comment is too long for the payee's address; shorten it")
    return url


def _encodable(comment: str) -> str:
    try:
        comment.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput("comment", "the comment holds half of a character") from error
    return comment


def read_pay_answer(answer: Mapping[str, Any], *, callback: str) -> PayAnswer:
    """Read the second answer.

    Raises:
        PayeeRefused: it is an error.
        PayeeInvoiceMismatch: it has no invoice, or promises something after payment that cannot be kept.
    """
    check_refusal(answer)
    payment_request, verify_url = answer.get("pr"), answer.get("verify")
    if not isinstance(payment_request, str) or not payment_request:
        raise _mismatch(InvoiceFlaw.MISSING, "there is none")
    said = answer.get("successAction")
    return PayAnswer(
        payment_request=bare_invoice(payment_request),
        success_action=None if said is None else read_success_action(said, callback=callback),
        verify_url=verify_url if isinstance(verify_url, str) and verify_url else None,
    )


def bare_invoice(payment_request: str) -> str:
    """Return an invoice as it is compared: without the scheme that may precede it, in small letters if in one case."""
    said = payment_request.strip()
    bare = said[len(_SCHEME) :] if said[: len(_SCHEME)].lower() == _SCHEME else said
    return bare.lower() if bare == bare.upper() else bare


def read_success_action(said: object, *, callback: str) -> SuccessAction:
    """Read what a payee promises to show to who paid (LUD-09, LUD-10).

    Raises:
        PayeeInvoiceMismatch: it is unknown, too long, or leads elsewhere; then nothing is paid.
    """
    action = said if isinstance(said, dict) else {}
    match action.get("tag"):
        case "message":
            return MessageAction(message=_shown(action, "message"))
        case "url":
            return UrlAction(description=_shown(action, "description"), url=_link(action.get("url"), callback=callback))
        case "aes":
            iv = _unpacked(action.get("iv"), characters_max=_IV_CHARACTERS)
            ciphertext = _unpacked(action.get("ciphertext"), characters_max=CIPHERTEXT_CHARACTERS_MAX)
            if len(iv) != _BLOCK_BYTES or not ciphertext or len(ciphertext) % _BLOCK_BYTES:
                raise _mismatch(InvoiceFlaw.SUCCESS_ACTION, "what it would show afterwards cannot be decrypted")
            return AesAction(description=_shown(action, "description"), ciphertext=ciphertext, iv=iv)
        case _:
            raise _mismatch(InvoiceFlaw.SUCCESS_ACTION, "what would follow its payment is unknown")


def _shown(action: Mapping[str, Any], name: str) -> str:
    text = action.get(name)
    if not isinstance(text, str) or len(text) > ACTION_CHARACTERS_MAX:
        raise _mismatch(InvoiceFlaw.SUCCESS_ACTION, f"what it would show has no {name}, or a longer one than may be")
    return printable(text, characters_max=ACTION_CHARACTERS_MAX)


def _link(url: object, *, callback: str) -> str:
    schemes = {"https", scheme_of(callback)}
    if not isinstance(url, str) or len(url) > CALLBACK_CHARACTERS_MAX:
        raise _mismatch(InvoiceFlaw.SUCCESS_ACTION, "the link that it would show is none, or too long")
    if scheme_of(url) not in schemes or not is_same_site(url, callback):
        raise _mismatch(InvoiceFlaw.SUCCESS_ACTION, "the link that it would show leads to another site")
    return url


def _unpacked(text: object, *, characters_max: int) -> bytes:
    if not isinstance(text, str) or len(text) > characters_max:
        raise _mismatch(InvoiceFlaw.SUCCESS_ACTION, "what it would decrypt is none, or too long")
    try:
        return b64decode(text, validate=True)
    except (Base64Error, ValueError) as error:
        raise _mismatch(InvoiceFlaw.SUCCESS_ACTION, "what it would decrypt is not base64") from error


def check_invoice(payment_request: str, *, terms: InvoiceTerms, recover: Callable[[bytes, bytes], bytes]) -> Bolt11:
    """Return the invoice if it is the one that was asked for, and can still be paid.

    Raises:
        PayeeInvoiceMismatch: it is not, and ``flaw`` says in what.
    """
    try:
        invoice = decode(payment_request, recover=recover)
    except MalformedInvoice as error:
        raise _mismatch(InvoiceFlaw.MALFORMED, error.reason) from error
    if invoice.prefix != terms.prefix:
        raise _mismatch(InvoiceFlaw.NETWORK, "it is of another network")
    if invoice.amount_msat != terms.amount_msat:
        raise _mismatch(InvoiceFlaw.AMOUNT, "it is of another amount")
    if invoice.description_hash != metadata_hash(terms.metadata) and (terms.strict or invoice.description_hash):
        raise _mismatch(InvoiceFlaw.DESCRIPTION, "it is not bound to what the payee offers")
    if invoice.expires_at_s <= terms.now_s:
        raise _mismatch(InvoiceFlaw.EXPIRED, "it has expired")
    return invoice


def _mismatch(flaw: InvoiceFlaw, reason: str) -> PayeeInvoiceMismatch:
    return PayeeInvoiceMismatch(flaw, reason)
