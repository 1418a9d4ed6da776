"""Creates and reads against the bare answer and the bare commit, in turn, at one client and at many."""

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
from pydantic import SecretStr

from benchmarks import floors
from benchmarks.documents import create_work, new_payment, read_work
from benchmarks.http_load import Load, Work, http_request, load
from benchmarks.plan import Plan
from benchmarks.processes import BenchmarkFailed, Measured, Rails, floor_process, rails_process, server_process
from benchmarks.report import Report, middle, percentile
from quittance.providers.lnd._proto import lnrpc_pb2
from quittance.providers.lnd._proto.lnrpc_pb2_grpc import LightningStub
from quittance.providers.lnd.channel import LndConnection, open_channel

MANY = 32
GROUP_ROWS = 32

# LNbits 1.6.2 with its fake wallet, measured earlier on a 2-core machine; not part of this run.
LNBITS_PER_S = {("create", 1): 78.0, ("create", MANY): 67.0, ("read", 1): 122.0, ("read", MANY): 110.0}
LNBITS_MIB = 157.0
LNBITS_CPU_US = {("create", 1): 11_957, ("create", MANY): 14_109, ("read", 1): 7_875, ("read", MANY): 8_912}
BARE_ANSWER_CPU_US = 33.0  # of that machine: a slower one is told by this
_GOALS = {("create", 1): 8.0, ("create", MANY): 10.0, ("read", 1): 18.0, ("read", MANY): 20.0}
_SPREAD_MAX = 4.0
_MEMORY_MAX = 0.7


async def measure(plan: Plan, report: Report) -> None:
    home = plan.home / "requests"
    async with (
        floor_process("echo", home / "echo") as echo,
        rails_process(home / "rails") as rails,
        _running_again(home / "server", rails) as server,
    ):
        payment = await new_payment(server.port)
        echo_work = Work(request=lambda: _ECHO, expected=b'"payment"')
        works = {
            "echo": (echo, echo_work),
            "read": (server, read_work(payment["id"])),
            "create": (server, create_work()),
        }
        loads: dict[tuple[str, int], list[Load]] = defaultdict(list)
        rail: dict[int, list[tuple[float, float]]] = defaultdict(list)
        commits: dict[int, list[float]] = defaultdict(list)
        for process, work in works.values():
            await load(process, work, clients=MANY, seconds=plan.warm_s)
        for _ in range(plan.rounds):
            for clients in (1, MANY):
                for name, (process, work) in works.items():
                    loads[name, clients].append(await load(process, work, clients=clients, seconds=plan.seconds))
                rail[clients].append(await ask_rail(rails, clients=clients, seconds=plan.seconds))
            for rows in (1, GROUP_ROWS):
                commits[rows].append(
                    await asyncio.to_thread(
                        floors.commits_per_s, home / "floor.db", seconds=plan.seconds / 2, rows=rows
                    )
                )
        resident_mib = server.resident_bytes / 2**20
    _tell(
        report,
        loads,
        rail={c: _medians(r) for c, r in rail.items()},
        commits={r: middle(c) for r, c in commits.items()},
    )
    ratio = resident_mib / LNBITS_MIB
    report.add(
        "resident memory after that load", f"{resident_mib:.0f} MiB", ratio=f"{ratio:.2f} of LNbits",
        goal=f"<= {_MEMORY_MAX}", reached=ratio <= _MEMORY_MAX,
    )  # fmt: skip


@asynccontextmanager
async def _running_again(state: Path, rails: Rails) -> AsyncIterator[Measured]:
    """Run a server whose database stands already, as nearly every start finds it."""
    async with server_process(state, rails):
        pass
    async with server_process(state, rails) as server:
        yield server


_ECHO = http_request("/graphql", b'{"query":"{ payment { id } }","variables":{}}' + b" " * 200)


def _tell(
    report: Report,
    loads: dict[tuple[str, int], list[Load]],
    *,
    rail: dict[int, tuple[float, float]],
    commits: dict[int, float],
) -> None:
    for (name, clients), rounds in sorted(loads.items(), key=lambda item: (item[0][0] != "echo", item[0])):
        per_s, cpu_us = middle([one.per_s for one in rounds]), middle([one.cpu_us for one in rounds])
        p50, p99 = middle([one.p50_ms for one in rounds]), middle([one.p99_ms for one in rounds])
        measured = f"{per_s:,.0f}/s, p50 {p50:.2f} ms, p99 {p99:.2f} ms, {cpu_us:,.0f} us CPU each"
        if name == "echo":
            report.add(f"floor: bare answer, {_clients(clients)}", measured)
            continue
        floor = middle([one.per_s for one in loads["echo", clients]])
        speed = middle([one.cpu_us for one in loads["echo", MANY]]) / BARE_ANSWER_CPU_US
        by_cpu = LNBITS_CPU_US[name, clients] / cpu_us * speed
        ratio, goal = per_s / LNBITS_PER_S[name, clients], _GOALS[name, clients]
        report.add(
            f"{name}, {_clients(clients)}",
            measured,
            beside=f"bare answer {floor:,.0f}/s: {per_s / floor:.2f}; by CPU at equal speed {by_cpu:.1f} x LNbits"
            + (f"; single commit {commits[1]:,.0f}/s: {per_s / commits[1]:.2f}" if name == "create" else ""),
            ratio=f"{ratio:.1f} x LNbits",
            goal=f">= {goal:.0f} x",
            reached=ratio >= goal,
        )
        if clients == MANY:
            spread = middle([one.p99_ms / one.p50_ms for one in rounds])
            report.add(
                f"{name}, {_clients(clients)}: p99 / p50", f"{p99:.1f} / {p50:.1f} ms", ratio=f"{spread:.2f}",
                goal=f"<= {_SPREAD_MAX:.0f}", reached=spread <= _SPREAD_MAX,
            )  # fmt: skip
    for clients, (per_s, p50_ms) in rail.items():
        create = middle([one.p50_ms for one in loads["create", clients]])
        report.add(
            f"the rail's share: AddInvoice alone, {_clients(clients)}",
            f"{per_s:,.0f}/s, p50 {p50_ms:.2f} ms",
            beside=f"create p50 {create:.2f} ms",
            ratio=f"{p50_ms / create:.2f} of a create",
        )
        if clients == 1:
            left_per_s = 1000 / (create - p50_ms)
            report.add(
                "create, 1 client, the rail's time apart", f"{left_per_s:,.0f}/s",
                ratio=f"{left_per_s / LNBITS_PER_S['create', 1]:.1f} x LNbits",
            )  # fmt: skip
    for rows, per_s in commits.items():
        report.add(f"floor: durable rows, {rows} in a commit", f"{per_s:,.0f}/s")


async def ask_rail(rails: Rails, *, clients: int, seconds: float) -> tuple[float, float]:
    """Return AddInvoice calls per second straight over gRPC, and the median time of one in milliseconds."""
    connection = LndConnection(
        address=rails.lnd["address"],
        tls_cert=await asyncio.to_thread(Path(rails.lnd["tls_cert_path"]).read_bytes),
        macaroon=SecretStr((await asyncio.to_thread(Path(rails.lnd["macaroon_path"]).read_bytes)).hex()),
    )
    channel = open_channel(connection)
    took_s: list[float] = []
    try:
        stub = LightningStub(channel)
        await _add_invoice(stub)
        deadline = time.perf_counter() + seconds

        async def one() -> None:
            while (begun := time.perf_counter()) < deadline:
                await _add_invoice(stub)
                took_s.append(time.perf_counter() - begun)

        begun = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(clients)))
        return len(took_s) / (time.perf_counter() - begun), percentile(took_s, 0.5) * 1000
    finally:
        await channel.close(grace=None)


async def _add_invoice(stub: LightningStub) -> None:
    question = lnrpc_pb2.Invoice(memo="test", r_preimage=os.urandom(32), value_msat=100_000, expiry=3_600)
    try:
        await stub.AddInvoice(question, timeout=10.0)
    except grpc.aio.AioRpcError as error:
        raise BenchmarkFailed(f"the rail refused: {error.details()}") from error


def _medians(rounds: list[tuple[float, float]]) -> tuple[float, float]:
    return middle([per_s for per_s, _ in rounds]), middle([p50 for _, p50 in rounds])


def _clients(clients: int) -> str:
    return "1 client" if clients == 1 else f"{clients} clients"
