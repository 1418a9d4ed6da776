"""`quittance export` and `quittance ledger verify`: on both databases, by the thousand, and cut short."""

import asyncio
import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from typer.testing import CliRunner

from quittance.domain.event import EventKind
from quittance.domain.export import ExportFilter, ExportKind
from quittance.domain.ids import (
    BOOTSTRAP_MERCHANT,
    EVENT,
    LEDGER_TRANSACTION,
    OPTION,
    PAYMENT,
    SETTLEMENT,
    MerchantId,
    OptionId,
    PaymentId,
    SettlementId,
    new_id,
)
from quittance.domain.ledger import entries_of_settlement
from quittance.domain.money import msat
from quittance.domain.payment import OptionState, Payment, PaymentOption, PaymentPurpose, PaymentStatus
from quittance.domain.policy import Decision, Disposition, Merchant, SettlementPolicy
from quittance.resolvers.exports import export_pages
from quittance.server.cli import app
from quittance.store import ledger, merchants, options, payments, settlements
from quittance.store.database import open_database
from quittance.store.models import Row
from quittance.store.statement import Statement
from quittance.store.transaction import EventDraft, Transaction

QUITTANCE = Path(sys.executable).with_name("quittance")
ROWS = 2_500
BEGAN = datetime(2026, 3, 1, tzinfo=UTC)
OTHER = MerchantId("mer_" + "1" * 32)
DESCRIPTIONS = (
    '=HYPERLINK("http://x", "y")', "+1", "-1+1", "@SUM(A1)", "\t=1", "'quoted", 'a, "b"\r\nc', "é 雪 🧾", "", None,
    "plain",
)  # fmt: skip
INTEGERS = {"amount_value", "received_value", "asset_scale", "line", "value", "position"}
COLUMNS = {
    "payments": "id merchant_id status status_reason purpose provider amount_value received_value asset_code "
    "asset_scale article_id description correlation_id refund_address created_at modified_at expires_at settled_at",
    "settlements": "id merchant_id payment_id option_id provider reference amount_value asset_code asset_scale "
    "disposition settled_at booked_at",
    "entries": "transaction_id line account_id kind owner value asset_code asset_scale settlement_id posted_at",
    "events": "position id kind merchant_id payment_id article_id subject_id status occurred_at",
}
KEYS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "payments": lambda row: row["id"],
    "settlements": lambda row: row["id"],
    "entries": lambda row: (row["transaction_id"], row["line"]),
    "events": lambda row: row["position"],
}


def at(n: int) -> datetime:
    return BEGAN + timedelta(seconds=n, microseconds=n)


def merchant_of(n: int) -> MerchantId:
    return OTHER if n % 5 == 0 else BOOTSTRAP_MERCHANT


def identified(prefix: str, n: int) -> str:
    return new_id(prefix, at=at(n), entropy=n.to_bytes(10, "big"))


def add_sale(transaction: Transaction, n: int) -> None:
    """Add one complete payment with everything that belongs to it."""
    merchant_id, amount = merchant_of(n), msat(2**62 // ROWS + n)
    payment = Payment(
        id=PaymentId(identified(PAYMENT, n)),
        merchant_id=merchant_id,
        viewer="",
        status=PaymentStatus.COMPLETE,
        status_reason=None,
        purpose=PaymentPurpose.ORDER,
        provider="lnd",
        amount=amount,
        received=amount,
        article_id=None,
        description=DESCRIPTIONS[n % len(DESCRIPTIONS)],
        correlation_id=f"order {n}",
        refund_address=None,
        expires_in_s=600,
        created_at=at(n),
        modified_at=at(n),
        expires_at=at(n + 600),
        settled_at=at(n),
    )
    option = PaymentOption(
        id=OptionId(identified(OPTION, n)),
        payment_id=payment.id,
        provider="lnd",
        state=OptionState.SETTLED,
        reference=f"{n:064x}",
        amount=amount,
        payment_request=None,
        created_at=at(n),
        expires_at=at(n + 600),
    )
    booked = settlements.BookedSettlement(
        id=SettlementId(identified(SETTLEMENT, n)),
        merchant_id=merchant_id,
        provider="lnd",
        reference=option.reference,
        payment_id=payment.id,
        option_id=option.id,
        received=amount,
        disposition=Disposition.ACCEPTED,
        settled_at=at(n),
        booked_at=at(n),
    )
    decision = Decision(disposition=booked.disposition, accepted=amount, refundable=msat(0), completes=True)
    payments.insert_payment(transaction, payment)
    options.insert_option(transaction, option, claimed_until=at(n), check_at=at(n))
    settlements.insert_settlement(transaction, booked)
    ledger.post(
        transaction,
        entries_of_settlement(provider="lnd", merchant_id=merchant_id, received=amount, decision=decision),
        transaction_id=identified(LEDGER_TRANSACTION, n),
        settlement_id=booked.id,
        at=at(n),
    )
    transaction.emit(
        EventDraft(kind=EventKind.PAYMENT_SETTLED, merchant_id=merchant_id, payment_id=payment.id, status="COMPLETE")
    )


class Books:
    """A database with sales in it, and the command line over it."""

    def __init__(self, url: str, home: Path) -> None:
        self.url = url
        self.home = home

    def run(self, *words: str) -> Any:
        return CliRunner().invoke(app, [*words, "--database-url", self.url])

    def use(self, work: Callable[[Any], Any]) -> Any:
        """Run a coroutine function on the open database."""

        async def used() -> Any:
            ids = iter(range(10**9))
            database = open_database(self.url, now=lambda: at(0), new_event_id=lambda: identified(EVENT, next(ids)))
            try:
                return await work(database)
            finally:
                await database.close()

        return asyncio.run(used())

    def sell(self, *, sales: int) -> None:
        def unit(transaction: Transaction) -> None:
            for merchant_id in (BOOTSTRAP_MERCHANT, OTHER):
                merchants.insert_merchant(
                    transaction,
                    Merchant(
                        id=merchant_id,
                        name="Shop",
                        default_provider="lnd",
                        policy=SettlementPolicy(),
                        created_at=BEGAN,
                    ),
                )
            for n in range(sales):
                add_sale(transaction, n)

        self.use(lambda database: database.write(unit))

    def stored(self, table: str) -> list[dict[str, Any]]:
        columns = Row.metadata.tables[table]
        statement = Statement(lambda _: select(*columns.c))
        names = [column.name for column in columns.c]
        found = self.use(lambda database: database.scan(lambda t: t.all(statement)))
        return [dict(zip(names, row, strict=True)) for row in found]

    def sabotage(self, change: Any) -> None:
        statement = Statement(lambda _: change)
        assert self.use(lambda database: database.write(lambda t: t.execute(statement))) > 0


@pytest.fixture
def new_books(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Books]:
    monkeypatch.setenv("QUITTANCE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)

    def make(sales: int = 12) -> Books:
        made = Books(database_url, tmp_path)
        made.sell(sales=sales)
        return made

    return make


def microseconds(text: str | None) -> int | None:
    if text is None:
        return None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", text), text
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def from_csv(written: str) -> list[dict[str, Any]]:
    """Read as a program would that knows the columns, with an apostrophe taken away from the front of each text."""
    reader = csv.DictReader(io.StringIO(written, newline=""))
    return [{name: _cell(name, text) for name, text in row.items()} for row in reader]


def _cell(name: str, text: str) -> Any:
    if text == "":
        return None
    return int(text) if name in INTEGERS else text.removeprefix("'")


def from_jsonl(written: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.split("\n")[:-1]]


def as_stored(what: str, row: dict[str, Any], books_by_id: dict[str, Any]) -> dict[str, Any]:
    """Return an exported row as its table holds it."""
    plain = {f"{name}_us" if name.endswith("_at") else name: value for name, value in row.items()}
    for name in [name for name in plain if name.endswith("_at_us")]:
        plain[name] = microseconds(plain[name])
    if what == "settlements":
        assert plain.pop("merchant_id") == books_by_id[plain["payment_id"]]["merchant_id"]
    if what == "entries":
        account = books_by_id[plain["account_id"]]
        assert {name: plain.pop(name) for name in ("kind", "owner", "asset_code", "asset_scale")} == {
            name: account[name] for name in ("kind", "owner", "asset_code", "asset_scale")
        }
    return plain


TABLES = {"payments": "payment", "settlements": "settlement", "entries": "ledger_entry", "events": "event"}


def test_2500_sales_stream_in_order_and_both_formats_give_back_what_is_stored(new_books: Any) -> None:
    books = new_books(ROWS)
    by_id = {row["id"]: row for table in ("payment", "ledger_account") for row in books.stored(table)}

    for what, table in TABLES.items():
        as_csv = books.run("export", what)
        as_jsonl = books.run("export", what, "--format", "jsonl", "--output", "out.jsonl")
        stored = sorted(books.stored(table), key=KEYS[what])

        assert (as_csv.exit_code, as_jsonl.exit_code, as_jsonl.stdout) == (0, 0, ""), as_csv.stderr
        assert as_csv.stdout_bytes.decode().split("\r\n", 1)[0].replace('"', "") == COLUMNS[what].replace(" ", ",")
        read_csv = from_csv(as_csv.stdout_bytes.decode())
        read_jsonl = from_jsonl((books.home / "out.jsonl").read_text(encoding="utf-8"))
        assert len(read_jsonl) == (2 * ROWS if what == "entries" else ROWS)
        assert list(read_jsonl[0]) == COLUMNS[what].split()
        exact = [as_stored(what, row, by_id) for row in read_jsonl]
        names = set(exact[0])
        assert exact == [{name: row[name] for name in row if name in names} for row in stored]
        assert read_csv == [{name: None if cell == "" else cell for name, cell in row.items()} for row in read_jsonl]
        assert re.fullmatch(
            rf"exported {len(stored):,} {what} in \d+\.\d s, [\d,]+ a second\n",
            as_csv.stderr.split("migrating …\n")[-1],
        )


def test_rows_come_in_pages_that_do_not_grow(new_books: Any) -> None:
    books = new_books(ROWS)

    async def sizes(database: Any) -> list[int]:
        class Offline:
            def __init__(self) -> None:
                self.database = database

            def now(self) -> datetime:
                return at(ROWS)

        offline: Any = Offline()
        return [len(page) async for page in export_pages(offline, ExportKind.ENTRIES, ExportFilter())]

    assert books.use(sizes) == [1_000] * 5


def test_no_cell_is_a_formula(new_books: Any) -> None:
    written = new_books(len(DESCRIPTIONS)).run("export", "payments").stdout_bytes.decode()

    assert '"\'=HYPERLINK(""http://x"", ""y"")"' in written
    texts = [cell for row in csv.reader(io.StringIO(written, newline="")) for cell in row]
    assert [text for text in texts if text.startswith(("=", "+", "-", "@", "\t", "\r"))] == []
    empty, absent = (written.split(f'"order {n}"')[0].split("\r\n")[-1] for n in (8, 9))
    assert empty.endswith(',"",')
    assert absent.endswith(",,")


def test_negative_amounts_stay_numbers(new_books: Any) -> None:
    written = new_books(1).run("export", "entries").stdout

    amount = 2**62 // ROWS
    assert f",-{amount}," in written
    assert f",{amount}," in written


def test_export_is_narrowed_to_a_merchant_and_a_time(new_books: Any) -> None:
    books = new_books(20)

    def ns(*words: str) -> list[int]:
        told = books.run("export", "payments", "--format", "jsonl", *words)
        assert told.exit_code == 0, told.stderr
        return [int(row["correlation_id"].removeprefix("order ")) for row in from_jsonl(told.stdout)]

    since, until = "2026-03-01T00:00:05.000005Z", "2026-03-01T02:00:12.000012+02:00"
    assert ns() == list(range(20))
    assert ns("--since", since, "--until", until) == list(range(5, 12))
    assert ns("--merchant", OTHER) == [0, 5, 10, 15]
    assert ns("--merchant", OTHER, "--since", since) == [5, 10, 15]
    assert ns("--until", "2020-01-01T00:00:00Z") == []
    entries = books.run("export", "entries", "--format", "jsonl", "--merchant", OTHER)
    assert {row["owner"] for row in from_jsonl(entries.stdout)} == {OTHER}
    for what in ("settlements", "events"):
        told = from_jsonl(books.run("export", what, "--format", "jsonl", "--merchant", OTHER).stdout)
        assert [row["merchant_id"] for row in told] == [OTHER] * 4


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("invoices",), 2, "is not one of"),
        (("payments", "--format", "xml"), 2, "is not one of"),
        (("payments", "--since", "yesterday"), 2, "not a time such as"),
        (("payments", "--since", "2026-03-01T00:00:00"), 2, "say the time zone"),
        (("payments", "--since", "2026-03-02T00:00:00Z", "--until", "2026-03-02T00:00:00Z"), 2, "lies after"),
        (("payments", "--merchant", "mer_nobody"), 1, "quittance: no such merchant"),
        (("payments", "--output", "no/such/folder/out.csv"), 1, "quittance: cannot write no/such/folder/out.csv"),
        (("payments", "--output", "."), 1, "quittance: cannot write .: it is there and is no file"),
        (("payments", "--output", "/dev/null"), 1, "quittance: cannot write /dev/null: it is there and is no file"),
    ],
)
def test_what_cannot_be_exported_says_why(new_books: Any, words: tuple[str, ...], code: int, told: str) -> None:
    books = new_books(1)

    refused = books.run("export", *words)

    assert (refused.exit_code, refused.stdout) == (code, "")
    assert told in refused.stderr
    assert "exported" not in refused.stderr
    assert [path.name for path in books.home.iterdir() if path.suffix in {".csv", ".part"}] == []


def spawn(books: Books, *words: str, limit_kib: int | None = None) -> "subprocess.Popen[str]":
    command = [str(QUITTANCE), "export", *words, "--database-url", books.url]
    if limit_kib is not None:
        command = ["bash", "-c", f'ulimit -f {limit_kib}; exec "$@"', "bash", *command]
    return subprocess.Popen(
        command, cwd=books.home, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def leftovers(books: Books) -> list[str]:
    return [path.name for path in books.home.iterdir() if ".part" in path.name or path.name.startswith("out")]


def test_export_that_is_ended_leaves_the_earlier_file_and_no_half_one(new_books: Any) -> None:
    books = new_books(ROWS)
    (books.home / "out.csv").write_text("of yesterday")

    running = spawn(books, "events", "--output", "out.csv")
    deadline = time.monotonic() + 30
    while len(leftovers(books)) == 1 and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    assert len(leftovers(books)) == 2
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=30)

    assert (running.returncode, said.splitlines()[-1]) == (1, "quittance: interrupted")
    assert leftovers(books) == ["out.csv"]
    assert (books.home / "out.csv").read_text() == "of yesterday"


def test_disk_that_is_full_leaves_no_half_file(new_books: Any) -> None:
    books = new_books(ROWS)

    full = spawn(books, "payments", "--output", "out.csv", limit_kib=200)
    _, said = full.communicate(timeout=60)

    assert (full.returncode, said.splitlines()[-1]) == (1, "quittance: cannot write out.csv: File too large")
    assert leftovers(books) == []


def test_reader_who_has_seen_enough_ends_the_export_quietly(new_books: Any) -> None:
    books = new_books(ROWS)

    running = spawn(books, "payments")
    assert running.stdout is not None
    first = running.stdout.readline()
    running.stdout.close()
    assert running.stderr is not None
    said = running.stderr.read()
    running.stderr.close()

    assert running.wait(timeout=30) == 1
    assert first.startswith('"id","merchant_id"')
    assert "Traceback" not in said


def test_books_that_agree_are_verified(new_books: Any) -> None:
    verified = new_books(1_200).run("ledger", "verify")

    assert (verified.exit_code, verified.stdout) == (
        0,
        "checked 1,200 transactions, 3 accounts, 1,200 settlements, 1,200 payments: all agree\n",
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
    assert lines[-1] == "checked 12 transactions, 3 accounts, 12 settlements, 12 payments: 5 differ"


def test_empty_books_agree_and_export_their_heads(new_books: Any) -> None:
    books = new_books(0)

    assert books.run("ledger", "verify").stdout == (
        "checked 0 transactions, 0 accounts, 0 settlements, 0 payments: all agree\n"
    )
    assert books.run("export", "events", "--format", "jsonl").stdout == ""
    assert from_csv(books.run("export", "events").stdout) == []
