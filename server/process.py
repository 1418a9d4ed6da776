"""The processes: a server with its banner, or only the worker loops."""

import asyncio
import gc
import os
import signal
import socket
import sys
from contextlib import suppress

import uvicorn
from uvicorn.supervisors import Multiprocess

from quittance.server.logs import configure_logs
from quittance.server.runtime import StartRefused, open_runtime
from quittance.server.settings import PREFIX, Settings, load_settings
from quittance.store.migrate import upgrade, upgrade_from_loop

SHUTDOWN_S = 10


def serve(
    *, host: str | None, port: int | None, database_url: str | None, sandbox: bool | None, workers: int | None
) -> None:
    """Serve until a signal ends it.

    Raises:
        SettingsError: a setting is wrong.
        StartRefused: the address is taken, or the database does not fit.
    """
    settings = load_settings(host=host, port=port, database_url=database_url, sandbox=sandbox, workers=workers)
    configure_logs(level=settings.log_level, as_json=settings.log_format == "json")
    listener = _listen(settings)
    settings.port = listener.getsockname()[1]
    if settings.migrate_on_start:
        _migrate(settings)
    _tell_children(settings)
    config = uvicorn.Config(
        "quittance.server.app:app_from_environment",
        factory=True,
        workers=settings.workers,
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_max_size=settings.body_bytes_max,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    server = uvicorn.Server(config)
    if settings.workers > 1:
        Multiprocess(config, sockets=[listener]).run()
        return
    server.run(sockets=[listener])
    if not server.started:
        raise StartRefused("the server did not start; the log above says why")


def work(*, database_url: str | None) -> None:
    """Run the worker loops until a signal ends them."""
    settings = load_settings(database_url=database_url)
    configure_logs(level=settings.log_level, as_json=settings.log_format == "json")
    asyncio.run(_work(settings))


async def _work(settings: Settings) -> None:
    if settings.migrate_on_start:
        await upgrade_from_loop(settings.database_url)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_runtime(settings, loops=True):
        sys.stderr.write("quittance worker: running; Ctrl-C ends it\n")
        await stop.wait()


def freeze_garbage() -> None:
    """Take what start-up made out of the collector's sight: its pauses were most of the slowest answers."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _migrate(settings: Settings) -> None:
    try:
        upgrade(settings.database_url)
    except OSError as error:
        raise StartRefused(f"the database does not answer ({error}); check QUITTANCE_DATABASE_URL") from None


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with suppress(AttributeError, OSError):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        raise StartRefused(
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror}); choose another with --port"
        ) from None
    listener.set_inheritable(True)
    return listener


def _tell_children(settings: Settings) -> None:
    """Server processes read the environment, so what the command line said goes there."""
    for name in ("host", "port", "database_url", "sandbox", "workers"):
        os.environ[f"{PREFIX}{name.upper()}"] = str(getattr(settings, name))
