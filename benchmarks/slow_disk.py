"""Creates on a disk whose flush takes two milliseconds: what it is worth that waiting units share a commit."""

import asyncio
import shutil
from pathlib import Path

from benchmarks.documents import create_work
from benchmarks.http_load import Load, load
from benchmarks.plan import Plan
from benchmarks.processes import rails_process, server_process
from benchmarks.report import Report, middle
from benchmarks.requests_answered import MANY

_GOAL = 4.0
_SOURCE = Path(__file__).with_name("slow_disk.c")


async def measure(plan: Plan, report: Report) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        report.note("Creates on a slow disk were left out: there is no C compiler to build the slow flush with.")
        return
    home = plan.home / "slow-disk"
    home.mkdir()
    library = home / "slow_disk.so"
    build = await asyncio.create_subprocess_exec(
        compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(_SOURCE), "-ldl"
    )
    if await build.wait() != 0:
        report.note("Creates on a slow disk were left out: the slow flush could not be compiled.")
        return
    slow = {"LD_PRELOAD": str(library)}
    grouped: list[Load] = []
    single: list[Load] = []
    async with (
        rails_process(home / "rails-grouped") as first,
        rails_process(home / "rails-single") as second,
        server_process(home / "grouped", first, QUITTANCE_GROUP_COMMIT="true", **slow) as with_groups,
        server_process(home / "single", second, QUITTANCE_GROUP_COMMIT="false", **slow) as without,
    ):
        for server in (with_groups, without):
            await load(server, create_work(), clients=MANY, seconds=plan.warm_s)
        for _ in range(plan.rounds):
            grouped.append(await load(with_groups, create_work(), clients=MANY, seconds=plan.seconds))
            single.append(await load(without, create_work(), clients=MANY, seconds=plan.seconds))
    with_s, without_s = middle([one.per_s for one in grouped]), middle([one.per_s for one in single])
    ratio = middle([a.per_s / b.per_s for a, b in zip(grouped, single, strict=True)])
    report.add(
        f"create with a 2 ms flush, {MANY} clients", f"{with_s:,.0f}/s",
        beside=f"without group commit {without_s:,.0f}/s", ratio=f"{ratio:.1f} x",
        goal=f">= {_GOAL:.0f} x", reached=ratio >= _GOAL,
    )  # fmt: skip
