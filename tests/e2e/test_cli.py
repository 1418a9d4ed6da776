"""The command line: every command, its exit codes, and what it says when something is wrong."""

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from websockets.exceptions import ConnectionClosed

from quittance.gql.schema import sdl
from quittance.sandbox.lnd.keys import recover_signer
from quittance.server.cli import app, main

NewServer = Callable[..., Any]

COMMANDS = (
    (),
    ("version",),
    ("serve",),
    ("worker",),
    ("migrate",),
    ("doctor",),
    ("export",),
    ("ledger",),
    ("ledger", "verify"),
    ("keys",),
    ("keys", "create"),
    ("keys", "list"),
    ("keys", "revoke"),
    ("keys", "rotate"),
    ("jobs",),
    ("jobs", "list"),
    ("jobs", "retry"),
    ("merchants",),
    ("merchants", "create"),
    ("merchants", "list"),
    ("provider-webhooks",),
    ("provider-webhooks", "list"),
    ("provider-webhooks", "subscribe"),
    ("provider-webhooks", "update"),
    ("provider-webhooks", "unsubscribe"),
    ("provider-webhooks", "rotate"),
    ("provider-webhooks", "missed"),
    ("provider-webhooks", "catch-up"),
    ("schema",),
    ("schema", "export"),
    ("schema", "diff"),
    ("sandbox",),
    ("sandbox", "status"),
    ("sandbox", "pay"),
    ("sandbox", "sign"),
    ("sandbox", "login"),
    ("sandbox", "withdraw"),
    ("sandbox", "clock"),
    ("sandbox", "fault"),
)
REVOKED_S_MAX = 30.0  # the server looks again whenever it pings: every 20 s
NEW_INVOICE = """
mutation { generateInvoice(input: { amount: { sat: "5" }, description: "by hand" }) {
  ... on GenerateInvoiceSuccess { payment { id paymentRequest paymentHash } }
} }
"""


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Run the console script's function in this process; only for what ends before anything is opened."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **settings: str) -> tuple[int, str, str]:
        for name, value in settings.items():
            monkeypatch.setenv(f"QUITTANCE_{name.upper()}", value)
        monkeypatch.setattr(sys, "argv", ["quittance", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(words: tuple[str, ...]) -> None:
    told = CliRunner().invoke(app, [*words, "--help"])

    assert told.exit_code == 0
    assert "Usage:" in told.stdout


def test_list_of_commands_is_whole() -> None:
    named = {
        (group.name, command.name or command.callback.__name__.removeprefix(f"{group.name}_"))
        for group in app.registered_groups
        for command in (group.typer_instance.registered_commands if group.typer_instance else [])
        if command.callback is not None
    }

    assert named == {words for words in COMMANDS if len(words) == 2}


@pytest.mark.parametrize(
    ("settings", "variable"),
    [
        ({"database_url": "mysql://somewhere"}, "QUITTANCE_DATABASE_URL"),
        ({"port": "70000"}, "QUITTANCE_PORT"),
        ({"workers": "2"}, "QUITTANCE_WORKERS"),
        ({"bootstrap_api_key": "short"}, "QUITTANCE_BOOTSTRAP_API_KEY"),
        ({"secret_key": "as short"}, "QUITTANCE_SECRET_KEY"),
        ({"public_url": "ftp://somewhere"}, "QUITTANCE_PUBLIC_URL"),
        ({"lnd_address": "localhost"}, "QUITTANCE_LND_ADDRESS"),
        ({"lnd_address": "localhost:10009"}, "QUITTANCE_LND_TLS_CERT_PATH"),
        (
            {"lnd_address": "localhost:1", "lnd_tls_cert_path": "/dev/null/no.cert", "lnd_macaroon_path": "/nowhere"},
            "QUITTANCE_LND_TLS_CERT_PATH",
        ),
        (
            {"lnd_address": "localhost:1", "lnd_tls_cert_path": __file__, "lnd_macaroon_path": "/nowhere/macaroon"},
            "QUITTANCE_LND_MACAROON_PATH",
        ),
        ({"lnd_spend_macaroon_path": __file__}, "QUITTANCE_LND_SPEND_MACAROON_PATH"),
        (
            {
                "lnd_address": "localhost:1",
                "lnd_tls_cert_path": __file__,
                "lnd_macaroon_path": __file__,
                "lnd_spend_macaroon_path": "/nowhere/macaroon",
            },
            "QUITTANCE_LND_SPEND_MACAROON_PATH",
        ),
        ({"lnd_ltc_address": "localhost"}, "QUITTANCE_LND_LTC_ADDRESS"),
        ({"lnd_ltc_address": "localhost:10009"}, "QUITTANCE_LND_LTC_TLS_CERT_PATH"),
        (
            {"lnd_ltc_address": "localhost:1", "lnd_ltc_tls_cert_path": __file__, "lnd_ltc_macaroon_path": "/nowhere"},
            "QUITTANCE_LND_LTC_MACAROON_PATH",
        ),
        ({"lnd_ltc_spend_macaroon_path": __file__}, "QUITTANCE_LND_LTC_SPEND_MACAROON_PATH"),
        ({"lnd_ltc_network": "signet"}, "QUITTANCE_LND_LTC_NETWORK"),
        ({"hold_s_max": "21601"}, "QUITTANCE_HOLD_S_MAX"),
        ({"lnd_callback_secret": "whsec_tooshort"}, "QUITTANCE_LND_CALLBACK_SECRET"),
        ({"lnd_callback_secret": f"whsec_{'A' * 32},!no-secret!"}, "QUITTANCE_LND_CALLBACK_SECRET"),
        ({"cln_url": "http://localhost:3010"}, "QUITTANCE_CLN_URL"),
        ({"cln_url": "https://localhost:3010"}, "QUITTANCE_CLN_RUNE_PATH"),
        ({"cln_url": "https://localhost:3010", "cln_rune_path": "/nowhere/rune"}, "QUITTANCE_CLN_RUNE_PATH"),
        (
            {"cln_url": "https://localhost:3010", "cln_rune_path": __file__, "cln_ca_path": "/nowhere/ca.pem"},
            "QUITTANCE_CLN_CA_PATH",
        ),
        ({"cln_spend_rune_path": __file__}, "QUITTANCE_CLN_SPEND_RUNE_PATH"),
        ({"cln_url": "https://localhost:3010", "cln_rune_path": __file__, "sandbox": "true"}, "QUITTANCE_SANDBOX"),
        ({"rates_sources": "kraken,mtgox"}, "QUITTANCE_RATES_SOURCES"),
        ({"rates_sources_min": "0"}, "QUITTANCE_RATES_SOURCES_MIN"),
        ({"rates_age_s_max": "59"}, "QUITTANCE_RATES_AGE_S_MAX"),
        ({"rates_spread_ppm": "500001"}, "QUITTANCE_RATES_SPREAD_PPM"),
        ({"coingecko_url": "http://api.coingecko.com/api/v3"}, "QUITTANCE_COINGECKO_URL"),
        ({"log_level": "loud"}, "QUITTANCE_LOG_LEVEL"),
    ],
)
@pytest.mark.parametrize("words", [("serve",), ("worker",), ("doctor",), ("keys", "list")], ids=" ".join)
def test_wrong_setting_stops_the_start_with_one_line(
    command: Callable[..., tuple[int, str, str]], words: tuple[str, ...], settings: dict[str, str], variable: str
) -> None:
    code, out, err = command(*words, **settings)

    assert code == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith(f"quittance: {variable}")
    for value in map(settings.get, ("secret_key", "bootstrap_api_key", "lnd_callback_secret")):
        assert value is None or value not in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("sandbox", "status", "--url", "http://127.0.0.1:1"), "no server answers at http://127.0.0.1:1"),
        (("keys", "create", "--name", "x", "--scope", "everything"), "a scope is one of admin"),
        (("schema", "diff", "no-such-file"), "cannot read no-such-file"),
        (("schema", "export", "no/such/folder"), "cannot write no/such/folder"),
        (("migrate", "--database-url", "sqlite:////dev/null/db"), "the database cannot be used"),
        (("migrate", "--database-url", "postgresql://x@127.0.0.1:1/x"), "the database cannot be used"),
        (("keys", "list", "--database-url", "postgresql://x@127.0.0.1:1/x"), "the database cannot be used"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else "",
)
def test_what_fails_says_why_in_one_line(
    command: Callable[..., tuple[int, str, str]], words: tuple[str, ...], told: str
) -> None:
    code, out, err = command(*words)

    assert code == 1
    assert out == ""
    assert [line.startswith(f"quittance: {told}") for line in err.splitlines() if line != "migrating …"] == [True]


@pytest.mark.parametrize("words", [("keys", "revoke"), ("serve", "--colour", "red"), ("teleport",)], ids=" ".join)
def test_wrong_arguments_exit_with_2(command: Callable[..., tuple[int, str, str]], words: tuple[str, ...]) -> None:
    code, out, err = command(*words)

    assert code == 2
    assert out == ""
    assert "Error" in err


def test_taken_port_is_told(server: Any, new_server: NewServer) -> None:
    refused = new_server().run("serve", "--port", str(server.port))

    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr.splitlines() == [
        f"quittance: cannot listen on 127.0.0.1:{server.port} (Address already in use); choose another with --port"
    ]


def test_server_without_a_rail_does_not_start(new_server: NewServer) -> None:
    refused = new_server().run("serve", "--no-sandbox", "--port", "0")

    assert refused.returncode == 1
    assert refused.stdout == ""
    said = (
        "no rail is set: set QUITTANCE_LND_ADDRESS, QUITTANCE_CLN_URL or QUITTANCE_STRIKE_API_KEY, or "
        "QUITTANCE_SANDBOX=true to try it out"
    )
    assert refused.stderr.splitlines() == [f"quittance: {said}"]


def test_server_whose_price_sources_can_never_agree_does_not_start(new_server: NewServer) -> None:
    refused = new_server(environment={"QUITTANCE_RATES_SOURCES": "kraken", "QUITTANCE_RATES_SOURCES_MIN": "3"}).run(
        "serve", "--port", "0"
    )

    assert refused.returncode == 1
    said = (
        "3 price sources must agree, but there are only 2: set more in QUITTANCE_RATES_SOURCES, none to do without, or"
    )
    assert refused.stderr.splitlines() == [f"quittance: {said} QUITTANCE_RATES_SOURCES_MIN"]


def test_another_secret_key_than_the_databases_is_refused(server: Any) -> None:
    environment = {**server.environment, "QUITTANCE_SECRET_KEY": "another-key-than-the-one-of-this-database"}
    stranger = type(server)(state_dir=server.state_dir, port=0, environment=environment)

    refused = stranger.run("serve", "--port", "0")

    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
    assert refused.stderr.startswith("quittance: this database was made with another secret key")


def test_keys_are_made_listed_and_revoked_while_the_server_runs(server: Any) -> None:
    made = server.run("keys", "create", "--name", "for a shop", "--scope", "payments:read")
    key, (key_id, scopes) = made.stdout.strip(), made.stderr.split()
    query = "{ payments { totalCount } }"
    before = server.post(query, key=key)
    assert (before.status_code, made.returncode, scopes) == (200, 0, "payments:read"), made.stderr

    listed = server.run("keys", "list").stdout
    with server.socket({"Authorization": f"Bearer {key}"}) as socket:  # nobody answers pings while a command runs
        socket.subscribe("subscription { paymentSettled { cursor } }")
        revoked = server.run("keys", "revoke", key_id)
        after = server.post(query, key=key)
        begun = time.monotonic()
        with pytest.raises(ConnectionClosed) as closed:
            socket.receive(timeout_s=REVOKED_S_MAX)
        waited_s = time.monotonic() - begun
    again = server.run("keys", "revoke", key_id)

    assert after.status_code == 401
    assert f"{key_id}  " in listed
    assert key not in listed
    assert (revoked.returncode, revoked.stdout) == (0, f"{key_id} is revoked\n")
    assert (again.returncode, again.stdout) == (1, "")
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4403
    assert waited_s < REVOKED_S_MAX


def test_contract_is_exported_and_compared(new_server: NewServer) -> None:
    here = new_server()
    run = CliRunner().invoke
    path = here.state_dir / "schema.graphql"

    written = run(app, ["schema", "export", str(path)])
    printed = run(app, ["schema", "export", "-"])
    same = run(app, ["schema", "diff", str(path)])
    path.write_text(sdl().replace("type Query {", "type Query {\n  gone: Int\n", 1))
    broken = run(app, ["schema", "diff", str(path)])

    assert (written.exit_code, printed.exit_code, same.exit_code) == (0, 0, 0)
    assert printed.stdout == sdl()
    assert same.stdout == "the same\n"
    assert broken.exit_code == 1
    assert broken.stdout.startswith("BREAKING   ")
    assert "gone" in broken.stdout


def test_sandbox_is_controlled_from_a_terminal(server: Any) -> None:
    made = server.execute(NEW_INVOICE)["generateInvoice"]["payment"]
    run = CliRunner().invoke

    paid = run(app, ["sandbox", "pay", made["paymentRequest"], "--node", "bob", "--url", server.url])
    twice = run(app, ["sandbox", "pay", made["paymentRequest"], "--url", server.url])
    signed = run(app, ["sandbox", "sign", "a nonce", "--node", "carol", "--url", server.url])
    moved = run(app, ["sandbox", "clock", "60", "--url", server.url])
    armed = run(app, ["sandbox", "fault", "delay", "--calls", "1", "--url", server.url])
    unknown = run(app, ["sandbox", "fault", "no-such-fault", "--url", server.url])
    status = run(app, ["sandbox", "status", "--url", server.url])

    assert (paid.exit_code, len(bytes.fromhex(paid.stdout.strip()))) == (0, 32)
    assert twice.exit_code == 1
    assert "invoice is already paid" in twice.stderr
    signature = json.loads(signed.stdout)
    signer = recover_signer(b"a nonce", signature["signature"])
    assert signer is not None
    assert signer.hex() == signature["pubkey"]
    assert json.loads(moved.stdout)["clock"]["offsetSeconds"] >= 60
    assert armed.exit_code == 0, armed.stderr
    assert unknown.exit_code == 1
    assert "GET /sandbox lists them" in unknown.stderr
    names = [node["name"] for node in json.loads(status.stdout)["nodes"]]
    assert names == ["merchant", "alice", "bob", "carol", "cln", "strike", "merchant-ltc", "dave"]


def test_doctor_and_migrate_agree_about_the_database(new_server: NewServer) -> None:
    here = new_server(environment={"QUITTANCE_MIGRATE_ON_START": "false"})

    empty = here.run("doctor")
    migrated = here.run("migrate")
    again = here.run("migrate")
    healthy = here.run("doctor")

    assert empty.returncode == 1
    assert "FAIL  database: " in empty.stdout
    assert "run `quittance migrate`" in empty.stdout
    assert (migrated.returncode, migrated.stdout) == (0, "the database is up to date\n")
    assert (again.returncode, again.stdout) == (0, "the database is up to date\n")
    assert healthy.returncode == 0, healthy.stdout
    assert {line[:4] for line in healthy.stdout.splitlines()} == {"ok  "}
    assert "rail cln: " in healthy.stdout
    assert "paying from lnd: may pay" in healthy.stdout
    prices = re.findall(r"ok    rates (\w+): a bitcoin is \d+\.\d\d USD", healthy.stdout)
    assert prices == ["coingecko", "kraken", "coinbase"]


def test_doctor_names_a_rail_that_does_not_answer(server: Any) -> None:
    node = server.state_dir / "sandbox" / "lnd" / "merchant"
    environment = {
        "QUITTANCE_LND_ADDRESS": "127.0.0.1:1",
        "QUITTANCE_LND_TLS_CERT_PATH": str(node / "tls.cert"),
        "QUITTANCE_LND_MACAROON_PATH": str(node / "receive.macaroon"),
        "QUITTANCE_LND_TIMEOUT_S": "1",
        "QUITTANCE_RATES_SOURCES": "",
    }
    beside = type(server)(state_dir=server.state_dir, port=0, environment=environment)

    examined = beside.run("doctor")

    assert examined.returncode == 1
    assert "ok    database: " in examined.stdout
    assert "FAIL  rail lnd: " in examined.stdout
