"""`quittance ledger verify`: what agrees, and every difference by its name."""

from typing import Any

from sqlalchemy import update
from tests.e2e.sold_books import ROWS, from_csv, identified

from quittance.domain.ids import BOOTSTRAP_MERCHANT, LEDGER_TRANSACTION, PAYMENT, SETTLEMENT
from quittance.domain.money import msat
from quittance.store.models import Row

NOTHING_OUT = "0 reservations, 0 transfers"


def test_books_that_agree_are_verified(new_books: Any) -> None:
    verified = new_books(1_200).run("ledger", "verify")

    assert (verified.exit_code, verified.stdout) == (
        0,
        f"checked 1,200 transactions, 3 accounts, 1,200 settlements, 1,200 payments, {NOTHING_OUT}: all agree\n",
    )


def test_every_difference_of_the_books_is_named_and_exits_with_1(new_books: Any) -> None:
    books = new_books(12)
    tables = Row.metadata.tables
    entry, account, payment = tables["ledger_entry"], tables["ledger_account"], tables["payment"]
    books.sabotage(
        update(entry)
        .where(entry.c.transaction_id == identified(LEDGER_TRANSACTION, 1), entry.c.line == 0)
        .values(value=entry.c.value + 1_000)
    )
    books.sabotage(update(entry).where(entry.c.settlement_id == identified(SETTLEMENT, 3)).values(settlement_id=None))
    books.sabotage(update(account).where(account.c.kind == "PROVIDER").values(balance_value=7_000))
    books.sabotage(update(payment).where(payment.c.id == identified(PAYMENT, 2)).values(received_value=None))

    verified = books.run("ledger", "verify")

    amounts = [2**62 // ROWS + n for n in range(12)]
    lines = verified.stdout.splitlines()
    assert verified.exit_code == 1
    assert [line.split()[0] for line in lines[:-1]] == [
        "LEDGER_UNBALANCED",
        "BALANCE_DRIFT",
        "BALANCE_DRIFT",
        "SETTLEMENT_NOT_IN_LEDGER",
        "PAYMENT_AND_SETTLEMENTS_DIFFER",
    ]
    assert f"transaction {identified(LEDGER_TRANSACTION, 1)} sums to 1 sat instead of zero" in lines[0]
    assert f"account MERCHANT/{BOOTSTRAP_MERCHANT}/BTC/11 says " in lines[1]
    assert f"account PROVIDER/lnd/BTC/11 says 7 sat, its entries sum to {msat(sum(amounts)).formatted}" in lines[2]
    assert f"settlement {identified(SETTLEMENT, 3)} is of {msat(amounts[3]).formatted}" in lines[3]
    assert "the ledger debits 0 sat to lnd" in lines[3]
    assert f"payment {identified(PAYMENT, 2)} says that it received 0 sat, its settlements" in lines[4]
    assert lines[-1] == f"checked 12 transactions, 3 accounts, 12 settlements, 12 payments, {NOTHING_OUT}: 5 differ"


def test_empty_books_agree_and_export_their_heads(new_books: Any) -> None:
    books = new_books(0)

    assert books.run("ledger", "verify").stdout == (
        f"checked 0 transactions, 0 accounts, 0 settlements, 0 payments, {NOTHING_OUT}: all agree\n"
    )
    assert books.run("export", "events", "--format", "jsonl").stdout == ""
    assert from_csv(books.run("export", "events").stdout) == []
