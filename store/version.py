"""Which schema a database has, told without loading the tool that changes it."""

import asyncio
import sqlite3

from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import create_async_engine

from quittance.store.database import sqlite_path

SCHEMA_VERSION = "0019"
_ASKED = "SELECT version_num FROM alembic_version"


def is_up_to_date(url: str) -> bool:
    """Tell whether the database at ``url`` has this version's schema; a database without any has not.

    Raises:
        OSError, SQLAlchemyError, asyncpg.PostgresError: the server does not answer.
    """
    path = sqlite_path(url)
    if path is None:
        return asyncio.run(_postgresql_version(url)) == SCHEMA_VERSION
    if not path.exists():
        return False
    connection = sqlite3.connect(path)
    try:
        found = connection.execute(_ASKED).fetchone()
    except sqlite3.Error:  # no such table, or a file that the migration will tell more about
        return False
    finally:
        connection.close()
    return bool(found == (SCHEMA_VERSION,))


async def _postgresql_version(url: str) -> str | None:
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://", 1))  # it reads every option
    try:
        async with engine.connect() as connection:
            version: str | None = await connection.scalar(text(_ASKED))
    except ProgrammingError:  # no such table
        return None
    finally:
        await engine.dispose()
    return version
