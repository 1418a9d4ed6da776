"""One command that measures, prints one table, and leaves nothing behind."""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from benchmarks import fan_out, jobs, pages, requests_answered, slow_disk, start_up, volume, webhooks
from benchmarks.plan import Plan
from benchmarks.processes import BenchmarkFailed
from benchmarks.report import Report, progress

PARTS: dict[str, Callable[[Plan, Report], Awaitable[None]]] = {
    "start-up": start_up.measure,
    "requests": requests_answered.measure,
    "slow-disk": slow_disk.measure,
    "pages": pages.measure,
    "jobs": jobs.measure,
    "webhooks": webhooks.measure,
    "fan-out": fan_out.measure,
    "volume": volume.measure,
}


async def run(plan: Plan, parts: list[str]) -> Report:
    """Measure part after part; one that fails is noted, and the others still run."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    report = Report()
    for part in parts:
        progress(f"{part}:")
        try:
            await PARTS[part](plan, report)
        except (BenchmarkFailed, TimeoutError) as error:
            report.note(f"FAILED: {part}: {error or 'it took too long'}")
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    report.note(
        f"{os.cpu_count()} cores shared by server, rails and load; load average at the end {load}; "
        f"medians of {plan.rounds} rounds of {plan.seconds:g} s, in turn. LNbits' figures are recorded ones."
    )
    return report


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short rounds, and 50,000 payments: to see that it runs")
    parser.add_argument("--only", action="append", choices=list(PARTS), help="measure this part; repeat for several")
    parser.add_argument("--rounds", type=int, help="rounds of everything (default 5; 2 with --quick)")
    parser.add_argument("--seconds", type=float, help="length of a round (default 3; 1 with --quick)")
    parser.add_argument("--rows", type=int, help="payments of the full database (default 1,000,000)")
    parser.add_argument("--directory", type=Path, help="where databases are made: choose the disk that matters")
    asked = parser.parse_args()
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    with tempfile.TemporaryDirectory(prefix="quittance-benchmark-", dir=asked.directory) as home:
        plan = Plan(
            home=Path(home),
            rounds=asked.rounds or (2 if asked.quick else 5),
            seconds=asked.seconds or (1.0 if asked.quick else 3.0),
            warm_s=0.5 if asked.quick else 1.5,
            rows=asked.rows or (50_000 if asked.quick else 1_000_000),
            crowds=(1, 1_000, 5_000),
            events=3 if asked.quick else 7,
        )
        report = uvloop.run(run(plan, asked.only or list(PARTS)))
    sys.stdout.write(report.table() + "\n")
    return 1 if any(note.startswith("FAILED") for note in report.notes) else 0


if __name__ == "__main__":
    sys.exit(main())
