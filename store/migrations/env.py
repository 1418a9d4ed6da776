"""Alembic's environment: runs on the connection that ``quittance.store.migrate`` hands over."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import BigInteger, Connection, LargeBinary, Text

from quittance.store import (  # noqa: F401 - their tables join those of Row
    models_operations,
    models_payees,
    models_provider_webhooks,
    models_readers,
    models_transfers,
    models_upvotes,
    models_withdrawals,
)
from quittance.store.models import Row

_PLAIN: dict[type, str] = {BigInteger: "sa.BigInteger()", Text: "sa.Text()", LargeBinary: "sa.LargeBinary()"}


def _render_item(kind: str, item: Any, autogenerate: AutogenContext) -> str | Literal[False]:
    """Write plain column types, so that a migration never imports live code."""
    del autogenerate
    if kind == "type":
        for plain, text in _PLAIN.items():
            if isinstance(item, plain):
                return text
    return False


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Row.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        render_item=_render_item,
        compare_type=True,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


_run(context.config.attributes["connection"])
