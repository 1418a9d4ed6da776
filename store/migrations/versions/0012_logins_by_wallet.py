"""logins by wallet

Revision: 0012
Follows: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("account") as account:
        account.add_column(sa.Column("lnurl_key", sa.Text(), nullable=True))
        account.alter_column("identity_pubkey", existing_type=sa.Text(), nullable=True)
        account.create_unique_constraint(op.f("uq_account_lnurl_key"), ["lnurl_key"])
    op.execute(
        "UPDATE account SET lnurl_key = substr(identity_pubkey, 7), identity_pubkey = NULL "
        "WHERE substr(identity_pubkey, 1, 6) = 'lnurl:'"
    )  # what a downgrade has set aside
    op.create_table(
        "lnurl_login",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("k1_hash", sa.LargeBinary(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("username", sa.Text(), nullable=True),
        sa.Column("account_id", sa.Text(), nullable=True),
        sa.Column("lnurl_key", sa.Text(), nullable=True),
        sa.Column("expires_at_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_lnurl_login_account_id_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lnurl_login")),
        sa.UniqueConstraint("k1_hash", name=op.f("uq_lnurl_login_k1_hash")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_lnurl_login_secret_hash")),
    )
    op.create_index(op.f("ix_lnurl_login_expires_at_us"), "lnurl_login", ["expires_at_us"], unique=False)


def downgrade() -> None:
    op.drop_table("lnurl_login")
    op.execute("DELETE FROM event WHERE kind = 'login.signed'")
    # An account that only a wallet's key opens keeps its id, name and money; the earlier version cannot log it in.
    op.execute("UPDATE account SET identity_pubkey = 'lnurl:' || lnurl_key WHERE identity_pubkey IS NULL")
    with op.batch_alter_table("account") as account:
        account.drop_constraint(op.f("uq_account_lnurl_key"), type_="unique")
        account.alter_column("identity_pubkey", existing_type=sa.Text(), nullable=False)
        account.drop_column("lnurl_key")
