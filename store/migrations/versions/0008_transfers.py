"""transfers

Revision: 0008
Follows: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_NOT_FAILED = sa.text("state <> 'FAILED'")


def upgrade() -> None:
    op.create_table(
        "transfer",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.Text(), nullable=False),
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("payment_id", sa.Text(), nullable=True),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_reason", sa.Text(), nullable=True),
        sa.Column("amount_value", sa.BigInteger(), nullable=False),
        sa.Column("fee_max_value", sa.BigInteger(), nullable=False),
        sa.Column("from_refundable_value", sa.BigInteger(), nullable=False),
        sa.Column("fee_from_amount", sa.BigInteger(), nullable=False),
        sa.Column("fee_value", sa.BigInteger(), nullable=True),
        sa.Column("asset_code", sa.Text(), nullable=False),
        sa.Column("asset_scale", sa.BigInteger(), nullable=False),
        sa.Column("destination_kind", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("payment_hash", sa.Text(), nullable=True),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("modified_at_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_at_us", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchant.id"], name=op.f("fk_transfer_merchant_id_merchant")),
        sa.ForeignKeyConstraint(["payment_id"], ["payment.id"], name=op.f("fk_transfer_payment_id_payment")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transfer")),
        sa.UniqueConstraint("owner_id", "idempotency_key", name=op.f("uq_transfer_owner_id_idempotency_key")),
    )
    op.create_index(op.f("ix_transfer_owner_id_purpose_id"), "transfer", ["owner_id", "purpose", "id"], unique=False)
    op.create_index(op.f("ix_transfer_payment_id_id"), "transfer", ["payment_id", "id"], unique=False)
    op.create_index(op.f("ix_transfer_merchant_id_id"), "transfer", ["merchant_id", "id"], unique=False)
    not_ended = sa.text("state <> 'FAILED' AND state <> 'SUCCEEDED'")
    op.create_index(
        "ix_transfer_open",
        "transfer",
        ["owner_id"],
        unique=False,
        sqlite_where=not_ended,
        postgresql_where=not_ended,
    )
    _unless_failed("uq_transfer_payment_hash", "transfer", ["payment_hash"])
    op.create_table(
        "transfer_attempt",
        sa.Column("transfer_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("payment_request", sa.Text(), nullable=True),
        sa.Column("expires_at_us", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("fee_value", sa.BigInteger(), nullable=True),
        sa.Column("asset_code", sa.Text(), nullable=False),
        sa.Column("asset_scale", sa.BigInteger(), nullable=False),
        sa.Column("success_action", sa.Text(), nullable=True),
        sa.Column("begun_at_us", sa.BigInteger(), nullable=False),
        sa.Column("asked_at_us", sa.BigInteger(), nullable=True),
        sa.Column("ended_at_us", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["transfer_id"], ["transfer.id"], name=op.f("fk_transfer_attempt_transfer_id_transfer")
        ),
        sa.PrimaryKeyConstraint("transfer_id", "number", name=op.f("pk_transfer_attempt")),
    )
    op.create_index(
        op.f("ix_transfer_attempt_provider_reference"), "transfer_attempt", ["provider", "reference"], unique=False
    )
    _unless_failed("uq_transfer_attempt_live", "transfer_attempt", ["transfer_id"])
    _unless_failed("uq_transfer_attempt_reference", "transfer_attempt", ["provider", "reference"])
    op.create_table(
        "refund_total",
        sa.Column("payment_id", sa.Text(), nullable=False),
        sa.Column("received_value", sa.BigInteger(), nullable=False),
        sa.Column("refundable_value", sa.BigInteger(), nullable=False),
        sa.Column("refunded_value", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "refunded_value >= 0 AND refunded_value <= received_value", name=op.f("ck_refund_total_not_more_than_came")
        ),
        sa.CheckConstraint("refundable_value >= 0", name=op.f("ck_refund_total_owed")),
        sa.ForeignKeyConstraint(["payment_id"], ["payment.id"], name=op.f("fk_refund_total_payment_id_payment")),
        sa.PrimaryKeyConstraint("payment_id", name=op.f("pk_refund_total")),
    )
    op.add_column("ledger_entry", sa.Column("transfer_id", sa.Text(), nullable=True))
    op.create_index(op.f("ix_ledger_entry_transfer_id"), "ledger_entry", ["transfer_id"], unique=False)
    op.execute(_OWED_SO_FAR)


def downgrade() -> None:
    _refuse_while_money_is_on_its_way()
    op.execute("DELETE FROM job WHERE kind IN ('transfer', 'refund.policy')")
    op.execute(
        "DELETE FROM audit_entry WHERE action IN ('PAYMENT_REFUNDED', 'PAYOUT_REQUESTED', 'DESTINATION_REFUSED')"
    )
    _give_reservations_to_their_owners()
    op.drop_index(op.f("ix_ledger_entry_transfer_id"), table_name="ledger_entry")
    op.drop_column("ledger_entry", "transfer_id")
    op.drop_table("refund_total")
    op.drop_table("transfer_attempt")
    op.drop_table("transfer")


def _refuse_while_money_is_on_its_way() -> None:
    """The earlier version would forget what may still leave.

    Raises:
        RuntimeError: some transfers have not ended.
    """
    still = "SELECT count(*) FROM transfer WHERE state NOT IN ('SUCCEEDED', 'FAILED')"
    if (count := op.get_bind().execute(sa.text(still)).scalar_one()) > 0:
        raise RuntimeError(f"{count} refunds or payouts have not ended; let them end first")


def _give_reservations_to_their_owners() -> None:
    """The earlier version knows no account of this kind; each holds nothing, as no transfer is open."""
    op.execute(
        "INSERT INTO ledger_account (id, kind, owner, asset_code, asset_scale, balance_value) "
        "SELECT kept.kind || substr(kept.id, 9), kept.kind, kept.owner, kept.asset_code, kept.asset_scale, 0 FROM ("
        "SELECT CASE WHEN substr(id, 10, 4) = 'acc_' THEN 'READER' ELSE 'MERCHANT' END AS kind, "
        "id, owner, asset_code, asset_scale FROM ledger_account WHERE kind = 'RESERVED') AS kept "
        "WHERE TRUE ON CONFLICT (id) DO NOTHING"
    )
    op.execute(
        "UPDATE ledger_entry SET account_id = "
        "CASE WHEN substr(account_id, 10, 4) = 'acc_' THEN 'READER' ELSE 'MERCHANT' END || substr(account_id, 9) "
        "WHERE substr(account_id, 1, 9) = 'RESERVED/'"
    )
    op.execute("DELETE FROM ledger_account WHERE kind = 'RESERVED'")


_OWED_SO_FAR = """
INSERT INTO refund_total (payment_id, received_value, refundable_value, refunded_value)
SELECT payment.id, payment.received_value, -SUM(ledger_entry.value), 0
FROM ledger_entry
JOIN ledger_account ON ledger_account.id = ledger_entry.account_id AND ledger_account.kind = 'REFUNDABLE'
JOIN settlement ON settlement.id = ledger_entry.settlement_id
JOIN payment ON payment.id = settlement.payment_id
GROUP BY payment.id, payment.received_value
"""


def _unless_failed(name: str, table: str, columns: list[str]) -> None:
    """Make an index in which a value stands once among rows that have not failed."""
    op.create_index(name, table, columns, unique=True, sqlite_where=_NOT_FAILED, postgresql_where=_NOT_FAILED)
