"""Finding a payment whose id was lost with the answer: Strike's events name it, and nothing else does (1.6)."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from quittance.domain.errors import ProviderMisconfigured
from quittance.domain.money import BTC_SAT
from quittance.providers.lightning import NodeUnavailable
from quittance.providers.strike.bodies import EventBody, PaymentBody
from quittance.providers.strike.client import StrikeClient
from quittance.providers.strike.errors import Meaning, StrikeRefusal
from quittance.providers.strike.money import read
from quittance.providers.strike.notebook import Notebook
from quittance.providers.strike.payments import proves

log = structlog.get_logger("quittance.providers")

SKEW_S: Final = 120.0  # how far Strike's clock may be from ours
_TOLD_LATE_S: Final = 3_600.0  # behind the last moment at which a payment can have begun, an event still tells of it
_PAGES_MAX: Final = 30
_CANDIDATES_MAX: Final = 100
_CREATED: Final = "payment.created"
_PAYMENT_EVENTS: Final = (_CREATED, "payment.updated")
_TOO_MANY: Final = "Strike shows more payments than can be looked through"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is known of a payment, which began between ``since`` and ``until`` by our clock.

    ``owner`` is what is noted of its id once that is known (:func:`owner_of`). ``fee_sat`` is None where the quote's
    answer was lost.
    """

    reference: str
    owner: str
    amount_sat: int
    fee_sat: int | None
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What a search showed. ``proved``: the payment itself, by its preimage.

    ``alike``: those that it may be, as they show no preimage, began at that time over Lightning, are of the same amount
    and fee, and not known to be another's. ``unread``: how many could not be read, of which any may be it.
    """

    proved: PaymentBody | None = None
    alike: tuple[PaymentBody, ...] = ()
    unread: int = 0

    @property
    def shows_nothing(self) -> bool:
        """Tell whether no payment that was begun, and did not fail, can be the one that is wanted."""
        return self.proved is None and not self.unread and all(one.state == "FAILED" for one in self.alike)


async def search(client: StrikeClient, notebook: Notebook, wanted: Wanted) -> Search:
    """Look through every payment of that time for the one that is wanted. Nothing is guessed here.

    A payment that cannot be read does not keep the others from being looked at.

    Raises:
        ProviderUnavailable: no answer, or there are too many to look through.
        ProviderMisconfigured: the operator must act.
    """
    alike: list[PaymentBody] = []
    unread = 0
    for payment_id, began_then in (await _candidates(client, notebook, wanted)).items():
        payment = await _readable(client, payment_id)
        if payment is None:
            unread += 1
            continue
        is_ours = proves(payment, reference=wanted.reference)
        if is_ours:
            return Search(proved=payment)
        if is_ours is None and began_then and _is_alike(payment, wanted, provider=client.name):
            alike.append(payment)
    return Search(alike=tuple(alike), unread=unread)


async def _readable(client: StrikeClient, payment_id: str) -> PaymentBody | None:
    """Return a payment; None for one that Strike does not show, or shows in a form that we do not know."""
    try:
        return await client.find_payment(payment_id)
    except ProviderMisconfigured as error:
        if isinstance(error, StrikeRefusal) and error.meaning is Meaning.MISCONFIGURED:
            raise
        log.warning("payment_cannot_be_read", provider=client.name, payment=payment_id, reason=error.reason)
        return None


async def _candidates(client: StrikeClient, notebook: Notebook, wanted: Wanted) -> dict[str, bool]:
    """Return the ids of payments that anything was told of, and of each whether it began at that time.

    Those that are known to be another's are left out.
    """
    told: dict[str, bool] = {}
    skew = timedelta(seconds=SKEW_S)
    since, until = wanted.since - skew, wanted.until + skew
    async for event in _events(client, since=since, until=until + timedelta(seconds=_TOLD_LATE_S)):
        id_ = event.data.entity_id
        if id_ is not None and event.event_type in _PAYMENT_EVENTS:
            began_then = event.event_type == _CREATED and since <= event.created <= until
            told[id_] = told.get(id_, False) or began_then
    found = {id_: began for id_, began in told.items() if await notebook.is_free(id_, owner=wanted.owner)}
    if len(found) > _CANDIDATES_MAX:
        raise NodeUnavailable(client.name, _TOO_MANY)
    return found


async def _events(client: StrikeClient, *, since: datetime, until: datetime) -> AsyncIterator[EventBody]:
    """Yield what happened in a time, to its end.

    Raises:
        ProviderUnavailable: that is more than is read.
    """
    pages_read = 0
    async for page in client.event_pages(since=since, urgent=True):
        for event in page:
            if event.created <= until:
                yield event
        if all(event.created > until for event in page):
            return
        pages_read += 1
        if pages_read == _PAGES_MAX:
            raise NodeUnavailable(client.name, _TOO_MANY)


def _is_alike(payment: PaymentBody, wanted: Wanted, *, provider: str) -> bool:
    """Tell whether a payment moved what is wanted over Lightning; one in another currency did not."""
    if payment.lightning is None:
        return False
    try:
        amount = read(payment.amount, asset=BTC_SAT, provider=provider)
        fee = read(payment.total_amount, asset=BTC_SAT, provider=provider) - amount
    except ProviderMisconfigured:
        return False
    return amount.value == wanted.amount_sat and wanted.fee_sat in {None, fee.value}
