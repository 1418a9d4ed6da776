"""purchases of readers

Revision: 0009
Follows: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_ONE_VIEW = "purpose = 'VIEW' AND viewer <> merchant_id"


def upgrade() -> None:
    op.create_table(
        "reader_idempotency",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("payment_id", sa.Text(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_reader_idempotency_account_id_account")),
        sa.PrimaryKeyConstraint("account_id", "key", name=op.f("pk_reader_idempotency")),
    )
    with op.batch_alter_table("event") as event:
        event.add_column(sa.Column("account_id", sa.Text(), nullable=True))
        event.create_index(
            "ix_event_of_reader",
            ["account_id", "position"],
            unique=False,
            sqlite_where=sa.text("account_id IS NOT NULL"),
            postgresql_where=sa.text("account_id IS NOT NULL"),
        )
    op.create_index(
        "uq_payment_view_of_reader",
        "payment",
        ["article_id", "viewer"],
        unique=True,
        sqlite_where=sa.text(_ONE_VIEW),
        postgresql_where=sa.text(_ONE_VIEW),
    )


def downgrade() -> None:
    op.drop_index("uq_payment_view_of_reader", table_name="payment")
    with op.batch_alter_table("event") as event:
        event.drop_index("ix_event_of_reader")
        event.drop_column("account_id")
    op.drop_table("reader_idempotency")
