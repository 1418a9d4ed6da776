"""addresses that payments bring along, and signatures with a public key

Revision: 0005
Follows: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("merchant") as merchant:
        merchant.add_column(sa.Column("notify_secret_version", sa.BigInteger(), server_default="0", nullable=False))
        merchant.add_column(sa.Column("notify_previous_secret_until_us", sa.BigInteger(), nullable=True))
    with op.batch_alter_table("payment") as payment:
        payment.add_column(sa.Column("notify_url", sa.Text(), nullable=True))
    with op.batch_alter_table("webhook_endpoint") as endpoint:
        endpoint.add_column(sa.Column("ed25519", sa.BigInteger(), server_default="0", nullable=False))
    with op.batch_alter_table("webhook_delivery") as delivery:
        delivery.add_column(sa.Column("url", sa.Text(), nullable=True))
        delivery.alter_column("endpoint_id", existing_type=sa.Text(), nullable=True)


def downgrade() -> None:
    # the version before knows no delivery without an endpoint
    op.execute(
        "DELETE FROM job WHERE kind = 'webhook.delivery' "
        "AND subject IN (SELECT id FROM webhook_delivery WHERE endpoint_id IS NULL)"
    )
    op.execute(
        "DELETE FROM webhook_attempt WHERE delivery_id IN (SELECT id FROM webhook_delivery WHERE endpoint_id IS NULL)"
    )
    op.execute("DELETE FROM webhook_delivery WHERE endpoint_id IS NULL")
    with op.batch_alter_table("webhook_delivery") as delivery:
        delivery.alter_column("endpoint_id", existing_type=sa.Text(), nullable=False)
        delivery.drop_column("url")
    with op.batch_alter_table("webhook_endpoint") as endpoint:
        endpoint.drop_column("ed25519")
    with op.batch_alter_table("payment") as payment:
        payment.drop_column("notify_url")
    with op.batch_alter_table("merchant") as merchant:
        merchant.drop_column("notify_previous_secret_until_us")
        merchant.drop_column("notify_secret_version")
