"""How soon a started server is ready, and what it holds in memory then."""

import time

from benchmarks.plan import Plan
from benchmarks.processes import rails_process, server_process
from benchmarks.report import Report, middle


async def measure(plan: Plan, report: Report) -> None:
    home = plan.home / "start-up"
    took_s: list[float] = []
    resident: list[float] = []
    async with rails_process(home / "rails") as rails:
        async with server_process(home / "server", rails):
            pass
        for _ in range(plan.rounds):
            begun = time.perf_counter()
            async with server_process(home / "server", rails) as server:
                took_s.append(time.perf_counter() - begun)
                resident.append(server.resident_bytes / 2**20)
    report.add("start to /ready", f"{middle(took_s):.2f} s")
    report.add("resident memory at /ready", f"{middle(resident):.0f} MiB")
