"""Finding a payment whose id was lost with the answer: Strike's events name it, and nothing else does (1.6)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from quittance.domain.errors import ProviderMisconfigured
from quittance.domain.money import BTC_SAT
from quittance.providers.base import PaymentMemory
from quittance.providers.lightning import NodeUnavailable
from quittance.providers.strike.bodies import PaymentBody
from quittance.providers.strike.client import StrikeClient
from quittance.providers.strike.money import read
from quittance.providers.strike.notes import owner_key
from quittance.providers.strike.payments import proves

SETTLE_S: Final = 60.0  # behind a call, an event of what it began shows up
_SKEW_S: Final = 120.0  # how far Strike's clock may be from ours
_CANDIDATES_MAX: Final = 100
_PAYMENT_EVENTS: Final = ("payment.created", "payment.updated")
AMBIGUOUS: Final = "Strike shows several payments that this may be"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is known of a payment. ``owner`` is what is noted of its id once that is known (:func:`owner_of`).

    ``fee_sat`` is None where the quote's answer was lost. ``asked_at`` is when it was begun, if it was. With
    ``also_failed``, one that failed is looked for, too.
    """

    reference: str
    owner: str
    amount_sat: int
    fee_sat: int | None
    since: datetime
    asked_at: datetime
    also_failed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A payment that is this one. ``certain``: by its preimage, or because nothing else can be it any more."""

    payment: PaymentBody
    certain: bool


async def find_payment(client: StrikeClient, memory: PaymentMemory, wanted: Wanted, *, now: datetime) -> Found | None:
    """Return the payment that is wanted; None if none can be it.

    A preimage decides. What shows none (it is on its way, it failed, or Strike keeps the preimage to itself) can only
    be this one if it is the only one of the same amount and fee that is not known to be another's; and it is only
    taken for certain when it is over, and every event of that time has had time to show up.

    Raises:
        ProviderUnavailable: no answer, or it may be several: nothing is guessed.
        ProviderMisconfigured: the operator must act.
    """
    possible: list[PaymentBody] = []
    for payment_id in await _candidates(client, memory, wanted):
        payment = await client.find_payment(payment_id)
        is_ours = proves(payment, reference=wanted.reference)
        if is_ours:
            return Found(payment=payment, certain=True)
        if is_ours is None and _is_alike(payment, wanted, provider=client.name):
            possible.append(payment)
    if len(possible) > 1:
        raise NodeUnavailable(client.name, AMBIGUOUS)
    if not possible:
        return None
    only = possible[0]
    is_over = only.state != "PENDING" and now - wanted.asked_at >= timedelta(seconds=SETTLE_S)
    return Found(payment=only, certain=is_over)


async def _candidates(client: StrikeClient, memory: PaymentMemory, wanted: Wanted) -> list[str]:
    """Return the ids of the payments that anything was told of, without those that are known to be another's."""
    told: dict[str, None] = {}
    async for page in client.event_pages(since=wanted.since - timedelta(seconds=_SKEW_S), urgent=True):
        named = [event.data.entity_id for event in page if event.event_type in _PAYMENT_EVENTS]
        told |= dict.fromkeys(id_ for id_ in named if id_ is not None)
    found = [id_ for id_ in told if await memory.recall(owner_key(id_)) in {None, wanted.owner}]
    if len(found) > _CANDIDATES_MAX:
        raise NodeUnavailable(client.name, AMBIGUOUS)
    return found


def _is_alike(payment: PaymentBody, wanted: Wanted, *, provider: str) -> bool:
    """Tell whether a payment moved what is wanted; one in another currency did not."""
    if payment.state == "FAILED" and not wanted.also_failed:
        return False
    try:
        amount = read(payment.amount, asset=BTC_SAT, provider=provider)
        fee = read(payment.total_amount, asset=BTC_SAT, provider=provider) - amount
    except ProviderMisconfigured:
        return False
    return amount.value == wanted.amount_sat and wanted.fee_sat in {None, fee.value}
