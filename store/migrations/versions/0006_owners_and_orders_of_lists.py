"""owners and orders of lists

Revision: 0006
Follows: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("settlement") as settlement:
        settlement.add_column(sa.Column("merchant_id", sa.Text(), nullable=True))
    op.execute(
        "UPDATE settlement SET merchant_id ="
        " (SELECT payment.merchant_id FROM payment WHERE payment.id = settlement.payment_id)"
    )
    with op.batch_alter_table("settlement") as settlement:
        settlement.alter_column("merchant_id", existing_type=sa.Text(), nullable=False)
        settlement.create_foreign_key(op.f("fk_settlement_merchant_id_merchant"), "merchant", ["merchant_id"], ["id"])
        settlement.create_index(op.f("ix_settlement_merchant_id_id"), ["merchant_id", "id"], unique=False)
    with op.batch_alter_table("ledger_entry") as ledger_entry:
        ledger_entry.create_index(
            op.f("ix_ledger_entry_account_id_posted_at_us_transaction_id_line"),
            ["account_id", "posted_at_us", "transaction_id", "line"],
            unique=False,
        )
        ledger_entry.drop_index(op.f("ix_ledger_entry_account_id"))
    op.execute(  # of deliveries of one event that wait together, the first goes on
        "UPDATE webhook_delivery SET state = 'CANCELED', ended_at_us = created_at_us"
        " WHERE state = 'PENDING' AND EXISTS (SELECT 1 FROM webhook_delivery AS earlier"
        " WHERE earlier.endpoint_id = webhook_delivery.endpoint_id"
        " AND earlier.event_position = webhook_delivery.event_position"
        " AND earlier.state = 'PENDING' AND earlier.id < webhook_delivery.id)"
    )
    with op.batch_alter_table("webhook_delivery") as webhook_delivery:
        webhook_delivery.create_index(
            op.f("ix_webhook_delivery_endpoint_id_state_id"), ["endpoint_id", "state", "id"], unique=False
        )
        webhook_delivery.create_index(
            "uq_webhook_delivery_pending",
            ["endpoint_id", "event_position"],
            unique=True,
            sqlite_where=sa.text("state = 'PENDING'"),
            postgresql_where=sa.text("state = 'PENDING'"),
        )
    with op.batch_alter_table("audit_entry") as audit_entry:
        for column in ("action", "actor_id", "subject_id"):
            audit_entry.create_index(
                op.f(f"ix_audit_entry_merchant_id_{column}_id"), ["merchant_id", column, "id"], unique=False
            )


def downgrade() -> None:
    with op.batch_alter_table("audit_entry") as audit_entry:
        for column in ("action", "actor_id", "subject_id"):
            audit_entry.drop_index(op.f(f"ix_audit_entry_merchant_id_{column}_id"))
    with op.batch_alter_table("webhook_delivery") as webhook_delivery:
        webhook_delivery.drop_index("uq_webhook_delivery_pending")
        webhook_delivery.drop_index(op.f("ix_webhook_delivery_endpoint_id_state_id"))
    with op.batch_alter_table("ledger_entry") as ledger_entry:
        ledger_entry.create_index(op.f("ix_ledger_entry_account_id"), ["account_id"], unique=False)
        ledger_entry.drop_index(op.f("ix_ledger_entry_account_id_posted_at_us_transaction_id_line"))
    with op.batch_alter_table("settlement") as settlement:
        settlement.drop_index(op.f("ix_settlement_merchant_id_id"))
        settlement.drop_constraint(op.f("fk_settlement_merchant_id_merchant"), type_="foreignkey")
        settlement.drop_column("merchant_id")
