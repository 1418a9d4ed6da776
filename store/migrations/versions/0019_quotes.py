"""invoices whose quotes lapse before they do, and what payers note

Revision: 0019
Follows: 0018
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("payment_option", sa.Column("payable_until_us", sa.BigInteger(), nullable=True))
    op.create_table(
        "payer_note",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("noted_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("provider", "reference", name=op.f("pk_payer_note")),
    )


def downgrade() -> None:
    op.drop_table("payer_note")
    op.drop_column("payment_option", "payable_until_us")
