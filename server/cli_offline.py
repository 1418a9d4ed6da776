"""What commands share that work on the database alone: where it is, how they run, and how they fail."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from quittance.resolvers.services import Services

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8000"
EXIT_FAILED = 1

DatabaseUrl = Annotated[
    str | None, typer.Option("--database-url", help="sqlite:///PATH or postgresql://USER@HOST/NAME.")
]


def fail(message: str) -> NoReturn:
    """Say why in one line, and exit."""
    typer.echo(f"quittance: {message}", err=True)
    raise typer.Exit(EXIT_FAILED)


def offline(database_url: str | None, use_case: "Callable[[Services], Awaitable[T]]") -> T:
    """Run a use case on the database; an expected error ends the command."""
    from quittance.domain.errors import QuittanceError
    from quittance.server.offline import with_services
    from quittance.server.runtime import StartRefused
    from quittance.server.settings import load_settings

    try:
        return asyncio.run(with_services(load_settings(database_url=database_url), use_case))
    except (QuittanceError, StartRefused) as error:
        fail(str(error))


def with_rails(database_url: str | None, use_case: "Callable[[Services], Awaitable[T]]") -> T:
    """Run a use case on the database and the rails that are set; an expected error ends the command."""
    from quittance.domain.errors import QuittanceError
    from quittance.server.offline import with_runtime
    from quittance.server.runtime import StartRefused
    from quittance.server.settings import load_settings

    try:
        return asyncio.run(with_runtime(load_settings(database_url=database_url), use_case))
    except (QuittanceError, StartRefused) as error:
        fail(str(error))
