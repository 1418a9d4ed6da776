"""orders of holds

Revision: 0015
Follows: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("payment", sa.Column("hold_order", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("payment", "hold_order")
