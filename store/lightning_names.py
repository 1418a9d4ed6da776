"""The names that merchants are paid by. One that was taken once never goes to another merchant."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import bindparam, select, update

from quittance.domain.ids import MerchantId
from quittance.domain.text import is_storable
from quittance.store.by_key import one_by_id
from quittance.store.models import table_of
from quittance.store.models_payees import LightningNameRow
from quittance.store.statement import BatchStatement, Statement, every_column
from quittance.store.transaction import Transaction, to_us

_NAME = table_of(LightningNameRow)

_INSERT = Statement(lambda d: d.insert(_NAME).values(every_column(_NAME)).on_conflict_do_nothing())
_BY_NAME = Statement(
    lambda _: select(_NAME.c.merchant_id).where(_NAME.c.name == bindparam("name"), _NAME.c.in_use == 1)
)
_OF_MERCHANTS = BatchStatement(
    lambda _, keys: select(_NAME.c.merchant_id, _NAME.c.name).where(_NAME.c.merchant_id.in_(keys), _NAME.c.in_use == 1)
)
_EVER = Statement(
    lambda _: select(_NAME.c.name).where(_NAME.c.merchant_id == bindparam("merchant_id")).order_by(_NAME.c.name)
)
_SET_CURRENT = Statement(
    lambda _: (
        update(_NAME)
        .where(_NAME.c.name == bindparam("taken_name"), _NAME.c.merchant_id == bindparam("of_merchant_id"))
        .values(in_use=1)
    )
)
_RELEASE = Statement(
    lambda _: (
        update(_NAME).where(_NAME.c.merchant_id == bindparam("of_merchant_id"), _NAME.c.in_use == 1).values(in_use=0)
    )
)


def names_of_merchants(transaction: Transaction, ids: Sequence[MerchantId]) -> list[str | None]:
    """Return the name that each merchant is paid by now, one entry per id, in order."""
    return one_by_id(transaction, _OF_MERCHANTS, ids, lambda row: str(row[1]))


def merchant_named(transaction: Transaction, name: str) -> MerchantId | None:
    """Return who is paid by this name now."""
    row = transaction.first(_BY_NAME, {"name": name}) if is_storable(name) else None
    return None if row is None else MerchantId(row[0])


def names_ever_of(transaction: Transaction, merchant_id: MerchantId) -> list[str]:
    """Return the names that are this merchant's for ever, whether it is paid by them now or not."""
    return [str(row[0]) for row in transaction.all(_EVER, {"merchant_id": merchant_id})]


def take_name(transaction: Transaction, merchant_id: MerchantId, name: str, *, at: datetime) -> bool:
    """Let a merchant be paid by this name alone; False when another had it first. Call it with the merchant locked."""
    release_name(transaction, merchant_id)
    taken = {"name": name, "merchant_id": merchant_id, "in_use": 0, "taken_at_us": to_us(at)}
    transaction.execute(_INSERT, taken)
    return transaction.execute(_SET_CURRENT, {"taken_name": name, "of_merchant_id": merchant_id}) == 1


def release_name(transaction: Transaction, merchant_id: MerchantId) -> None:
    """Let a merchant be paid by no name. Call it with the merchant locked."""
    transaction.execute(_RELEASE, {"of_merchant_id": merchant_id})
