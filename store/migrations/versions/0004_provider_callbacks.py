"""callbacks of providers

Revision: 0004
Follows: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "provider_callback",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("payment_id", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("received_at_us", sa.BigInteger(), nullable=False),
        sa.Column("processed_at_us", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["payment_id"], ["payment.id"], name=op.f("fk_provider_callback_payment_id_payment")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provider_callback")),
        sa.UniqueConstraint("provider", "event_id", name=op.f("uq_provider_callback_provider_event_id")),
    )
    op.create_table(
        "provider_callback_body",
        sa.Column("callback_id", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["callback_id"],
            ["provider_callback.id"],
            name=op.f("fk_provider_callback_body_callback_id_provider_callback"),
        ),
        sa.PrimaryKeyConstraint("callback_id", name=op.f("pk_provider_callback_body")),
    )


def downgrade() -> None:
    op.execute("DELETE FROM job WHERE kind = 'provider.callback'")  # which no older version can read
    op.drop_table("provider_callback_body")
    op.drop_table("provider_callback")
