"""`quittance export`: on both databases, by the thousand, in both formats."""

import csv
import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.e2e.sold_books import DESCRIPTIONS, OTHER, ROWS, at, from_csv

from quittance.domain.export import ExportFilter, ExportKind
from quittance.resolvers.exports import export_pages

COLUMNS = {
    "payments": "id merchant_id status status_reason purpose provider amount_value received_value asset_code "
    "asset_scale article_id description correlation_id refund_address created_at modified_at expires_at settled_at "
    "fiat_value fiat_code fiat_scale rate_value rate_spread_ppm rate_sources rate_observed_at",
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


def microseconds(text: str | None) -> int | None:
    if text is None:
        return None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", text), text
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


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
