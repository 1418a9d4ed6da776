"""From whom is to be paid to what a rail can pay, and what a payee wants shown afterwards."""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from quittance.domain.bolt11 import Bolt11, MalformedInvoice
from quittance.domain.ids import Preimage
from quittance.domain.lnurl_pay import AesAction, MessageAction, SuccessAction, UrlAction
from quittance.domain.money import BTC_MSAT, Money
from quittance.domain.outgoing_errors import InvalidDestination, SendRefused
from quittance.domain.transfer import Destination, DestinationKind, Transfer
from quittance.providers.base import CountsCoarser, SendingProvider, SendsKeysend
from quittance.resolvers.services import Services

USABLE_S: Final = 30  # an invoice that ends sooner could end on the way to the rail


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a rail is asked to pay; ``payment_request`` is None for keysend."""

    reference: str
    payment_request: str | None
    expires_at: datetime | None = None
    success_action: str | None = None


def read_payable(payer: SendingProvider, payment_request: str) -> Bolt11:
    """Read an invoice that is for the network of this rail.

    Raises:
        InvalidDestination: it is not, or is none.
    """
    try:
        return payer.read_invoice(payment_request)
    except MalformedInvoice as error:
        raise InvalidDestination("MALFORMED", error.reason) from None
    except SendRefused as error:
        raise InvalidDestination("NETWORK", error.reason) from None


def check_invoice(payer: SendingProvider, payment_request: str, *, amount: Money, now: datetime) -> Prepared:
    """Read an invoice that somebody gave us to pay.

    Raises:
        InvalidDestination: it is broken, of another network, of another amount, or ends too soon.
    """
    invoice = read_payable(payer, payment_request)
    if invoice.amount_msat is not None and invoice.amount_msat != amount.rescaled_exactly(payer.asset).value:
        raise InvalidDestination("AMOUNT", f"the invoice asks for {invoice.amount_msat} msat, not for this amount")
    expires_at = datetime.fromtimestamp(invoice.expires_at_s, UTC)
    if (expires_at - now).total_seconds() < USABLE_S:
        raise InvalidDestination("EXPIRED", "the invoice has expired, or is about to; give a fresh one")
    return Prepared(
        reference=invoice.payment_hash,
        payment_request=payment_request,
        expires_at=expires_at,
    )


def named_amount(payer: SendingProvider, destination: Destination) -> Money | None:
    """Return what an invoice asks for; None where it leaves that open, or is none.

    Raises:
        InvalidDestination: as for ``read_payable``.
    """
    if destination.kind is not DestinationKind.INVOICE:
        return None
    named = read_payable(payer, destination.text).amount_msat
    return None if named is None else Money(named, payer.asset)


def whole_units(payer: SendingProvider, value: int) -> int:
    """Return as much of an amount as a rail can pay: one that counts more coarsely leaves the rest."""
    if not isinstance(payer, CountsCoarser):
        return value
    step: int = 10 ** (payer.asset.scale - payer.unit.scale)
    return value - value % step


def checked(payer: SendingProvider, destination: Destination, *, amount: Money, now: datetime) -> Destination:
    """Return a destination that can be paid this amount; of an invoice, with its payment hash.

    Raises:
        InvalidAmount: the rail counts more coarsely.
        InvalidDestination: as for ``check_invoice``.
    """
    if isinstance(payer, CountsCoarser):
        amount.rescaled_exactly(payer.unit)
    if destination.kind is not DestinationKind.INVOICE:
        return destination
    prepared = check_invoice(payer, destination.text, amount=amount, now=now)
    return replace(destination, payment_hash=prepared.reference)


def check_reachable(payer: SendingProvider, destination: Destination) -> None:
    """Refuse whom this rail cannot pay.

    Raises:
        InvalidDestination: it pays no nodes, or its asset is not what the payee's servers count in.
    """
    if destination.kind is DestinationKind.NODE and not isinstance(payer, SendsKeysend):
        raise InvalidDestination("UNSUPPORTED", f"the rail {payer.name!r} pays no node without an invoice")
    if destination.kind in {DestinationKind.ADDRESS, DestinationKind.LNURL} and payer.asset != BTC_MSAT:
        raise InvalidDestination("UNSUPPORTED", "addresses are paid in bitcoin; give an invoice of this rail's network")


async def prepare(services: Services, transfer: Transfer, payer: SendingProvider) -> Prepared:
    """Return what to ask the rail for; a payee with an address is asked for an invoice.

    Raises:
        InvalidDestination, InvalidPayee, ForbiddenAddress, PayeeUnavailable, PayeeRefused, AmountOutOfBounds,
        PayeeInvoiceMismatch: nothing moved; those that may pass say so.
    """
    destination = transfer.destination
    check_reachable(payer, destination)
    if destination.kind is DestinationKind.INVOICE:
        return check_invoice(payer, destination.text, amount=transfer.amount, now=services.now())
    if destination.kind is DestinationKind.NODE:
        preimage = services.derive.transfer_preimage(transfer.id, transfer.attempts + 1)
        return Prepared(reference=hash_of(preimage), payment_request=None)
    payee = await services.payees.resolve(destination.text)
    comment = transfer.comment if payee.comment_characters_max else None
    invoice = await services.payees.request_invoice(
        payee, amount=transfer.amount, comment=comment and comment[: payee.comment_characters_max]
    )
    action = None if invoice.success_action is None else _written(invoice.success_action)
    return Prepared(
        reference=invoice.payment_hash,
        payment_request=invoice.payment_request,
        expires_at=invoice.expires_at,
        success_action=action,
    )


def hash_of(preimage: Preimage) -> str:
    return sha256(preimage).hexdigest()


def shown(services: Services, success_action: str | None, preimage: Preimage) -> str | None:
    """Return what the payee wants shown to who paid (LUD-09), one line of text; None for nothing."""
    if success_action is None:
        return None
    match _read(success_action):
        case MessageAction(message=message):
            return message
        case UrlAction(description=description, url=url):
            return f"{description} {url}"
        case AesAction(description=description) as action:
            return f"{description} {services.payees.reveal(action, preimage) or ''}".strip()


def _written(action: SuccessAction) -> str:
    match action:
        case MessageAction(message=message):
            return json.dumps({"message": message})
        case UrlAction(description=description, url=url):
            return json.dumps({"description": description, "url": url})
        case AesAction(description=description, ciphertext=ciphertext, iv=iv):
            return json.dumps({"description": description, "ciphertext": ciphertext.hex(), "iv": iv.hex()})


def _read(written: str) -> SuccessAction:
    said = json.loads(written)
    if "message" in said:
        return MessageAction(message=said["message"])
    if "url" in said:
        return UrlAction(description=said["description"], url=said["url"])
    return AesAction(
        description=said["description"], ciphertext=bytes.fromhex(said["ciphertext"]), iv=bytes.fromhex(said["iv"])
    )
