"""A page of a hundred payments with article, options and events: how long, and how many statements."""

import asyncio
from pathlib import Path

from pydantic import SecretStr

from benchmarks.documents import PAGE, new_article, new_payment, page_work
from benchmarks.http_load import load
from benchmarks.plan import Plan
from benchmarks.processes import API_KEY, BenchmarkFailed, Rails, rails_process, server_process
from benchmarks.report import Report, middle
from quittance.gql.context import Credentials
from quittance.gql.schema import schema
from quittance.server.runtime import open_runtime
from quittance.server.settings import Settings

_WIDTH = 100
_STATEMENTS_MAX = 5
_MS_MAX = 30.0
_OF_THE_BROKER = "event.position > "


async def measure(plan: Plan, report: Report) -> None:
    home = plan.home / "pages"
    async with rails_process(home / "rails") as rails:
        async with server_process(home / "server", rails) as server:
            for number in range(_WIDTH):
                article_id = await new_article(server.port, number)
                await new_payment(server.port, articleId=article_id)
            rounds = [await load(server, page_work(), clients=1, seconds=plan.seconds) for _ in range(plan.rounds)]
        statements = await _statements(home / "server", rails)
    took_ms, cpu_ms = middle([one.p50_ms for one in rounds]), middle([one.cpu_us for one in rounds]) / 1000
    report.add(
        f"a page of {_WIDTH} payments", f"{took_ms:.1f} ms, {cpu_ms:.1f} ms CPU", ratio=f"{took_ms:.1f} ms",
        goal=f"<= {_MS_MAX:.0f} ms", reached=took_ms <= _MS_MAX,
    )  # fmt: skip
    report.add(
        f"a page of {_WIDTH} payments: statements", f"{len(statements)} and the key check", ratio=str(len(statements)),
        goal=f"<= {_STATEMENTS_MAX}", reached=len(statements) <= _STATEMENTS_MAX,
    )  # fmt: skip


async def _statements(state: Path, rails: Rails) -> list[str]:
    """Return the statements of one page, counted in this process on the same database."""
    settings = Settings(
        state_dir=state,
        bootstrap_api_key=SecretStr(API_KEY),
        sandbox=False,
        lnd_address=rails.lnd["address"],
        lnd_tls_cert_path=Path(rails.lnd["tls_cert_path"]),
        lnd_macaroon_path=Path(rails.lnd["macaroon_path"]),
        lnd_network="regtest",
    )
    ran: list[str] = []
    async with open_runtime(settings, loops=False) as runtime:
        principal = await runtime.access.authenticate(Credentials(authorization=f"Bearer {API_KEY}"))
        await asyncio.sleep(0.1)
        runtime.services.database.counter = ran.append
        result = await schema.execute(PAGE, {"first": _WIDTH}, runtime.access.new_context(principal))
        runtime.services.database.counter = None
    if result.errors or result.data is None or len(result.data["payments"]["edges"]) != _WIDTH:
        raise BenchmarkFailed(f"the page is wrong: {result.errors}")
    return [sql for sql in ran if _OF_THE_BROKER not in sql]
