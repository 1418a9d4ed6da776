"""The command line: serve, work, migrate, merchants, keys, schema, sandbox, doctor."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from quittance.server.cli_jobs import jobs_app
from quittance.server.cli_merchants import keys_app, merchants_app
from quittance.server.cli_offline import DEFAULT_URL, EXIT_FAILED, DatabaseUrl, fail
from quittance.server.cli_provider_webhooks import provider_webhooks_app
from quittance.server.cli_reports import add_reports

app = typer.Typer(
    name="quittance",
    help="A payments API server: one typed GraphQL schema over every open payment rail.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
schema_app = typer.Typer(help="The contract: write it to a file, or see how it differs from one.", no_args_is_help=True)
sandbox_app = typer.Typer(help="Remote control of a running server's sandbox rails.", no_args_is_help=True)
app.add_typer(merchants_app, name="merchants")
app.add_typer(jobs_app, name="jobs")
app.add_typer(keys_app, name="keys")
app.add_typer(provider_webhooks_app, name="provider-webhooks")
app.add_typer(schema_app, name="schema")
app.add_typer(sandbox_app, name="sandbox")
add_reports(app)

EXIT_SETTINGS = 2
HTTP_NOT_FOUND = 404

ServerUrl = Annotated[str, typer.Option("--url", help="Where the server listens.", envvar="QUITTANCE_PUBLIC_URL")]


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 failed, 2 wrong arguments or settings."""
    from quittance.server.settings import SettingsError

    try:
        app()
    except SettingsError as error:
        for line in error.lines:
            typer.echo(f"quittance: {line}", err=True)
        sys.exit(EXIT_SETTINGS)


@app.command()
def version() -> None:
    """Print the version."""
    from importlib.metadata import version as installed

    typer.echo(installed("quittance"))


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on; 0 takes a free one.")] = None,
    database_url: DatabaseUrl = None,
    sandbox: Annotated[
        bool | None, typer.Option("--sandbox/--no-sandbox", help="Run the sandbox rails; on unless a real rail is set.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Server processes; more than one needs PostgreSQL.")] = None,
) -> None:
    """Serve the API, the playground and the checkout pages, with the worker loops.

    Without settings it runs on SQLite with sandbox rails: no account is needed anywhere.
    """
    from quittance.server.process import serve as run
    from quittance.server.runtime import StartRefused

    try:
        run(host=host, port=port, database_url=database_url, sandbox=sandbox, workers=workers)
    except StartRefused as error:
        fail(str(error))


@app.command()
def worker(database_url: DatabaseUrl = None) -> None:
    """Run only the worker loops: settlement feeds and reconciliation. Any number may run; loops hold leases."""
    from quittance.server.process import work
    from quittance.server.runtime import StartRefused

    try:
        work(database_url=database_url)
    except StartRefused as error:
        fail(str(error))


@app.command()
def migrate(database_url: DatabaseUrl = None) -> None:
    """Bring the database to this version's schema; safe to repeat, and to run from several machines."""
    from quittance.server.runtime import StartRefused, telling_of_the_database
    from quittance.server.settings import load_settings
    from quittance.store.migrate import differences, upgrade

    settings = load_settings(database_url=database_url)
    try:
        with telling_of_the_database():
            upgrade(settings.database_url)
            left = differences(settings.database_url)
    except StartRefused as error:
        fail(str(error))
    if left is not None:
        fail(f"the database still differs: {left}")
    typer.echo("the database is up to date")


@app.command()
def doctor(database_url: DatabaseUrl = None) -> None:
    """Check settings, database and every rail, and say what to do about what is wrong."""
    from quittance.server.doctor import examine
    from quittance.server.settings import load_settings

    settings = load_settings(database_url=database_url)
    findings = asyncio.run(examine(settings))
    for finding in findings:
        typer.echo(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.subject}: {finding.detail}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(EXIT_FAILED)


@schema_app.command("export")
def schema_export(
    path: Annotated[Path, typer.Argument(help="The file to write; - for standard output.")] = Path("schema.graphql"),
) -> None:
    """Write the contract."""
    from quittance.gql.schema import sdl

    if str(path) == "-":
        typer.echo(sdl(), nl=False)
        return
    try:
        path.write_text(sdl(), encoding="utf-8")
    except OSError as error:
        fail(f"cannot write {path}: {error.strerror}")
    typer.echo(f"wrote {path}", err=True)


@schema_app.command("diff")
def schema_diff(
    path: Annotated[Path, typer.Argument(help="The file to compare with.")] = Path("schema.graphql"),
) -> None:
    """List how the code's contract differs from a file's; exits 1 if a client of the file would break."""
    from graphql import GraphQLError

    from quittance.server.contract import changes_since

    try:
        breaking, dangerous, same = changes_since(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        fail(f"cannot read {path}: {error}")
    except GraphQLError as error:
        fail(f"{path} is no GraphQL contract: {error.message}")
    for line in breaking:
        typer.echo(f"BREAKING   {line}")
    for line in dangerous:
        typer.echo(f"dangerous  {line}")
    if breaking:
        raise typer.Exit(EXIT_FAILED)
    typer.echo("the same" if same else "nothing breaks")


@sandbox_app.command("status")
def sandbox_status(url: ServerUrl = DEFAULT_URL) -> None:
    """Show rails, nodes, clock and faults."""
    typer.echo(json.dumps(_control("GET", url, "/sandbox"), indent=2))


@sandbox_app.command("pay")
def sandbox_pay(
    payment_request: Annotated[str, typer.Argument(help="The BOLT11 invoice, lnbcrt… or lnrltc….")],
    node: Annotated[
        str | None, typer.Option(help="Who pays: alice, bob or carol in Bitcoin, dave in Litecoin, as it fits.")
    ] = None,
    url: ServerUrl = DEFAULT_URL,
) -> None:
    """Pay an invoice from a sandbox node and print the preimage."""
    answer = _control("POST", url, "/sandbox/pay", {"paymentRequest": payment_request, "node": node})
    typer.echo(answer["preimage"])


@sandbox_app.command("sign")
def sandbox_sign(
    message: Annotated[str, typer.Argument(help="The message to sign.")],
    node: Annotated[str, typer.Option(help="Who signs.")] = "alice",
    url: ServerUrl = DEFAULT_URL,
) -> None:
    """Sign a message with a sandbox node."""
    typer.echo(json.dumps(_control("POST", url, "/sandbox/sign-message", {"message": message, "node": node})))


@sandbox_app.command("login")
def sandbox_login(
    lnurl: Annotated[str, typer.Argument(help="The code of `createLnurlLogin`, LNURL1….")],
    node: Annotated[str, typer.Option(help="Whose wallet signs.")] = "alice",
    url: ServerUrl = DEFAULT_URL,
) -> None:
    """Sign a login with a sandbox node's wallet, as scanning its QR code would, and print the wallet's key."""
    typer.echo(_control("POST", url, "/sandbox/lnurl-auth", {"lnurl": lnurl, "node": node})["key"])


@sandbox_app.command("withdraw")
def sandbox_withdraw(
    lnurl: Annotated[str, typer.Argument(help="The code of `createWithdrawal`, LNURL1….")],
    node: Annotated[str, typer.Option(help="Who takes the money.")] = "alice",
    amount_msat: Annotated[int | None, typer.Option(help="How much, in millisatoshi; all unless it is said.")] = None,
    url: ServerUrl = DEFAULT_URL,
) -> None:
    """Take money with a sandbox node's wallet, as scanning a withdrawal's QR code would, and print the invoice."""
    body: dict[str, object] = {"lnurl": lnurl, "node": node, "amountMsat": amount_msat}
    typer.echo(_control("POST", url, "/sandbox/withdraw", body)["paymentRequest"])


@sandbox_app.command("clock")
def sandbox_clock(
    advance_seconds: Annotated[int, typer.Argument(help="How far to move the time of server and rails.")],
    url: ServerUrl = DEFAULT_URL,
) -> None:
    """Move the time of server and rails together."""
    typer.echo(json.dumps(_control("POST", url, "/sandbox/clock", {"advanceSeconds": advance_seconds})))


@sandbox_app.command("fault")
def sandbox_fault(
    fault: Annotated[str, typer.Argument(help="The fault's name; `sandbox status` lists them.")],
    rail: Annotated[str, typer.Option(help="The rail.")] = "lnd",
    calls: Annotated[int, typer.Option(help="How many calls it strikes.")] = 1,
    url: ServerUrl = DEFAULT_URL,
) -> None:
    """Make a sandbox rail fail."""
    typer.echo(json.dumps(_control("POST", url, "/sandbox/faults", {"rail": rail, "fault": fault, "calls": calls})))


def _control(method: str, url: str, path: str, body: "dict[str, object] | None" = None) -> "dict[str, str]":
    import httpx

    try:
        response = httpx.request(method, url.rstrip("/") + path, json=body, timeout=30.0, trust_env=False)
    except httpx.HTTPError as error:
        fail(f"no server answers at {url} ({type(error).__name__}); start one with `quittance serve`")
    if response.is_error:
        told = _problem_told(response.text)
        if told is None and response.status_code == HTTP_NOT_FOUND:
            fail(f"the server at {url} runs without sandbox rails")
        fail(f"{path}: {told or response.status_code}")
    answer: dict[str, str] = response.json()
    return answer


def _problem_told(text: str) -> str | None:
    """Return the remote control's own sentence; what is not the remote control has none."""
    try:
        return str(json.loads(text)["error"]["message"])
    except (KeyError, TypeError, ValueError):
        return None
