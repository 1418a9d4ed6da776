"""readers

Revision: 0007
Follows: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "login_challenge",
        sa.Column("nonce_hash", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("nonce_hash", name=op.f("pk_login_challenge")),
    )
    op.create_index(op.f("ix_login_challenge_expires_at_us"), "login_challenge", ["expires_at_us"], unique=False)
    op.create_table(
        "account",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("username_key", sa.Text(), nullable=False),
        sa.Column("identity_pubkey", sa.Text(), nullable=False),
        sa.Column("lightning_address", sa.Text(), nullable=True),
        sa.Column("wallet_address", sa.Text(), nullable=True),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint("identity_pubkey", name=op.f("uq_account_identity_pubkey")),
        sa.UniqueConstraint("username_key", name=op.f("uq_account_username_key")),
    )
    op.create_table(
        "reader_session",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("last_used_at_us", sa.BigInteger(), nullable=True),
        sa.Column("expires_at_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_reader_session_account_id_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reader_session")),
    )
    op.create_index(op.f("ix_reader_session_account_id_id"), "reader_session", ["account_id", "id"], unique=False)
    op.create_index(op.f("ix_reader_session_prefix"), "reader_session", ["prefix"], unique=False)
    op.create_index(
        "ix_payment_of_reader",
        "payment",
        ["viewer", "id"],
        unique=False,
        sqlite_where=sa.text("viewer <> merchant_id"),
        postgresql_where=sa.text("viewer <> merchant_id"),
    )


def downgrade() -> None:
    op.drop_index("ix_payment_of_reader", table_name="payment")
    op.drop_table("reader_session")
    op.drop_table("account")
    op.drop_table("login_challenge")
