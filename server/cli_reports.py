"""Commands over the books: export them, and verify that they agree. No server need run; one that does may."""

import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from quittance.domain.export import ExportFilter, ExportFormat, ExportKind
from quittance.server.cli_offline import EXIT_FAILED, DatabaseUrl, fail, offline

if TYPE_CHECKING:
    from quittance.resolvers.services import Services
    from quittance.resolvers.verification import Book
    from quittance.server.export_files import Progress

ledger_app = typer.Typer(help="The ledger: verify that it adds up.", no_args_is_help=True)

STANDARD_OUTPUT = Path("-")


def add_reports(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command("export")(export)
    app.add_typer(ledger_app, name="ledger")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("not a time such as 2026-01-31T00:00:00Z") from None
    if moment.tzinfo is None:
        raise typer.BadParameter("say the time zone, such as Z for UTC: 2026-01-31T00:00:00Z")
    return moment.astimezone(UTC)


def export(  # noqa: PLR0913, PLR0917 - a command has as many options as its users need
    what: Annotated[ExportKind, typer.Argument(help="What to export.")],
    format_: Annotated[ExportFormat, typer.Option("--format", help="How rows are written.")] = ExportFormat.CSV,
    merchant: Annotated[str | None, typer.Option(help="Only this merchant's; everybody's unless said.")] = None,
    since: Annotated[
        datetime | None, typer.Option(help="From this moment on (RFC 3339).", parser=_moment, metavar="TIME")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(help="Before it (RFC 3339); now unless said.", parser=_moment, metavar="TIME")
    ] = None,
    output: Annotated[
        Path, typer.Option(help="The file to write, complete or not at all; - for standard output.")
    ] = STANDARD_OUTPUT,
    database_url: DatabaseUrl = None,
) -> None:
    """Write payments, settlements, ledger entries or events to a file or to standard output, the oldest first.

    Rows are streamed, so memory does not grow with them. Amounts are integers of the asset's smallest unit, times are
    UTC. In CSV a text that a spreadsheet would take for a formula begins with an apostrophe. Exit codes: 0 done, 1
    failed and nothing written to the file, 2 wrong arguments or settings.
    """
    from quittance.domain.ids import MerchantId
    from quittance.server.export_files import Progress, whole_file

    if since is not None and until is not None and since >= until:
        raise typer.BadParameter("the end lies after the beginning", param_hint="--until")
    narrowed = ExportFilter(merchant_id=None if merchant is None else MerchantId(merchant), since=since, until=until)
    live = output != STANDARD_OUTPUT or not sys.stdout.isatty()  # else rows and progress would stand on one screen
    progress = Progress(what.value, live=live)

    def write_to(file: BinaryIO) -> None:
        offline(database_url, lambda services: _stream(services, what, narrowed, format_, (file, progress)))

    try:
        with _ended_like_by_the_keyboard():
            if output == STANDARD_OUTPUT:
                write_to(typer.get_binary_stream("stdout"))
            else:
                with whole_file(output) as file:
                    write_to(file)
    except KeyboardInterrupt:
        progress.wipe()
        fail("interrupted")
    except BrokenPipeError:
        raise  # whoever read has seen enough: ended quietly, with code 1
    except OSError as error:
        progress.wipe()
        fail(f"cannot write {output}: {error.strerror}")
    progress.end()


@contextmanager
def _ended_like_by_the_keyboard() -> Iterator[None]:
    """Let SIGTERM unwind what is open, as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


async def _stream(
    services: "Services",
    what: ExportKind,
    narrowed: ExportFilter,
    format_: ExportFormat,
    to: "tuple[BinaryIO, Progress]",
) -> None:
    from quittance.resolvers import exports
    from quittance.server.export_formats import writer_of

    file, progress = to
    await exports.check_filter(services, narrowed)
    head, line = writer_of(format_, exports.columns(what))
    file.write(head)
    async with aclosing(exports.export_pages(services, what, narrowed)) as pages:
        async for rows in pages:
            file.write(b"".join([line(row) for row in rows]))
            progress.add(len(rows))
    file.flush()


@ledger_app.command("verify")
def ledger_verify(database_url: DatabaseUrl = None) -> None:
    """Check that the books agree with each other, and name every difference; exits 1 if there is one.

    Every ledger transaction sums to zero, every balance is the sum of its entries, every settlement has its ledger
    transaction, and what a payment received is the sum of its settlements.
    """
    from quittance.resolvers.verification import Book

    differences, checked = offline(database_url, _verify)
    said = ", ".join(f"{checked[book]:,} {book.value}" for book in Book)
    typer.echo(f"checked {said}: {f'{differences:,} differ' if differences else 'all agree'}")
    if differences:
        raise typer.Exit(EXIT_FAILED)


async def _verify(services: "Services") -> "tuple[int, Mapping[Book, int]]":
    from quittance.resolvers.verification import Verification

    verification = Verification(services=services)
    differences = 0
    async with aclosing(verification.findings()) as findings:
        async for finding in findings:
            differences += 1
            typer.echo(f"{finding.kind.value}  {finding.message}")
    return differences, verification.checked
