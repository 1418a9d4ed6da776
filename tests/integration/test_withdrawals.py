"""Withdrawals by a code (LUD-03): whoever holds it takes the money, once, and never more than is there."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.integration.conftest import CountingLimiter, Till
from tests.integration.outgoing_money import payout
from tests.integration.readers import caller, log_in
from tests.integration.test_payouts import BALANCE_MSAT, FEE_MAX_MSAT, balance, reader_with
from tests.integration.test_refunds import address
from tests.integration.test_transfer_events import PAYOUTS, STEPS, heard
from tests.integration.withdrawing import OK, Wallet, create, found, k1_of

from quittance.domain import lnurl
from quittance.domain.access import ANONYMOUS, Principal, Scope
from quittance.resolvers.services import TransferRules
from quittance.store.models import Row
from quittance.store.withdrawals import FORGOTTEN_AFTER

MOST_MSAT = BALANCE_MSAT - FEE_MAX_MSAT


@pytest.fixture
async def alice(till: Till) -> Principal:
    await till.sold(amount_msat=20 * BALANCE_MSAT)
    return await reader_with(till)


@pytest.fixture
async def wallet(till: Till) -> AsyncIterator[Wallet]:
    one = Wallet.at(till.services)
    yield one
    await one.http.aclose()


def invoice_of(till: Till, amount_msat: int | None = 400_000, *, node: str = "bob", expiry_s: int = 86_400) -> str:
    return till.rails.new_invoice(node, amount_msat=amount_msat, expiry_s=expiry_s)


async def nothing_moved(till: Till, alice: Principal) -> bool:
    return await balance(till, alice) == BALANCE_MSAT and await till.rows("transfer") == []


async def test_a_code_leads_to_our_door_and_says_what_can_be_taken(
    till: Till, alice: Principal, wallet: Wallet
) -> None:
    made = await create(till, as_=alice)

    offer = await wallet.scan(made["lnurl"])

    url = urlsplit(lnurl.decode(made["lnurl"]))
    assert made["lnurl"] == made["lnurl"].upper()
    assert (url.scheme, url.netloc, url.path) == ("http", "shop.test", "/lnurl/withdraw")
    assert parse_qs(url.query).keys() == {"k1"}
    assert offer == {
        "tag": "withdrawRequest",
        "callback": "http://shop.test/lnurl/withdraw/callback",
        "k1": k1_of(made["lnurl"]),
        "defaultDescription": "Withdrawal from shop.test",
        "minWithdrawable": 1_000,
        "maxWithdrawable": MOST_MSAT,
    }
    assert len(bytes.fromhex(offer["k1"])) == 32
    assert (made["status"], made["payout"]) == ("OPEN", None)
    assert made["minWithdrawable"] == {"value": "1000", "assetCode": "BTC"}
    assert made["maxWithdrawable"]["value"] == str(MOST_MSAT)
    assert made["qrCode"].startswith("data:image/svg+xml;base64,")
    assert made["png"].startswith("data:image/png;base64,")
    lasts = datetime.fromisoformat(made["expiresAt"]) - datetime.fromisoformat(made["createdAt"])
    assert lasts == timedelta(seconds=TransferRules().withdrawal_s_default)
    assert k1_of((await create(till, as_=alice))["lnurl"]) != offer["k1"]
    assert await nothing_moved(till, alice)


async def test_a_wallet_takes_the_money_and_the_owner_hears_of_it(till: Till, alice: Principal, wallet: Wallet) -> None:
    bob = till.rails.nodes["bob"].balance_msat
    made = await create(till, as_=alice)
    invoice = invoice_of(till)

    told = await wallet.take(made["lnurl"], invoice)
    meanwhile = await found(till, made["id"], as_=alice)
    aside = await balance(till, alice)
    scanned = await wallet.scan(made["lnurl"])
    await till.send()

    done = await found(till, made["id"], as_=alice)
    assert told == OK
    assert meanwhile is not None
    assert done is not None
    assert (meanwhile["status"], meanwhile["payout"]["status"]) == ("PAYING", "PENDING")
    assert meanwhile["maxWithdrawable"]["value"] == "0"
    assert aside == BALANCE_MSAT - 400_000 - FEE_MAX_MSAT
    assert scanned["reason"] == "this code was used already"
    assert (done["status"], done["payout"]["status"], done["payout"]["destination"]) == ("PAID", "SUCCEEDED", invoice)
    assert till.rails.nodes["bob"].balance_msat == bob + 400_000
    events = await heard(till, PAYOUTS, as_=alice)
    assert [(event["payout"]["id"], event["payout"]["status"]) for event in events][-1] == (
        done["payout"]["id"],
        STEPS[-1],
    )
    await till.balances()


async def test_the_secret_is_shown_once_and_kept_nowhere(till: Till, alice: Principal, wallet: Wallet) -> None:
    """S1."""
    made = await create(till, as_=alice)
    await wallet.take(made["lnurl"], invoice_of(till))
    await till.send()

    later = await found(till, made["id"], as_=alice)
    rows = [row for table in Row.metadata.tables for row in await till.rows(table)]
    dump = "\n".join(
        f"{value!r} {value.hex() if isinstance(value, bytes) else ''}" for row in rows for value in row.values()
    )
    assert later is not None
    assert (later["lnurl"], later["qrCode"]) == (None, None)
    assert made["id"] in dump
    assert [one for one in (k1_of(made["lnurl"]), made["lnurl"]) if one.lower() in dump.lower()] == []


async def test_the_bounds_follow_what_the_owner_said_and_what_is_left(
    till: Till, alice: Principal, wallet: Wallet
) -> None:
    small = await create(till, as_=alice, amountMax={"sat": "300"})
    whole = await create(till, as_=alice)
    invoice = invoice_of(till, MOST_MSAT)
    before = [(await wallet.scan(one["lnurl"]))["maxWithdrawable"] for one in (small, whole)]

    await payout(till, as_=alice, amount={"msat": "500000"}, destination=address(till))

    after = [(await wallet.scan(one["lnurl"]))["maxWithdrawable"] for one in (small, whole)]
    too_much = await wallet.take(whole["lnurl"], invoice)
    assert (before, after) == ([300_000, MOST_MSAT], [300_000, BALANCE_MSAT - 500_000 - 2 * FEE_MAX_MSAT])
    assert too_much["reason"] == "the invoice asks for 990000 millisatoshi; this code gives 1000 to 480000"
    assert len(await till.rows("transfer")) == 1
    standing = await found(till, whole["id"], as_=alice)
    assert standing is not None
    assert (standing["status"], standing["payout"]) == ("OPEN", None)


async def test_a_balance_that_is_spent_gives_nothing_any_more(till: Till, alice: Principal, wallet: Wallet) -> None:
    made = await create(till, as_=alice)
    await payout(till, as_=alice, destination=address(till))

    assert (await wallet.scan(made["lnurl"]))["reason"] == "the balance is too small by now"


@pytest.mark.parametrize(
    ("bring", "reason"),
    [
        (lambda till: invoice_of(till, 999), "asks for 999 millisatoshi; this code gives 1000 to 300000"),
        (lambda till: invoice_of(till, 300_001), "asks for 300001 millisatoshi; this code gives 1000 to 300000"),
        (lambda till: invoice_of(till, None), "names no amount"),
        (lambda till: invoice_of(till, 200_000, expiry_s=20), "the invoice has expired, or is about to"),
        (lambda till: invoice_of(till, 200_000, node="dave"), "another network"),
        (lambda till: invoice_of(till, 200_000)[:-1] + "!", "cannot be paid"),
        (address, "give a BOLT11 invoice"),
        (lambda till: till.rails.nodes["bob"].pubkey, "give a BOLT11 invoice"),
        (lambda _: "", "empty"),
    ],
)
async def test_what_cannot_be_paid_is_refused_and_the_code_stays(
    till: Till, alice: Principal, wallet: Wallet, bring: Any, reason: str
) -> None:
    made = await create(till, as_=alice, amountMax={"sat": "300"})

    refused = await wallet.take(made["lnurl"], bring(till))

    assert refused["status"] == "ERROR"
    assert reason in refused["reason"]
    assert await nothing_moved(till, alice)
    assert await wallet.take(made["lnurl"], invoice_of(till, 300_000)) == OK


@pytest.mark.parametrize("k1", ["", "nonsense", "ab" * 31, "ab" * 33, "é" * 64, "zz" * 32, "ab" * 32])
async def test_a_secret_that_is_none_of_ours_opens_nothing(
    till: Till, alice: Principal, wallet: Wallet, k1: str
) -> None:
    await create(till, as_=alice)

    offered = await wallet.call("http://shop.test/lnurl/withdraw", k1=k1)
    taken = await wallet.say(k1=k1, pr=invoice_of(till))

    unknown = "this code is unknown or has expired; have a new one shown"
    assert (
        offered == taken == {"status": "ERROR", "reason": unknown if k1 == "ab" * 32 else "k1 is not 32 bytes in hex"}
    )
    assert await nothing_moved(till, alice)


async def test_a_code_ends_when_its_owner_said(till: Till, alice: Principal, wallet: Wallet) -> None:
    made = await create(till, as_=alice, expiresIn=60)
    till.clock.advance(59)
    open_ = await wallet.scan(made["lnurl"])
    till.clock.advance(1)

    scanned, taken = await wallet.scan(made["lnurl"]), await wallet.take(made["lnurl"], invoice_of(till))

    assert open_["tag"] == "withdrawRequest"
    assert scanned == taken == {
        "status": "ERROR", "reason": "this code is unknown or has expired; have a new one shown",
    }  # fmt: skip
    assert (await found(till, made["id"], as_=alice) or {})["status"] == "EXPIRED"
    assert await nothing_moved(till, alice)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"expiresIn": 0}, "INVALID_INPUT"),
        ({"expiresIn": 3_601}, "INVALID_INPUT"),
        ({"amountMax": {"msat": "0"}}, "INVALID_AMOUNT"),
        ({"amountMax": {"msat": "999"}}, "INVALID_AMOUNT"),
        ({"amountMax": {"fiat": {"currency": "EUR", "value": "5.00"}}}, "INVALID_AMOUNT"),
        ({"amountMax": {"asset": {"assetCode": "LTC", "assetScale": 8, "value": "5"}}}, "INVALID_AMOUNT"),
    ],
)
async def test_a_code_that_makes_no_sense_is_not_made(till: Till, alice: Principal, said: Any, code: str) -> None:
    assert (await create(till, as_=alice, **said))["code"] == code
    assert await till.rows("withdrawal") == []


async def test_who_has_nothing_gets_no_code(till: Till) -> None:
    poor = await caller(till.shop, (await log_in(till.shop, "poor", number=3))["token"])

    refused = await create(till, as_=poor)

    assert (refused["code"], refused["available"]["value"]) == ("INSUFFICIENT_BALANCE", "0")
    assert (await create(till, as_=ANONYMOUS))["code"] == "LOGIN_REQUIRED"


async def test_a_merchant_needs_the_scope_and_leaves_a_trace(till: Till, alice: Principal, wallet: Wallet) -> None:
    merchant_id = till.shop.principal.merchant_id
    keys = {scope: Principal(merchant_id=merchant_id, scopes=frozenset({scope})) for scope in Scope}

    refused = await create(till, as_=keys[Scope.REFUNDS_WRITE])
    made = await create(till, as_=keys[Scope.PAYOUTS_WRITE], amountMax={"sat": "500"})
    taken = await wallet.take(made["lnurl"], invoice_of(till, 500_000))
    await till.send()

    assert (refused["code"], taken) == ("PERMISSION_DENIED", OK)
    done = await found(till, made["id"], as_=keys[Scope.PAYMENTS_READ])
    assert done is not None
    assert done["status"] == "PAID"
    assert await balance(till, alice) == BALANCE_MSAT
    assert [row["owner_id"] for row in await till.rows("transfer")] == [merchant_id]
    logged = [row["subject_id"] for row in await till.rows("audit_entry") if row["action"] == "WITHDRAWAL_CREATED"]
    assert logged == [made["id"]]


async def test_nobody_else_sees_a_withdrawal(till: Till, alice: Principal, other_shop: Any) -> None:
    made = await create(till, as_=alice)
    bob = await reader_with(till, name="bobby", number=2)

    strangers = (bob, ANONYMOUS, till.shop.principal, other_shop.principal)

    assert [await found(till, made["id"], as_=one) for one in strangers] == [None] * 4
    assert await found(till, "wdr_nonsense\0", as_=alice) is None
    node = await till.shop.run("query ($id: ID!) { node(id: $id) { id } }", {"id": made["id"]}, as_=alice)
    assert node == {"node": None}


async def test_only_get_and_only_so_often(till: Till, alice: Principal, wallet: Wallet) -> None:
    made = await create(till, as_=alice)
    where = {"k1": k1_of(made["lnurl"]), "pr": invoice_of(till)}
    head = await wallet.http.head("/lnurl/withdraw/callback", params=where)
    posted = await wallet.http.post("/lnurl/withdraw/callback", params=where)
    assert isinstance(till.services.limiter, CountingLimiter)
    till.services.limiter.left = 0

    refused = await wallet.take(made["lnurl"], where["pr"]), await wallet.scan(made["lnurl"])

    assert (head.status_code, posted.status_code) == (405, 405)
    assert [one["status"] for one in refused] == ["ERROR"] * 2
    assert [one["reason"].partition(";")[0] for one in refused] == ["too many requests"] * 2
    assert await nothing_moved(till, alice)


async def test_without_a_rail_that_pays_there_is_no_code_and_a_wallet_is_not_told_why(
    till: Till, alice: Principal, wallet: Wallet
) -> None:
    made = await create(till, as_=alice)
    till.services.payers = {}

    answers = await wallet.scan(made["lnurl"]), await wallet.take(made["lnurl"], invoice_of(till))

    assert (await create(till, as_=alice))["code"] == "CANNOT_PAY_FROM"
    assert answers == ({"status": "ERROR", "reason": "nothing can be paid just now; try again later"},) * 2
    assert await nothing_moved(till, alice)


async def test_wallets_are_paid_in_bitcoin_alone(alice: Principal, both: Any) -> None:
    litecoin = both.on(replace(both.services, default_provider="lnd-ltc"))

    assert (await create(litecoin, as_=alice))["code"] == "CANNOT_PAY_FROM"
    assert await both.rows("withdrawal") == []


async def test_no_code_lasts_longer_than_the_longest_time(till: Till, alice: Principal) -> None:
    till.services.transfers = replace(till.services.transfers, withdrawal_s_max=60)

    made = await create(till, as_=alice)

    assert datetime.fromisoformat(made["expiresAt"]) == datetime.fromisoformat(made["createdAt"]) + timedelta(minutes=1)


async def test_codes_that_nobody_used_are_forgotten_and_payouts_keep_theirs(
    till: Till, alice: Principal, wallet: Wallet
) -> None:
    unused = [await create(till, as_=alice) for _ in range(3)]
    used = await create(till, as_=alice)
    await wallet.take(used["lnurl"], invoice_of(till, 5_000))
    lasts_s = TransferRules().withdrawal_s_default
    till.clock.advance(lasts_s + FORGOTTEN_AFTER.total_seconds() - 1)
    await create(till, as_=alice)
    kept = len(await till.rows("withdrawal"))

    till.clock.advance(1)
    newest = await create(till, as_=alice)

    rows = {row["id"] for row in await till.rows("withdrawal")}
    assert kept == 5
    assert rows.isdisjoint(one["id"] for one in unused)
    assert {used["id"], newest["id"]} < rows
    assert await wallet.take(unused[0]["lnurl"], invoice_of(till)) == {
        "status": "ERROR",
        "reason": "this code is unknown or has expired; have a new one shown",
    }
