"""fiat prices

Revision: 0016
Follows: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_NEW = (
    ("fiat_code", sa.Text()),
    ("fiat_scale", sa.BigInteger()),
    ("fiat_value", sa.BigInteger()),
    ("rate_value", sa.Text()),
    ("rate_spread_ppm", sa.BigInteger()),
    ("rate_sources", sa.Text()),
    ("rate_observed_at_us", sa.BigInteger()),
)


def upgrade() -> None:
    for name, kind in _NEW:
        op.add_column("payment", sa.Column(name, kind, nullable=True))


def downgrade() -> None:
    # Payments keep the amount that was asked for. An article that is priced in a currency cannot be sold by the
    # version before, which says so and names the price.
    for name, _ in reversed(_NEW):
        op.drop_column("payment", name)
