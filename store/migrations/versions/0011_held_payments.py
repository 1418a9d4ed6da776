"""held payments

Revision: 0011
Follows: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("payment") as payment:
        payment.add_column(sa.Column("hold", sa.BigInteger(), server_default="0", nullable=False))
        payment.add_column(sa.Column("hold_expires_at_us", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    # the version before knows no state of an attempt that holds money; as an open one it is still looked up
    op.execute("UPDATE payment_option SET state = 'OPEN' WHERE state = 'HELD'")
    op.execute("UPDATE payment SET status = 'PENDING_PAYMENT' WHERE status = 'HELD'")
    op.execute("DELETE FROM audit_entry WHERE action IN ('PAYMENT_CAPTURED', 'PAYMENT_RELEASED')")
    with op.batch_alter_table("payment") as payment:
        payment.drop_column("hold_expires_at_us")
        payment.drop_column("hold")
