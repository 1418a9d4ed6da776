"""automatic payouts

Revision: 0014
Follows: 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("account", sa.Column("payout_from_msat", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.execute("DELETE FROM job WHERE kind = 'payout.automatic'")
    op.drop_column("account", "payout_from_msat")
