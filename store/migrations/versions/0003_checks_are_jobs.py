"""checks are jobs, lanes know more, done jobs are gone

Revision: 0003
Follows: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ALIVE, _DEAD, _ORDERED = "state <> 'DEAD'", "state = 'DEAD'", "order_key IS NOT NULL"


def upgrade() -> None:
    op.execute("DELETE FROM job WHERE state = 'DONE'")
    op.execute("DELETE FROM job_lane")
    op.execute(
        "UPDATE job SET lane = (SELECT merchant_id || '/webhook/' || endpoint_id FROM webhook_delivery"
        " WHERE webhook_delivery.id = job.subject)"
    )
    with op.batch_alter_table("job", schema=None) as job:
        job.drop_index(job.f("ix_job_order_key_order_place"))
        job.drop_index(job.f("ix_job_state_due_at_us"))
    _index("ix_job_lane_due_at_us_id", ["lane", "due_at_us", "id"], only=_ALIVE)
    _index("ix_job_kind_due_at_us", ["kind", "due_at_us"], only=_ALIVE)
    _index("ix_job_dead_due_at_us", ["due_at_us"], only=_DEAD)
    _index("ix_job_order_key_order_place", ["order_key", "order_place"], only=_ORDERED)

    with op.batch_alter_table("job_lane", schema=None) as lane:
        lane.add_column(sa.Column("slow", sa.BigInteger(), nullable=False, server_default="0"))
        lane.add_column(sa.Column("per_second", sa.BigInteger(), nullable=True))
        lane.create_index(lane.f("ix_job_lane_paused_until_us"), ["paused_until_us"], unique=False)
    with op.batch_alter_table("job_lane", schema=None) as lane:
        lane.alter_column("slow", server_default=None)

    op.execute(
        "INSERT INTO job (id, kind, subject, lane, order_key, order_place, state, due_at_us, attempts, fence,"
        " last_error, created_at_us, ended_at_us)"
        " SELECT 'job' || substr(id, 4), 'provider.check', id,"
        " 'provider/' || provider || CASE state WHEN 'UNKNOWN' THEN '/unknown' ELSE '' END,"
        " NULL, 0, 'WAITING', check_at_us, 0, 0, NULL, created_at_us, NULL"
        " FROM payment_option WHERE check_at_us IS NOT NULL"
    )
    with op.batch_alter_table("payment_option", schema=None) as option:
        option.drop_index(option.f("ix_payment_option_check_at_us"))
        option.drop_column("check_at_us")


def downgrade() -> None:
    with op.batch_alter_table("payment_option", schema=None) as option:
        option.add_column(sa.Column("check_at_us", sa.BigInteger(), nullable=True))
        option.create_index(option.f("ix_payment_option_check_at_us"), ["check_at_us"], unique=False)
    op.execute(
        "UPDATE payment_option SET check_at_us ="
        " (SELECT due_at_us FROM job WHERE kind = 'provider.check' AND subject = payment_option.id)"
    )
    op.execute("DELETE FROM job WHERE kind = 'provider.check'")
    op.execute("DELETE FROM job_lane")
    op.execute(
        "UPDATE job SET lane = (SELECT 'webhook/' || endpoint_id FROM webhook_delivery"
        " WHERE webhook_delivery.id = job.subject)"
    )

    with op.batch_alter_table("job_lane", schema=None) as lane:
        lane.drop_index(lane.f("ix_job_lane_paused_until_us"))
        lane.drop_column("per_second")
        lane.drop_column("slow")

    for name in ("order_key_order_place", "dead_due_at_us", "kind_due_at_us", "lane_due_at_us_id"):
        op.drop_index(f"ix_job_{name}", table_name="job")
    with op.batch_alter_table("job", schema=None) as job:
        job.create_index(job.f("ix_job_state_due_at_us"), ["state", "due_at_us"], unique=False)
        job.create_index(job.f("ix_job_order_key_order_place"), ["order_key", "order_place"], unique=False)


def _index(name: str, columns: list[str], *, only: str) -> None:
    op.create_index(name, "job", columns, unique=False, sqlite_where=sa.text(only), postgresql_where=sa.text(only))
