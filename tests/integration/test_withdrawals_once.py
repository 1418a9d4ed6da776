"""One code is one payout: however many wallets come together, whatever is lost, and until it failed for good."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.integration.conftest import ServicesFactory, Till
from tests.integration.outgoing_money import Rail
from tests.integration.test_payouts import BALANCE_MSAT, FEE_MAX_MSAT, balance, reader_with
from tests.integration.withdrawing import OK, Wallet, create, found

from quittance.domain.access import Principal
from quittance.resolvers.sending import CERTAIN_AFTER_S

AMOUNT_MSAT = 400_000
TOGETHER = 20
USED = {"status": "ERROR", "reason": "this code was used already"}
ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l1QPZRY lnbcrt\n\0é%&="


@pytest.fixture
async def alice(till: Till) -> Principal:
    await till.sold(amount_msat=20 * BALANCE_MSAT)
    return await reader_with(till)


@pytest.fixture
async def wallets(till: Till, new_services: ServicesFactory) -> AsyncIterator[list[Wallet]]:
    """Wallets that call two processes over one database."""
    made = [Wallet.at(till.services), Wallet.at(new_services())]
    yield made
    for one in made:
        await one.http.aclose()


@pytest.fixture
def wallet(wallets: list[Wallet]) -> Wallet:
    return wallets[0]


def invoice_of(till: Till, amount_msat: int = AMOUNT_MSAT) -> str:
    return till.rails.new_invoice("bob", amount_msat=amount_msat, expiry_s=7 * 86_400)


async def states(till: Till) -> list[str]:
    return [row["state"] for row in await till.rows("transfer")]


async def status(till: Till, made: dict[str, Any], alice: Principal) -> str:
    standing = await found(till, made["id"], as_=alice)
    assert standing is not None
    return str(standing["status"])


async def test_of_twenty_wallets_together_one_is_paid(till: Till, alice: Principal, wallets: list[Wallet]) -> None:
    made = await create(till, as_=alice)
    bob = till.rails.nodes["bob"].balance_msat
    invoices = [invoice_of(till, 10_000 + number) for number in range(TOGETHER)]

    answers = await asyncio.gather(
        *(wallets[number % 2].take(made["lnurl"], invoice) for number, invoice in enumerate(invoices))
    )
    await till.send()

    (paid,) = (number for number, answer in enumerate(answers) if answer == OK)
    assert [answer for answer in answers if answer != OK] == [USED] * (TOGETHER - 1)
    assert [(row["state"], row["amount_value"]) for row in await till.rows("transfer")] == [
        ("SUCCEEDED", 10_000 + paid)
    ]
    assert till.rails.nodes["bob"].balance_msat == bob + 10_000 + paid
    await till.balances()


async def test_one_invoice_however_often_is_one_payout_and_a_yes(
    till: Till, alice: Principal, wallets: list[Wallet]
) -> None:
    made = await create(till, as_=alice, expiresIn=60)
    invoice = invoice_of(till)

    together = await asyncio.gather(*(wallets[number % 2].take(made["lnurl"], invoice) for number in range(TOGETHER)))
    await till.send()
    till.clock.advance(8 * 86_400)  # the code has expired, and the invoice too

    assert together == [OK] * TOGETHER
    assert await wallets[1].take(made["lnurl"], f"lightning:{invoice.upper()}") == OK
    assert await states(till) == ["SUCCEEDED"]
    assert len(till.rails.nodes["merchant"].payments) == 1
    assert await status(till, made, alice) == "PAID"


async def test_of_twenty_codes_together_against_a_balance_for_one_one_is_paid(
    till: Till, alice: Principal, wallets: list[Wallet]
) -> None:
    made = [await create(till, as_=alice) for _ in range(TOGETHER)]

    answers = await asyncio.gather(
        *(wallets[number % 2].take(one["lnurl"], invoice_of(till, 600_000)) for number, one in enumerate(made))
    )
    await till.send()

    refused = [answer["reason"] for answer in answers if answer != OK]
    assert refused == ["the invoice asks for 600000 millisatoshi; this code gives 1000 to 380000"] * (TOGETHER - 1)
    assert await states(till) == ["SUCCEEDED"]
    await till.balances()


async def test_two_codes_do_not_pay_one_invoice(till: Till, alice: Principal, wallets: list[Wallet]) -> None:
    made = [await create(till, as_=alice, amountMax={"msat": str(AMOUNT_MSAT)}) for _ in range(2)]
    invoice = invoice_of(till)

    answers = await asyncio.gather(*(wallets[number].take(made[number]["lnurl"], invoice) for number in range(2)))

    assert sorted(answer["status"] for answer in answers) == ["ERROR", "OK"]
    assert sorted([await status(till, one, alice) for one in made]) == ["OPEN", "PAYING"]
    assert await states(till) == ["PENDING"]
    assert await balance(till, alice) == BALANCE_MSAT - AMOUNT_MSAT - FEE_MAX_MSAT


async def test_a_payout_that_failed_for_good_leaves_the_code_to_another_invoice(
    till: Till, alice: Principal, wallets: list[Wallet]
) -> None:
    made = await create(till, as_=alice)
    paid_already = invoice_of(till)
    first = await wallets[0].take(made["lnurl"], paid_already)
    await till.rails.pay(paid_already, node="carol")
    await till.send()
    failed, given_back = await found(till, made["id"], as_=alice), await balance(till, alice)

    again = await asyncio.gather(
        *(wallets[number % 2].take(made["lnurl"], invoice_of(till)) for number in range(TOGETHER))
    )
    await till.send()

    assert failed is not None
    assert (failed["status"], failed["payout"]["status"], given_back) == ("OPEN", "FAILED", BALANCE_MSAT)
    assert first == OK
    assert [again.count(OK), again.count(USED)] == [1, TOGETHER - 1]
    assert sorted(await states(till)) == ["FAILED", "SUCCEEDED"]
    assert await status(till, made, alice) == "PAID"
    await till.balances()


async def test_a_payout_that_failed_after_the_code_ended_leaves_nothing(
    till: Till, alice: Principal, wallet: Wallet
) -> None:
    made = await create(till, as_=alice, expiresIn=60)
    paid_already = invoice_of(till)
    await wallet.take(made["lnurl"], paid_already)
    await till.rails.pay(paid_already, node="carol")
    till.clock.advance(61)
    await till.send()

    refused = await wallet.take(made["lnurl"], invoice_of(till))

    assert refused["reason"] == "this code is unknown or has expired; have a new one shown"
    assert (await status(till, made, alice), await states(till)) == ("EXPIRED", ["FAILED"])
    assert await balance(till, alice) == BALANCE_MSAT


async def test_a_payout_nobody_knows_the_end_of_never_frees_the_code(
    till: Till, alice: Principal, wallet: Wallet, rail: Rail
) -> None:
    """U1."""
    made = await create(till, as_=alice, expiresIn=3_600)
    await wallet.take(made["lnurl"], invoice_of(till))
    rail.loses = 1
    await till.send()
    unknown = await states(till)

    meanwhile = await wallet.take(made["lnurl"], invoice_of(till))
    till.clock.advance(CERTAIN_AFTER_S)
    await till.send()
    afterwards = await wallet.take(made["lnurl"], invoice_of(till))

    assert unknown == ["UNKNOWN"]
    assert (meanwhile, afterwards) == (USED, USED)
    assert await states(till) == ["SUCCEEDED"]
    assert len(rail.sent) == 1


async def test_a_payout_that_is_tried_again_does_not_free_the_code(
    till: Till, alice: Principal, wallet: Wallet
) -> None:
    made = await create(till, as_=alice, expiresIn=3_600)
    invoice = till.rails.new_invoice("bob", amount_msat=AMOUNT_MSAT)
    await wallet.take(made["lnurl"], invoice)
    await till.rails.faults.arm("lnd", "no_route", calls=1)
    await till.send()
    waiting = await till.rows("transfer")

    refused, repeated = await wallet.take(made["lnurl"], invoice_of(till)), await wallet.take(made["lnurl"], invoice)

    assert [(row["state"], row["state_reason"]) for row in waiting] == [("PENDING", "NO_ROUTE")]
    assert (refused, repeated) == (USED, OK)
    assert len(await till.rows("transfer")) == 1


async def test_whatever_a_stranger_sends_for_an_invoice_is_refused(
    till: Till, alice: Principal, wallet: Wallet
) -> None:
    made, chance = await create(till, as_=alice), random.Random(7)
    invoice = invoice_of(till)

    def wrong() -> str:
        place = chance.randrange(len(invoice))
        return chance.choice(
            [
                "".join(chance.choices(ALPHABET, k=chance.randrange(400))),
                invoice[:place] + chance.choice("qpzry9x8gf2tvdw0s3jn54khce6mua7l".replace(invoice[place], ""))
                + invoice[place + 1 :],
                invoice[:place],
                invoice[:place] + invoice[place].upper() + invoice[place + 1 :] + "Q",
                invoice + "q" * chance.randrange(1, 8_000),
            ]
        )  # fmt: skip

    answers = [await wallet.take(made["lnurl"], wrong()) for _ in range(150)]

    assert {answer["status"] for answer in answers} == {"ERROR"}
    assert [one for one in answers if "something went wrong" in one["reason"]] == []
    assert await till.rows("transfer") == []
    assert await wallet.take(made["lnurl"], invoice) == OK
