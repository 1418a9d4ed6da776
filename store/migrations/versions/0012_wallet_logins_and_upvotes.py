"""logins by wallet, and upvotes that are shared out

Revision: 0012
Follows: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
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

    op.create_table(
        "upvote",
        sa.Column("payment_id", sa.Text(), nullable=False),
        sa.Column("article_id", sa.Text(), nullable=False),
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=True),
        sa.Column("settlement_id", sa.Text(), nullable=False),
        sa.Column("asset_code", sa.Text(), nullable=False),
        sa.Column("asset_scale", sa.BigInteger(), nullable=False),
        sa.Column("sharers", sa.BigInteger(), nullable=False),
        sa.Column("share_value", sa.BigInteger(), nullable=False),
        sa.Column("remainder_value", sa.BigInteger(), nullable=False),
        sa.Column("voters_before", sa.BigInteger(), nullable=False),
        sa.Column("posted_place", sa.BigInteger(), nullable=False),
        sa.Column("posted_count", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("completed_at_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["article_id"], ["article.id"], name=op.f("fk_upvote_article_id_article")),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchant.id"], name=op.f("fk_upvote_merchant_id_merchant")),
        sa.ForeignKeyConstraint(["payment_id"], ["payment.id"], name=op.f("fk_upvote_payment_id_payment")),
        sa.ForeignKeyConstraint(["settlement_id"], ["settlement.id"], name=op.f("fk_upvote_settlement_id_settlement")),
        sa.PrimaryKeyConstraint("payment_id", name=op.f("pk_upvote")),
    )
    op.create_index(
        "ix_upvote_splitting",
        "upvote",
        ["merchant_id"],
        unique=False,
        sqlite_where=sa.text("state = 'SPLITTING'"),
        postgresql_where=sa.text("state = 'SPLITTING'"),
    )
    op.create_table(
        "upvoter",
        sa.Column("article_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["article_id"], ["article.id"], name=op.f("fk_upvoter_article_id_article")),
        sa.PrimaryKeyConstraint("article_id", "account_id", name=op.f("pk_upvoter")),
    )
    op.create_index(op.f("ix_upvoter_article_id_place"), "upvoter", ["article_id", "place"], unique=True)


def downgrade() -> None:
    # The earlier version knows no account of this kind: what is not shared out is the merchant's again.
    op.execute("DELETE FROM job WHERE kind = 'upvote.split'")
    op.execute(
        "INSERT INTO ledger_account (id, kind, owner, asset_code, asset_scale, balance_value) "
        "SELECT 'MERCHANT' || substr(id, 6), 'MERCHANT', owner, asset_code, asset_scale, 0 "
        "FROM ledger_account WHERE kind = 'SPLIT' ON CONFLICT (id) DO NOTHING"
    )
    op.execute(
        "UPDATE ledger_account SET balance_value = ledger_account.balance_value + aside.balance_value "
        "FROM ledger_account AS aside "
        "WHERE aside.kind = 'SPLIT' AND ledger_account.id = 'MERCHANT' || substr(aside.id, 6)"
    )
    op.execute(
        "UPDATE ledger_entry SET account_id = 'MERCHANT' || substr(account_id, 6) "
        "WHERE substr(account_id, 1, 6) = 'SPLIT/'"
    )
    op.execute("DELETE FROM ledger_account WHERE kind = 'SPLIT'")
    op.drop_table("upvoter")
    op.drop_table("upvote")
    op.drop_table("lnurl_login")
    op.execute("DELETE FROM event WHERE kind = 'login.signed'")
    # An account that only a wallet's key opens keeps its id, name and money; the earlier version cannot log it in.
    op.execute("UPDATE account SET identity_pubkey = 'lnurl:' || lnurl_key WHERE identity_pubkey IS NULL")
    with op.batch_alter_table("account") as account:
        account.drop_constraint(op.f("uq_account_lnurl_key"), type_="unique")
        account.alter_column("identity_pubkey", existing_type=sa.Text(), nullable=False)
        account.drop_column("lnurl_key")
