"""A database with sales in it, of two merchants, and the command line over it."""

import asyncio
import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from quittance.domain.event import EventKind
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
from quittance.server.cli import app
from quittance.store import ledger, merchants, options, payments, settlements
from quittance.store.database import open_database
from quittance.store.models import Row
from quittance.store.statement import Statement
from quittance.store.transaction import EventDraft, Transaction

ROWS = 2_500
BEGAN = datetime(2026, 3, 1, tzinfo=UTC)
OTHER = MerchantId("mer_" + "1" * 32)
DESCRIPTIONS = (
    '=HYPERLINK("http://x", "y")', "+1", "-1+1", "@SUM(A1)", "\t=1", "'quoted", 'a, "b"\r\nc', "é 雪 🧾", "", None,
    "plain",
)  # fmt: skip
INTEGERS = {"amount_value", "received_value", "asset_scale", "line", "value", "position"}


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


def from_csv(written: str) -> list[dict[str, Any]]:
    """Read as a program would that knows the columns, with an apostrophe taken away from the front of each text."""
    reader = csv.DictReader(io.StringIO(written, newline=""))
    return [{name: _cell(name, text) for name, text in row.items()} for row in reader]


def _cell(name: str, text: str) -> Any:
    if text == "":
        return None
    return int(text) if name in INTEGERS else text.removeprefix("'")
