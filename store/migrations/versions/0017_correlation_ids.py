"""correlation ids that are used once, and notices to shops

Revision: 0017
Follows: 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("merchant") as merchant:
        merchant.add_column(sa.Column("unique_correlation_ids", sa.BigInteger(), server_default="0", nullable=False))
    with op.batch_alter_table("payment") as payment:
        payment.add_column(sa.Column("notify_format", sa.Text(), server_default="EVENTS", nullable=False))
    op.create_table(
        "correlation_id",
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("correlation_id", sa.Text(), nullable=False),
        sa.Column("payment_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchant.id"], name=op.f("fk_correlation_id_merchant_id_merchant")),
        sa.PrimaryKeyConstraint("merchant_id", "correlation_id", name=op.f("pk_correlation_id")),
    )
    op.create_table(
        "given_invoice",
        sa.Column("payment_id", sa.Text(), nullable=False),
        sa.Column("payment_request", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["payment_id"], ["payment.id"], name=op.f("fk_given_invoice_payment_id_payment")),
        sa.PrimaryKeyConstraint("payment_id", name=op.f("pk_given_invoice")),
    )
    op.execute(
        "INSERT INTO correlation_id (merchant_id, correlation_id, payment_id) "
        "SELECT merchant_id, correlation_id, MIN(id) FROM payment "
        "WHERE correlation_id IS NOT NULL GROUP BY merchant_id, correlation_id"
    )


def downgrade() -> None:
    op.drop_table("given_invoice")
    op.drop_table("correlation_id")
    # the version before would send its own events where a shop wants one notice, and may not call that address
    op.execute(
        "UPDATE webhook_delivery SET state = 'CANCELED', ended_at_us = created_at_us WHERE state = 'PENDING' "
        "AND endpoint_id IS NULL AND payment_id IN (SELECT id FROM payment WHERE notify_format <> 'EVENTS')"
    )
    op.execute("UPDATE payment SET notify_url = NULL WHERE notify_format <> 'EVENTS'")
    with op.batch_alter_table("payment") as payment:
        payment.drop_column("notify_format")
    with op.batch_alter_table("merchant") as merchant:
        merchant.drop_column("unique_correlation_ids")
