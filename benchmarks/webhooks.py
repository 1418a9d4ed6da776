"""Webhooks: how many go out in a second, and what telling takes from those who are served meanwhile."""

import asyncio
import shutil
import time
from collections import defaultdict

from benchmarks.documents import create_work, new_payment
from benchmarks.http_load import Load, ask, graphql, load
from benchmarks.plan import Plan
from benchmarks.processes import BenchmarkFailed, Measured, Rails, rails_process, server_process, worker_process
from benchmarks.receivers import Receiver, receiving
from benchmarks.report import Report, middle
from benchmarks.requests_answered import MANY

_MESSAGES = 1_000
_EVENTS_OF_A_CREATE = 2
_CROWDS = (1, 100)
_TOLD = (0, 1, 10)
_ARRIVE_S = 120.0
_CALM_S = 0.5
_OPEN = {"QUITTANCE_WEBHOOKS_PER_SECOND": "1000000", "QUITTANCE_OUTGOING_PRIVATE_NETWORKS": "127.0.0.0/8"}

CREATE_ENDPOINT = """
mutation ($url: String!, $types: [WebhookEventType!]) {
  createWebhookEndpoint(input: { url: $url, eventTypes: $types }) {
    ... on CreateWebhookEndpointSuccess { endpoint { id } }
    ... on UserError { code message }
  }
}
"""


async def measure(plan: Plan, report: Report) -> None:
    async with rails_process(plan.home / "webhooks" / "rails") as rails, receiving() as receiver:
        for crowd in _CROWDS:
            await _deliveries(plan, report, rails, receiver, crowd)
        await _creates(plan, report, rails, receiver)


async def _deliveries(plan: Plan, report: Report, rails: Rails, receiver: Receiver, crowd: int) -> None:
    """Let a worker find as much to tell whatever the number of endpoints, and look from the first that comes on."""
    state = plan.home / "webhooks" / f"to-{crowd}"
    per_s: list[float] = []
    cpu_ms: list[float] = []
    async with server_process(state, rails, **_OPEN, QUITTANCE_IN_PROCESS_WORKER="false") as server:
        for number in range(crowd):
            await _new_endpoint(server, receiver.url(number))
        for _ in range(plan.rounds):
            for _ in range(_MESSAGES // crowd // _EVENTS_OF_A_CREATE):
                await new_payment(server.port)
            before = receiver.count
            async with worker_process(state, rails, **_OPEN) as worker:
                await receiver.until(before + 1, seconds=_ARRIVE_S)
                first, begun_s, cpu_s = receiver.count, time.perf_counter(), worker.cpu_s
                await receiver.until(before + _MESSAGES, seconds=_ARRIVE_S)
                came, took_s = receiver.count - first, time.perf_counter() - begun_s
                per_s.append(came / took_s)
                cpu_ms.append((worker.cpu_s - cpu_s) / came * 1000)
                await asyncio.sleep(_CALM_S)  # that the last are taken is stored, or they would come again
    to = "1 endpoint" if crowd == 1 else f"{crowd} endpoints"
    report.add(f"deliveries to {to}", f"{middle(per_s):,.0f}/s, {middle(cpu_ms):.2f} ms CPU each")


async def _new_endpoint(server: Measured, url: str) -> str:
    answer, _ = await ask(server.port, graphql(CREATE_ENDPOINT, {"url": url, "types": ["PAYMENT_UPDATED"]}))
    made = answer["data"]["createWebhookEndpoint"]
    if "endpoint" not in made:
        raise BenchmarkFailed(f"no endpoint: {made}")
    return str(made["endpoint"]["id"])


async def _creates(plan: Plan, report: Report, rails: Rails, receiver: Receiver) -> None:
    """Load one fresh server after the other: what one still has to tell must not busy the next."""
    loads: dict[int | None, list[Load]] = defaultdict(list)
    for _ in range(plan.rounds):
        for told in (None, *_TOLD):
            loads[told].append(await _loaded(plan, rails, receiver, told))
    without = loads.pop(None)
    report.add(f"create, {MANY} clients, no workers", f"{middle([one.per_s for one in without]):,.0f}/s")
    for told, rounds in loads.items():
        ratio = middle([one.per_s / alone.per_s for one, alone in zip(rounds, without, strict=True)])
        report.add(
            f"create, {MANY} clients, workers and {told} endpoint{'s' * (told != 1)}",
            f"{middle([one.per_s for one in rounds]):,.0f}/s, p99 {middle([one.p99_ms for one in rounds]):.0f} ms",
            ratio=f"{ratio:.2f} of without",
        )


async def _loaded(plan: Plan, rails: Rails, receiver: Receiver, told: int | None) -> Load:
    state = plan.home / "webhooks" / "creates"
    workers = {"QUITTANCE_IN_PROCESS_WORKER": str(told is not None)}
    async with server_process(state, rails, **_OPEN, **workers) as server:
        await load(server, create_work(), clients=MANY, seconds=plan.warm_s)
        for number in range(told or 0):
            await _new_endpoint(server, receiver.url(number))
        result = await load(server, create_work(), clients=MANY, seconds=plan.seconds)
    shutil.rmtree(state)
    return result
