"""withdrawals by a code

Revision: 0013
Follows: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "withdrawal",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("k1_hash", sa.LargeBinary(), nullable=False),
        sa.Column("owner_id", sa.Text(), nullable=False),
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("amount_msat_max", sa.BigInteger(), nullable=True),
        sa.Column("payout_id", sa.Text(), nullable=True),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchant.id"], name=op.f("fk_withdrawal_merchant_id_merchant")),
        sa.ForeignKeyConstraint(["payout_id"], ["transfer.id"], name=op.f("fk_withdrawal_payout_id_transfer")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_withdrawal")),
        sa.UniqueConstraint("k1_hash", name=op.f("uq_withdrawal_k1_hash")),
        sa.UniqueConstraint("payout_id", name=op.f("uq_withdrawal_payout_id")),
    )
    op.create_index(
        "ix_withdrawal_unused",
        "withdrawal",
        ["expires_at_us"],
        unique=False,
        sqlite_where=sa.text("payout_id IS NULL"),
        postgresql_where=sa.text("payout_id IS NULL"),
    )


def downgrade() -> None:
    # Codes stop to work; payouts that were begun with one stay as they are. The earlier version cannot read the action.
    op.execute("DELETE FROM audit_entry WHERE action = 'WITHDRAWAL_CREATED'")
    op.drop_index("ix_withdrawal_unused", table_name="withdrawal")
    op.drop_table("withdrawal")
