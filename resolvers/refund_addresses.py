"""Where money of a payment goes back to, tried before anybody is asked for money (strike.md, W13 and W14)."""

from datetime import UTC, datetime

from quittance.domain.currency import is_currency
from quittance.domain.destination import read_destination
from quittance.domain.errors import ForbiddenAddress, RefundAddressRefused
from quittance.domain.lnurl_pay import Payee
from quittance.domain.money import BTC_MSAT, Money, msat
from quittance.domain.outgoing_errors import InvalidDestination, InvalidPayee, PayeeRefused
from quittance.domain.payment import Payment
from quittance.domain.transfer import Destination, DestinationKind
from quittance.providers.base import SendingProvider
from quittance.resolvers.payees import USABLE_S, check_reachable, read_payable
from quittance.resolvers.refunds import refunding_rail
from quittance.resolvers.services import Services


async def check_refund_address(services: Services, payment: Payment) -> None:
    """Refuse a payment whose money could not go back to where it says; one that says nothing is fine.

    An address is asked once what it takes, through the guard of outgoing calls; an invoice is read. Who does not
    answer is not taken on trust: then nothing is made either, and the same call may succeed later.

    Raises:
        RefundAddressRefused: nobody can be paid there, or not this price.
        PayeeUnavailable: its server gave no answer.
    """
    if payment.refund_address is None or not services.rules.refund_address_check:
        return
    payer, asset = refunding_rail(services, payment), payment.amount.asset
    if payer is None and is_currency(asset.code):
        raise RefundAddressRefused(
            "UNSUPPORTED", f"what comes in {asset.code} cannot go back from here; leave refundAddress out"
        )
    try:
        destination = read_destination(payment.refund_address)
        if payer is not None:
            check_reachable(payer, destination)
        if destination.kind is DestinationKind.INVOICE:
            _check_invoice(payer, destination, price=payment.amount, now=services.now())
        elif destination.kind is not DestinationKind.NODE:
            _check_coin(payment.amount)
            _check_bounds(await services.payees.resolve(destination.text), price=payment.amount)
    except InvalidDestination as error:
        raise RefundAddressRefused(error.flaw, error.reason) from error
    except InvalidPayee as error:
        raise RefundAddressRefused("PAYEE", f"the payee {error.reason}") from error
    except PayeeRefused as error:
        raise RefundAddressRefused("PAYEE", f"its server says: {error.reason}") from error
    except ForbiddenAddress as error:
        raise RefundAddressRefused("FORBIDDEN", f"it {error.reason}") from error


def _check_invoice(payer: SendingProvider | None, destination: Destination, *, price: Money, now: datetime) -> None:
    """Refuse an invoice that is broken, of another network, over, or dearer than the price.

    Without a rail that pays there is nobody who could read it: then its form must do.
    """
    if payer is None:
        return
    invoice = read_payable(payer, destination.text)
    if (datetime.fromtimestamp(invoice.expires_at_s, UTC) - now).total_seconds() < USABLE_S:
        raise InvalidDestination("EXPIRED", "the invoice has expired, or is about to; give a fresh one, or an address")
    if invoice.amount_msat is not None and invoice.amount_msat > price.rescaled_exactly(payer.asset).value:
        raise InvalidDestination("AMOUNT", "the invoice asks for more than the price; give one that names no amount")


def _check_coin(price: Money) -> None:
    """Refuse a price in another coin than the payees' servers count in, also where no rail pays yet."""
    if price.asset.code != BTC_MSAT.code:
        raise InvalidDestination("UNSUPPORTED", "addresses are paid in bitcoin; give an invoice of this rail's network")


def _check_bounds(payee: Payee, *, price: Money) -> None:
    least, most = msat(payee.amount_msat_min), msat(payee.amount_msat_max)
    if not least.value <= price.rescaled_exactly(least.asset).value <= most.value:
        raise InvalidDestination(
            "AMOUNT",
            f"it takes {least.formatted} to {most.formatted} at once, and the price is {price.formatted}; "
            "give an address that takes the price",
        )
