"""What every rail that pays must do. Money that moved is counted at the nodes, not at what the payer says."""

import asyncio
from hashlib import sha256
from typing import Any

import pytest
from coincurve import PrivateKey, PublicKey
from tests.contract.lightning.conftest import EXPIRES_S, PayingRail, Trouble

from quittance.domain.bolt11 import UnsignedInvoice, decode, encode
from quittance.domain.errors import ProviderUnavailable
from quittance.domain.ids import Preimage
from quittance.domain.money import Money, msat
from quittance.domain.outgoing_errors import SendRefused
from quittance.providers.base import (
    KeysendRequest,
    SendFailure,
    SendRequest,
    SendsKeysend,
    SentPayment,
    SentStatus,
)

EARNED_MSAT = 10_000_000
PRICE_MSAT = 100_000
PRICE = msat(PRICE_MSAT)
FEE_MAX = msat(10_000)
PREIMAGE = Preimage(b"\x05" * 32)
NOBODYS = "11" * 32


def reference_of(payment_request: str) -> str:
    def signer(digest: bytes, signature: bytes) -> bytes:
        return PublicKey.from_signature_and_message(signature, digest, hasher=None).format()

    return decode(payment_request, recover=signer).payment_hash


def order(payment_request: str, *, amount: Money | None = None, fee_max: Money = FEE_MAX) -> SendRequest:
    return SendRequest(payment_request=payment_request, amount=amount, fee_max=fee_max)


def gift(payee: str, *, amount: Money = PRICE, preimage: Preimage = PREIMAGE) -> KeysendRequest:
    return KeysendRequest(destination=payee, amount=amount, fee_max=FEE_MAX, preimage=preimage)


async def keysend(rail: PayingRail, request: KeysendRequest) -> SentPayment:
    assert isinstance(rail.payer, SendsKeysend)
    return await rail.payer.keysend(request)


async def in_flight(rail: PayingRail, reference: str) -> None:
    """Wait until the node has begun; an adapter may say so a little earlier."""
    before_msat = rail.balance_msat()
    async with asyncio.timeout(5):
        while rail.balance_msat() == before_msat:  # noqa: ASYNC110 - nothing tells when a node begins
            await asyncio.sleep(0.001)
    assert (await rail.payer.lookup_sent(reference)).status is SentStatus.IN_FLIGHT


async def test_an_invoice_is_paid_and_the_proof_of_it_kept(any_rail: PayingRail) -> None:
    await any_rail.earn(EARNED_MSAT)
    asked = await any_rail.invoice(amount_msat=PRICE_MSAT)

    sent = await any_rail.payer.send(order(asked))

    fee_msat = any_rail.fee_msat(PRICE_MSAT)
    assert (sent.status, sent.reference) == (SentStatus.SUCCEEDED, reference_of(asked))
    assert (sent.amount, sent.fee, sent.failure) == (any_rail.money(PRICE_MSAT), any_rail.money(fee_msat), None)
    assert sent.preimage is not None
    assert sha256(sent.preimage).hexdigest() == sent.reference
    assert sent.preimage.hex() not in repr(sent)
    assert any_rail.received_msat() == PRICE_MSAT
    assert any_rail.balance_msat() == EARNED_MSAT - PRICE_MSAT - fee_msat
    assert await any_rail.payer.lookup_sent(sent.reference) == sent


async def test_an_invoice_that_was_paid_is_not_paid_again(any_rail: PayingRail) -> None:
    await any_rail.earn(EARNED_MSAT)
    asked = await any_rail.invoice()

    first = await any_rail.payer.send(order(asked))
    again = await any_rail.payer.send(order(asked))

    assert again == first
    assert any_rail.received_msat() == PRICE_MSAT


async def test_one_invoice_asked_for_by_many_together_is_paid_once(any_rail: PayingRail) -> None:
    await any_rail.earn(EARNED_MSAT)
    asked = await any_rail.invoice()

    answers = await asyncio.gather(*[any_rail.payer.send(order(asked)) for _ in range(20)])

    assert {answer.status for answer in answers} == {SentStatus.SUCCEEDED}
    assert any_rail.received_msat() == PRICE_MSAT


async def test_a_lost_answer_is_an_unknown_outcome_that_a_lookup_tells(any_rail: PayingRail) -> None:
    await any_rail.earn(EARNED_MSAT)
    asked = await any_rail.invoice()
    await any_rail.trouble(Trouble.LOST_ANSWER)

    with pytest.raises(ProviderUnavailable):
        await any_rail.payer.send(order(asked))

    found = await any_rail.payer.lookup_sent(reference_of(asked))
    assert found.status is SentStatus.SUCCEEDED
    assert await any_rail.payer.send(order(asked)) == found
    assert any_rail.received_msat() == PRICE_MSAT


async def test_a_node_that_is_down_leaves_the_outcome_unknown_and_a_lookup_finds_nothing(any_rail: PayingRail) -> None:
    await any_rail.earn(EARNED_MSAT)
    asked = await any_rail.invoice()
    await any_rail.trouble(Trouble.DOWN)

    with pytest.raises(ProviderUnavailable):
        await any_rail.payer.send(order(asked))

    assert await any_rail.payer.lookup_sent(reference_of(asked)) == SentPayment(
        reference=reference_of(asked), status=SentStatus.MISSING
    )
    assert any_rail.balance_msat() == EARNED_MSAT


async def test_what_was_never_asked_for_is_missing(any_rail: PayingRail) -> None:
    assert await any_rail.payer.lookup_sent(NOBODYS) == SentPayment(reference=NOBODYS, status=SentStatus.MISSING)


@pytest.mark.parametrize("end", [Trouble.ARRIVE, Trouble.GIVE_UP])
async def test_a_payment_that_takes_long_is_in_flight_until_it_ends(any_rail: PayingRail, end: Trouble) -> None:
    await any_rail.earn(EARNED_MSAT)
    asked = await any_rail.invoice()
    await any_rail.trouble(Trouble.PENDING)

    first = await any_rail.payer.send(order(asked))
    meanwhile = await any_rail.payer.lookup_sent(first.reference)
    again = await any_rail.payer.send(order(asked))
    await any_rail.trouble(end)
    last = await any_rail.payer.lookup_sent(first.reference)

    assert first == meanwhile == again == SentPayment(reference=reference_of(asked), status=SentStatus.IN_FLIGHT)
    if end is Trouble.ARRIVE:
        assert (last.status, last.amount) == (SentStatus.SUCCEEDED, any_rail.money(PRICE_MSAT))
        assert any_rail.received_msat() == PRICE_MSAT
    else:
        assert last.status is SentStatus.FAILED
        assert last.failure in {SendFailure.TIMEOUT, SendFailure.OTHER}  # not every node keeps the reason
        assert (any_rail.received_msat(), any_rail.balance_msat()) == (0, EARNED_MSAT)


async def test_a_payment_goes_on_when_the_node_stops_telling_of_it(rail: PayingRail) -> None:
    await rail.earn(EARNED_MSAT)
    asked = await rail.invoice()
    await rail.trouble(Trouble.PENDING)
    sending = asyncio.create_task(rail.payer.send(order(asked)))
    await in_flight(rail, reference_of(asked))

    await rail.trouble(Trouble.CUT)

    with pytest.raises(ProviderUnavailable):
        await sending
    await rail.trouble(Trouble.ARRIVE)
    assert (await rail.payer.lookup_sent(reference_of(asked))).status is SentStatus.SUCCEEDED
    assert rail.received_msat() == PRICE_MSAT


async def test_a_payment_goes_on_when_its_caller_leaves(rail: PayingRail) -> None:
    await rail.earn(EARNED_MSAT)
    asked = await rail.invoice()
    await rail.trouble(Trouble.PENDING)
    sending = asyncio.create_task(rail.payer.send(order(asked)))
    await in_flight(rail, reference_of(asked))

    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await rail.trouble(Trouble.ARRIVE)

    assert (await rail.payer.lookup_sent(reference_of(asked))).status is SentStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("trouble", "failure"),
    [(Trouble.NO_ROUTE, SendFailure.NO_ROUTE), (Trouble.PAYEE_REFUSES, SendFailure.REFUSED_BY_PAYEE)],
)
async def test_a_payment_that_failed_cost_nothing_and_may_be_tried_again(
    rail: PayingRail, trouble: Trouble, failure: SendFailure
) -> None:
    await rail.earn(EARNED_MSAT)
    asked = await rail.invoice()
    await rail.trouble(trouble)

    failed = await rail.payer.send(order(asked))
    left = rail.balance_msat()
    again = await rail.payer.send(order(asked))

    assert failed == SentPayment(reference=reference_of(asked), status=SentStatus.FAILED, failure=failure)
    assert left == EARNED_MSAT
    assert (again.status, rail.received_msat()) == (SentStatus.SUCCEEDED, PRICE_MSAT)


async def test_a_node_pays_only_what_it_has(any_rail: PayingRail) -> None:
    await any_rail.earn(PRICE_MSAT - 1_000)

    sent = await any_rail.payer.send(order(await any_rail.invoice()))

    assert (sent.status, sent.failure) == (SentStatus.FAILED, SendFailure.INSUFFICIENT_BALANCE)
    assert (any_rail.received_msat(), any_rail.balance_msat()) == (0, PRICE_MSAT - 1_000)


@pytest.mark.parametrize("short_msat", ["all of it", 1, 0])
async def test_the_fee_cap_reaches_the_node(any_rail: PayingRail, short_msat: Any) -> None:
    await any_rail.earn(EARNED_MSAT)
    fee_msat = any_rail.fee_msat(PRICE_MSAT)
    cap = 0 if short_msat == "all of it" else fee_msat - short_msat

    sent = await any_rail.payer.send(order(await any_rail.invoice(), fee_max=msat(cap)))

    if cap < fee_msat:
        assert (sent.status, sent.failure) == (SentStatus.FAILED, SendFailure.NO_ROUTE)
        assert any_rail.balance_msat() == EARNED_MSAT
    else:
        assert (sent.status, sent.fee) == (SentStatus.SUCCEEDED, any_rail.money(fee_msat))


async def test_an_invoice_that_names_no_amount_is_paid_the_given_one(any_rail: PayingRail) -> None:
    await any_rail.earn(EARNED_MSAT)
    asked = await any_rail.invoice(amount_msat=None)

    sent = await any_rail.payer.send(order(asked, amount=msat(12_000)))

    assert (sent.status, sent.amount) == (SentStatus.SUCCEEDED, any_rail.money(12_000))
    assert any_rail.received_msat() == 12_000


@pytest.mark.parametrize(
    ("named", "given", "reason"),
    [
        (None, None, "names no amount"),
        (None, msat(0), "positive"),
        (None, msat(-1), "positive"),
        (PRICE_MSAT, msat(PRICE_MSAT), "another was given"),
    ],
)
async def test_amounts_that_contradict_begin_nothing(
    any_rail: PayingRail, named: int | None, given: Money | None, reason: str
) -> None:
    await any_rail.earn(EARNED_MSAT)
    asked = await any_rail.invoice(amount_msat=named)

    with pytest.raises(SendRefused, match=reason):
        await any_rail.payer.send(order(asked, amount=given))

    assert (await any_rail.payer.lookup_sent(reference_of(asked))).status is SentStatus.MISSING
    assert any_rail.balance_msat() == EARNED_MSAT


async def test_an_expired_invoice_begins_nothing(any_rail: PayingRail) -> None:
    await any_rail.earn(EARNED_MSAT)
    asked = await any_rail.invoice()
    any_rail.let_time_pass(EXPIRES_S + 2)

    with pytest.raises(SendRefused, match="expired"):
        await any_rail.payer.send(order(asked))

    assert (await any_rail.payer.lookup_sent(reference_of(asked))).status is SentStatus.MISSING
    assert any_rail.balance_msat() == EARNED_MSAT


async def test_an_invoice_of_another_network_begins_nothing(any_rail: PayingRail) -> None:
    await any_rail.earn(EARNED_MSAT)
    key = PrivateKey(b"\x07" * 32)
    elsewhere = UnsignedInvoice(
        prefix="bc",
        amount_msat=PRICE_MSAT,
        timestamp=4_000_000_000,
        payment_hash=bytes.fromhex(NOBODYS),
        payment_secret=b"\x12" * 32,
        description="",
    )
    text = encode(elsewhere, sign=lambda digest: key.sign_recoverable(digest, hasher=None))

    with pytest.raises(SendRefused, match="another network"):
        await any_rail.payer.send(order(text))

    assert (await any_rail.payer.lookup_sent(NOBODYS)).status is SentStatus.MISSING


@pytest.mark.parametrize("text", ["", "lnbcrt1", "a shop's name", "lnurl1dp68gurn8ghj7"])
async def test_what_is_no_invoice_begins_nothing(any_rail: PayingRail, text: str) -> None:
    with pytest.raises(SendRefused, match="broken"):
        await any_rail.payer.send(order(text))


async def test_an_invoice_is_taken_as_a_link_writes_it(any_rail: PayingRail) -> None:
    await any_rail.earn(EARNED_MSAT)
    asked = await any_rail.invoice()

    sent = await any_rail.payer.send(order(f"LIGHTNING:{asked.upper()}"))

    assert (sent.status, any_rail.received_msat()) == (SentStatus.SUCCEEDED, PRICE_MSAT)


async def test_a_node_pays_its_own_invoice_once_or_moves_nothing(rail: PayingRail) -> None:
    await rail.earn(EARNED_MSAT)
    asked = await rail.invoice(own=True)

    sent = await rail.payer.send(order(asked))

    if rail.settles_own:
        assert sent.fee is not None
        assert (sent.status, rail.is_settled(sent.reference, own=True)) == (SentStatus.SUCCEEDED, True)
        assert rail.balance_msat() == EARNED_MSAT - sent.fee.value
    else:
        assert (sent.status, sent.failure) == (SentStatus.FAILED, SendFailure.NO_ROUTE)
        assert not rail.is_settled(sent.reference, own=True)
        assert rail.balance_msat() == EARNED_MSAT
    assert await rail.payer.send(order(asked)) == sent


async def test_a_node_is_paid_without_an_invoice(gifting: PayingRail) -> None:
    await gifting.earn(EARNED_MSAT)

    sent = await keysend(gifting, gift(gifting.payee))
    again = await keysend(gifting, gift(gifting.payee))

    assert (sent.status, sent.amount, sent.preimage) == (SentStatus.SUCCEEDED, msat(PRICE_MSAT), PREIMAGE)
    assert sent.reference == sha256(PREIMAGE).hexdigest()
    assert again == sent == await gifting.payer.lookup_sent(sent.reference)
    assert gifting.received_msat() == PRICE_MSAT
    assert gifting.is_settled(sent.reference)
    assert PREIMAGE.hex() not in repr(gift(gifting.payee))


async def test_a_node_that_takes_no_money_without_an_invoice_sends_it_back(gifting: PayingRail) -> None:
    await gifting.earn(EARNED_MSAT)
    await gifting.trouble(Trouble.NO_KEYSEND)

    sent = await keysend(gifting, gift(gifting.payee))

    assert (sent.status, sent.failure) == (SentStatus.FAILED, SendFailure.REFUSED_BY_PAYEE)
    assert (gifting.balance_msat(), gifting.received_msat()) == (EARNED_MSAT, 0)


async def test_a_lost_answer_to_a_payment_without_an_invoice_is_found_by_its_preimage(gifting: PayingRail) -> None:
    await gifting.earn(EARNED_MSAT)
    await gifting.trouble(Trouble.LOST_ANSWER)

    with pytest.raises(ProviderUnavailable):
        await keysend(gifting, gift(gifting.payee))

    found = await gifting.payer.lookup_sent(sha256(PREIMAGE).hexdigest())
    assert found.status is SentStatus.SUCCEEDED
    assert await keysend(gifting, gift(gifting.payee)) == found
    assert gifting.received_msat() == PRICE_MSAT


@pytest.mark.parametrize(
    ("payee", "amount", "reason"),
    [("02" * 20, msat(1), "public key"), ("not hex", msat(1), "public key"), ("02" * 33, msat(0), "positive")],
)
async def test_a_gift_to_nobody_or_of_nothing_begins_nothing(
    gifting: PayingRail, payee: str, amount: Money, reason: str
) -> None:
    await gifting.earn(EARNED_MSAT)

    with pytest.raises(SendRefused, match=reason):
        await keysend(gifting, gift(payee, amount=amount))

    assert (await gifting.payer.lookup_sent(sha256(PREIMAGE).hexdigest())).status is SentStatus.MISSING


async def test_a_gift_to_an_unknown_node_finds_no_way(gifting: PayingRail) -> None:
    await gifting.earn(EARNED_MSAT)

    sent = await keysend(gifting, gift("02" * 33))

    assert (sent.status, sent.failure) == (SentStatus.FAILED, SendFailure.NO_ROUTE)
    assert gifting.balance_msat() == EARNED_MSAT
