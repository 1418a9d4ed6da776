"""names that merchants are paid by, and what invoices are bound to

Revision: 0010
Follows: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("payment") as payment:
        payment.add_column(sa.Column("described_by", sa.Text(), nullable=True))
    op.create_table(
        "lightning_name",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("in_use", sa.BigInteger(), nullable=False),
        sa.Column("taken_at_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchant.id"], name=op.f("fk_lightning_name_merchant_id_merchant")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lightning_name")),
    )
    op.create_index(op.f("ix_lightning_name_merchant_id"), "lightning_name", ["merchant_id"], unique=False)
    op.create_index(
        "uq_lightning_name_in_use",
        "lightning_name",
        ["merchant_id"],
        unique=True,
        sqlite_where=sa.text("in_use = 1"),
        postgresql_where=sa.text("in_use = 1"),
    )


def downgrade() -> None:
    op.drop_table("lightning_name")
    with op.batch_alter_table("payment") as payment:
        payment.drop_column("described_by")
