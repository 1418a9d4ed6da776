"""Balances that are paid out: once, never more than is there, and wherever their owner wants them."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.integration.conftest import ServicesFactory, Till
from tests.integration.outgoing_money import Rail, found, payout, value
from tests.integration.readers import caller, log_in
from tests.integration.test_refunds import address

from quittance.domain.access import ANONYMOUS, Principal, Scope
from quittance.domain.ledger import Account, AccountKind, Entry
from quittance.domain.money import BTC_MSAT, msat
from quittance.domain.transfer import FeeRule
from quittance.store import ledger

BALANCE_MSAT = 1_000_000
FEE_MAX_MSAT = 10_000
ME = "{ viewer { account { balances { value } payouts { totalCount edges { node { id status } } } } } }"
SET_ADDRESS = """
mutation ($input: UpdateAccountInput!) { updateAccount(input: $input) { __typename ... on UserError { code } } }
"""


async def reader_with(
    till: Till, amount_msat: int = BALANCE_MSAT, *, name: str = "alice", number: int = 1
) -> Principal:
    """Return a reader to whom so much of the merchant's earnings is owed."""
    principal = await caller(till.shop, (await log_in(till.shop, name, number=number))["token"])
    owed = Account(kind=AccountKind.READER, owner=str(principal.account_id), asset=BTC_MSAT)
    shop = Account(kind=AccountKind.MERCHANT, owner=str(till.shop.principal.merchant_id), asset=BTC_MSAT)
    lines = [Entry(account=shop, value=amount_msat), Entry(account=owed, value=-amount_msat)]
    await till.services.database.write(
        lambda t: ledger.post(t, lines, transaction_id=till.services.new_id("ltx"), at=till.services.now())
    )
    return principal


@pytest.fixture
async def alice(till: Till) -> Principal:
    await till.sold(amount_msat=20 * BALANCE_MSAT)
    return await reader_with(till)


async def balance(till: Till, who: Principal) -> int:
    owed = (await till.shop.run(ME, as_=who))["viewer"]["account"]["balances"]
    return sum(int(one["value"]) for one in owed)


async def test_a_reader_is_paid_at_an_address_and_bears_what_the_way_costs(till: Till, alice: Principal) -> None:
    bob = till.rails.nodes["bob"].balance_msat

    begun = await payout(till, as_=alice, amount={"msat": "400000"}, destination=address(till))
    meanwhile = await balance(till, alice)
    await till.send()

    done = await found(till, begun["id"], as_=alice)
    fee = value(done["fee"])
    assert fee is not None
    assert (done["status"], meanwhile) == ("SUCCEEDED", BALANCE_MSAT - 400_000 - FEE_MAX_MSAT)
    assert till.rails.nodes["bob"].balance_msat == bob + 400_000
    assert await balance(till, alice) == BALANCE_MSAT - 400_000 - fee
    await till.balances()


async def test_everything_is_what_the_balance_covers_with_its_fee_cap(till: Till, alice: Principal) -> None:
    await till.shop.run(SET_ADDRESS, {"input": {"lightningAddress": address(till, "carol")}}, as_=alice)

    begun = await payout(till, as_=alice)
    await till.send()

    done = await found(till, begun["id"], as_=alice)
    assert (value(done["amount"]), value(done["feeMax"])) == (BALANCE_MSAT - FEE_MAX_MSAT, FEE_MAX_MSAT)
    assert (done["status"], done["destination"]) == ("SUCCEEDED", address(till, "carol"))
    assert await balance(till, alice) == FEE_MAX_MSAT - (value(done["fee"]) or 0)


async def test_a_node_is_paid_without_an_invoice(till: Till, alice: Principal) -> None:
    bob = till.rails.nodes["bob"]
    before = bob.balance_msat

    begun = await payout(till, as_=alice, amount={"sat": "300"}, destination=bob.pubkey)
    await till.send()

    done = await found(till, begun["id"], as_=alice)
    assert (done["status"], done["destinationKind"]) == ("SUCCEEDED", "NODE")
    assert bob.balance_msat == before + 300_000


async def test_an_invoice_says_how_much_unless_it_leaves_that_open(till: Till, alice: Principal) -> None:
    named = await payout(till, as_=alice, key="1", destination=till.rails.new_invoice("bob", amount_msat=123_456))
    open_ = await payout(
        till, as_=alice, key="2", amount={"msat": "200001"}, destination=till.rails.new_invoice("bob", amount_msat=None)
    )
    await till.send()

    assert [value(one["amount"]) for one in (named, open_)] == [123_456, 200_001]
    assert {row["state"] for row in await till.rows("transfer")} == {"SUCCEEDED"}


async def test_of_fifty_payouts_together_against_a_balance_for_one_one_is_made(
    till: Till, alice: Principal, new_services: ServicesFactory
) -> None:
    processes = [till, till.on(new_services())]
    invoices = [till.rails.new_invoice("bob", amount_msat=600_000) for _ in range(50)]
    bob = till.rails.nodes["bob"].balance_msat

    answers = await asyncio.gather(
        *(
            payout(processes[number % 2], as_=alice, key=str(number), destination=invoice)
            for number, invoice in enumerate(invoices)
        )
    )
    await till.send()

    codes = [answer.get("code") or "begun" for answer in answers]
    assert codes.count("begun") == 1
    assert codes.count("INSUFFICIENT_BALANCE") == 49
    assert till.rails.nodes["bob"].balance_msat == bob + 600_000
    await till.balances()


async def test_one_key_is_one_payout_however_often_and_together(
    till: Till, alice: Principal, new_services: ServicesFactory
) -> None:
    processes = [till, till.on(new_services())]
    said = {"amount": {"msat": "50000"}, "destination": address(till)}

    answers = await asyncio.gather(*(payout(processes[n % 2], as_=alice, key="k", **said) for n in range(20)))
    await till.send()

    assert len({answer["id"] for answer in answers}) == 1
    assert len(await till.rows("transfer")) == 1
    assert len(till.rails.nodes["merchant"].payments) == 1


async def test_keys_of_two_readers_do_not_meet(till: Till, alice: Principal) -> None:
    bob = await reader_with(till, name="bobby", number=2)
    said = {"amount": {"msat": "50000"}, "destination": address(till)}

    one, other = await payout(till, as_=alice, key="k", **said), await payout(till, as_=bob, key="k", **said)

    assert one["id"] != other["id"]
    assert await found(till, one["id"], as_=bob) is None
    listed = (await till.shop.run(ME, as_=alice))["viewer"]["account"]["payouts"]
    assert (listed["totalCount"], [edge["node"]["id"] for edge in listed["edges"]]) == (1, [one["id"]])


async def test_the_fee_cap_is_what_the_rail_is_told(till: Till, alice: Principal, rail: Rail) -> None:
    """R11."""
    till.services.transfers = replace(till.services.transfers, fee=FeeRule(ppm=0, msat_min=1_000))

    begun = await payout(till, as_=alice, amount={"msat": "999000"}, destination=address(till))
    too_low = await payout(
        till, as_=alice, key="2", amount={"msat": "0"}, destination=address(till), feeMax={"msat": "1"}
    )
    await till.send()

    assert too_low["code"] == "INVALID_AMOUNT"
    done = await found(till, begun["id"], as_=alice)
    assert (value(done["feeMax"]), done["status"]) == (1_000, "SUCCEEDED")
    assert [request.fee_max for request in rail.sent] == [msat(1_000)]
    assert (value(done["fee"]) or 0) <= 1_000


async def test_a_way_that_costs_more_than_its_cap_is_not_gone(till: Till, alice: Principal) -> None:
    """R11: the node is told, finds no way, and after every try the money is back."""
    begun = await payout(
        till,
        as_=alice,
        amount={"msat": "400000"},
        destination=till.rails.new_invoice("bob", amount_msat=400_000, expiry_s=86_400),
        feeMax={"msat": "1"},
    )
    for _ in range(12):  # a try that may be told of an earlier one is looked up a minute later
        await till.send()
        till.clock.advance(3_700)

    done = await found(till, begun["id"], as_=alice)
    assert (done["status"], done["statusReason"]) == ("FAILED", "NO_ROUTE")
    assert [one["failure"] for one in done["attempts"]] == ["NO_ROUTE"] * 6
    assert await balance(till, alice) == BALANCE_MSAT
    await till.balances()


async def test_a_merchant_is_paid_out_with_the_scope_for_it(till: Till, alice: Principal) -> None:
    merchant_id = till.shop.principal.merchant_id
    keys = {scope: Principal(merchant_id=merchant_id, scopes=frozenset({scope})) for scope in Scope}

    refused = [
        (await payout(till, as_=keys[scope], destination=address(till)))["code"]
        for scope in (Scope.PAYMENTS_WRITE, Scope.REFUNDS_WRITE)
    ]
    begun = await payout(till, as_=keys[Scope.PAYOUTS_WRITE], amount={"sat": "500"}, destination=address(till))
    nobody = await payout(till, as_=ANONYMOUS, destination=address(till))
    await till.send()

    assert refused == ["PERMISSION_DENIED"] * 2
    assert nobody["code"] == "LOGIN_REQUIRED"
    assert (await till.rows("transfer"))[0]["state"] == "SUCCEEDED"
    assert [row["subject_id"] for row in await till.rows("audit_entry") if row["action"] == "PAYOUT_REQUESTED"] == [
        begun["id"]
    ]


async def test_a_reader_without_an_address_is_asked_for_a_destination(till: Till, alice: Principal) -> None:
    answer = await payout(till, as_=alice, amount={"sat": "100"})

    assert (answer["code"], answer["flaw"]) == ("INVALID_DESTINATION", "MALFORMED")
    refused = (await till.rows("audit_entry"))[-1]
    assert (refused["action"], refused["actor_id"], refused["actor_name"]) == (
        "DESTINATION_REFUSED",
        alice.account_id,
        "reader",
    )
    assert await balance(till, alice) == BALANCE_MSAT


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("out_of_bounds", "AMOUNT_OUT_OF_BOUNDS"),
        ("wrong_hash", "PAYEE_INVOICE_MISMATCH"),
        ("wrong_amount", "PAYEE_INVOICE_MISMATCH"),
        ("other_network", "PAYEE_INVOICE_MISMATCH"),
        ("expired", "PAYEE_INVOICE_MISMATCH"),
        ("unknown_action", "PAYEE_INVOICE_MISMATCH"),
        ("private_callback", "FORBIDDEN_ADDRESS"),
        ("error", "PAYEE_REFUSED"),
    ],
)
async def test_a_payee_that_deceives_is_told_at_once_and_leaves_a_row(
    till: Till, alice: Principal, fault: str, code: str
) -> None:
    await till.rails.faults.arm("payees", fault)

    answer = await payout(till, as_=alice, amount={"sat": "100"}, destination=address(till))

    assert answer["code"] == code
    assert [(row["state"], row["state_reason"]) for row in await till.rows("transfer")] == [("FAILED", code)]
    assert await till.rows("transfer_attempt") == []
    assert await balance(till, alice) == BALANCE_MSAT
    assert len(till.rails.nodes["merchant"].payments) == 0
    assert await till.rows("job") == []


async def test_a_payee_that_does_not_answer_is_asked_again(till: Till, alice: Principal) -> None:
    await till.rails.faults.arm("payees", "unavailable")

    begun = await payout(till, as_=alice, amount={"sat": "100"}, destination=address(till))
    till.clock.advance(31)
    await till.send()

    done: dict[str, Any] = await found(till, begun["id"], as_=alice)
    assert (begun["status"], done["status"]) == ("PENDING", "SUCCEEDED")
    assert msat(100_000).value == value(done["amount"])


async def test_a_balance_is_paid_out_by_itself_once_it_is_large_enough(till: Till, alice: Principal) -> None:
    said = {"lightningAddress": address(till, "carol"), "payoutFrom": {"msat": str(BALANCE_MSAT + 1)}}
    carol = till.rails.nodes["carol"].balance_msat
    await till.shop.run(SET_ADDRESS, {"input": said}, as_=alice)
    await till.send()
    too_little = await till.rows("transfer")

    await till.shop.run(SET_ADDRESS, {"input": {"payoutFrom": {"msat": str(BALANCE_MSAT)}}}, as_=alice)
    await till.send()
    await till.shop.run(SET_ADDRESS, {"input": {"payoutFrom": {"msat": str(BALANCE_MSAT)}}}, as_=alice)
    await till.send()

    assert too_little == []
    assert [(row["state"], row["amount_value"]) for row in await till.rows("transfer")] == [
        ("SUCCEEDED", BALANCE_MSAT - FEE_MAX_MSAT)
    ]
    assert till.rails.nodes["carol"].balance_msat == carol + BALANCE_MSAT - FEE_MAX_MSAT


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"payoutFrom": {"msat": "100000"}}, "INVALID_INPUT"),
        ({"lightningAddress": "a@b.test", "payoutFrom": {"msat": "10999"}}, "INVALID_AMOUNT"),
        (
            {
                "lightningAddress": "a@b.test",
                "payoutFrom": {"asset": {"assetCode": "LTC", "assetScale": 8, "value": "9"}},
            },
            "INVALID_AMOUNT",
        ),
    ],
)
async def test_what_cannot_be_paid_by_itself_is_refused(
    till: Till, alice: Principal, said: dict[str, Any], code: str
) -> None:
    answer = await till.shop.mutate("updateAccount", SET_ADDRESS, {"input": said}, as_=alice)

    assert answer["code"] == code
    assert await till.rows("job") == []
