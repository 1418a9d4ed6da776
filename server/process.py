"""The processes: a server with its banner, or only the worker loops."""

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress

import uvicorn
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE

from quittance.server.app import create_app
from quittance.server.logs import configure_logs
from quittance.server.runtime import StartRefused, open_runtime, telling_of_the_database
from quittance.server.settings import PREFIX, Settings, load_settings
from quittance.store.version import is_up_to_date

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
    _bring_up_to_date(settings)
    _tell_children(settings)
    several = settings.workers > 1
    app = None if several else create_app(settings)
    config = uvicorn.Config(
        app or "quittance.server.app:app_from_environment",
        factory=several,
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
    if app is None:
        _run_several(config, listener)
    else:
        _run_one(config, listener, app)


def _run_one(config: uvicorn.Config, listener: socket.socket, app: FastAPI) -> None:
    server = uvicorn.Server(config)
    with suppress(SystemExit):  # how uvicorn says that the application did not start
        server.run(sockets=[listener])
    if not server.started:
        raise StartRefused(getattr(app.state, "refusal", "the server did not start; the log above says why"))


def _run_several(config: uvicorn.Config, listener: socket.socket) -> None:
    from uvicorn.supervisors import Multiprocess

    supervisor = Multiprocess(config, sockets=[listener])
    supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise StartRefused("a server process did not start; the log above says why")


def work(*, database_url: str | None) -> None:
    """Run the worker loops until a signal ends them."""
    settings = load_settings(database_url=database_url)
    configure_logs(level=settings.log_level, as_json=settings.log_format == "json")
    _bring_up_to_date(settings)
    asyncio.run(_work(settings))


async def _work(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_runtime(settings, loops=True):
        sys.stderr.write("quittance worker: running; Ctrl-C ends it\n")
        await stop.wait()


def _bring_up_to_date(settings: Settings) -> None:
    """Apply what the database lacks; the tool for it is loaded only then."""
    if not settings.migrate_on_start:
        return
    with telling_of_the_database():
        if not is_up_to_date(settings.database_url):
            from quittance.store.migrate import upgrade

            upgrade(settings.database_url)


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
