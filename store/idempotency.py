"""Idempotency records: what a key of a merchant or of a reader was first used for."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, select

from quittance.domain.ids import AccountId, MerchantId, PaymentId
from quittance.domain.text import is_storable
from quittance.store.models import IdempotencyRow, Row, table_of
from quittance.store.models_readers import ReaderIdempotencyRow
from quittance.store.statement import Statement, every_column
from quittance.store.transaction import Transaction, to_us


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstUse:
    fingerprint: bytes
    payment_id: PaymentId


class KeyBook:
    """The keys of owners of one kind; ``owner_column`` names whose a key is, and each owner has keys of its own."""

    def __init__(self, row: type[Row], *, owner_column: str) -> None:
        table = table_of(row)
        self._owner = owner_column
        self._insert = Statement(
            lambda d: (
                d.insert(table)
                .values(every_column(table))
                .on_conflict_do_nothing(index_elements=[owner_column, table.c.key.name])
            )
        )
        self._find = Statement(
            lambda _: select(table.c.fingerprint, table.c.payment_id).where(
                table.c[owner_column] == bindparam(owner_column), table.c.key == bindparam("key")
            )
        )

    def remember(
        self, transaction: Transaction, *, owner: MerchantId | AccountId, key: str, first_use: FirstUse, at: datetime
    ) -> FirstUse:
        """Bind the key to ``first_use``, or return what it was bound to before.

        On PostgreSQL a concurrent unit with the same key waits here for the other's commit, and then sees it.
        """
        added = transaction.execute(
            self._insert,
            {
                self._owner: owner,
                "key": key,
                "fingerprint": first_use.fingerprint,
                "payment_id": first_use.payment_id,
                "created_at_us": to_us(at),
            },
        )
        if added == 1:
            return first_use
        found = self.find(transaction, owner=owner, key=key)
        if found is None:
            raise RuntimeError("an idempotency record vanished between two statements")
        return found

    def find(self, transaction: Transaction, *, owner: MerchantId | AccountId, key: str) -> FirstUse | None:
        if not is_storable(key):
            return None
        row = transaction.first(self._find, {self._owner: owner, "key": key})
        return None if row is None else FirstUse(fingerprint=bytes(row[0]), payment_id=PaymentId(row[1]))


OF_MERCHANTS = KeyBook(IdempotencyRow, owner_column="merchant_id")
OF_READERS = KeyBook(ReaderIdempotencyRow, owner_column="account_id")
