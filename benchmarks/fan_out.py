"""One settlement to thousands of subscribers, against a server that only writes a prepared frame."""

import asyncio
import json

from benchmarks.documents import new_payment
from benchmarks.http_load import ask, http_request
from benchmarks.plan import Plan
from benchmarks.processes import Measured, Rails, floor_process, rails_process, raise_file_limit, server_process
from benchmarks.report import Report, middle
from benchmarks.subscribers import Crowd, Listener, Subscriber, gather_crowd, prepared_frame

_CALM_S = 0.5
_RATIO_MAX = 4.0
_KIB_MAX = 50.0
_FILES_SPARE = 500


async def measure(plan: Plan, report: Report) -> None:
    files = raise_file_limit()
    for size in plan.crowds:
        if 2 * size + _FILES_SPARE > files:
            report.note(f"{size:,} subscribers were left out: only {files:,} open files are allowed here.")
            continue
        home = plan.home / f"fan-out-{size}"
        async with (
            floor_process("fan-out", home / "floor") as floor,
            rails_process(home / "rails") as rails,
            server_process(
                home / "server", rails,
                QUITTANCE_SOCKETS_PER_ADDRESS_MAX=str(size + 10), QUITTANCE_SOCKETS_MAX=str(size + 10),
            ) as server,
        ):  # fmt: skip
            await _one_size(plan, report, size, rails=rails, floor=floor, server=server)


async def _one_size(plan: Plan, report: Report, size: int, *, rails: Rails, floor: Measured, server: Measured) -> None:
    warm = await gather_crowd(server.port, 1, Subscriber)
    await _settle(server, rails, warm)
    warm.close()
    await asyncio.sleep(_CALM_S)
    before = server.resident_bytes
    crowd = await gather_crowd(server.port, size, Subscriber)
    await asyncio.sleep(_CALM_S)
    each_kib = (server.resident_bytes - before) / size / 1024
    listeners = await gather_crowd(floor.port, size, Listener)
    ours: list[list[float]] = []
    least: list[list[float]] = []
    frame = b""
    for _ in range(plan.events):
        ours.append(await _settle(server, rails, crowd))
        frame = frame or crowd.last
        least.append(await _floor(listeners, size_bytes=len(frame)))
    crowd.close()
    listeners.close()
    ratio = middle([a[-1] / b[-1] for a, b in zip(ours, least, strict=True)])
    counted = size >= max(plan.crowds)
    report.add(
        f"settled to {size:,} subscribers: last",
        f"{_times(ours)}",
        beside=f"prepared frame {_times(least)}",
        ratio=f"{ratio:.2f} x",
        goal=f"<= {_RATIO_MAX:.0f} x" if counted else "",
        reached=ratio <= _RATIO_MAX if counted else None,
    )
    if size > 1:
        report.add(
            f"memory of a subscriber, {size:,} of them", f"{each_kib:.1f} KiB",
            goal=f"<= {_KIB_MAX:.0f} KiB" if counted else "", reached=each_kib <= _KIB_MAX if counted else None,
        )  # fmt: skip


async def _settle(server: Measured, rails: Rails, crowd: Crowd) -> list[float]:
    payment = await new_payment(server.port)
    await asyncio.sleep(_CALM_S)
    crowd.expect()
    body = json.dumps({"paymentRequest": payment["paymentRequest"]}).encode()
    paying = asyncio.create_task(ask(rails.port, http_request("/sandbox/pay", body, api_key=None)))
    arrivals = await crowd.arrivals_ms()
    await paying
    return arrivals


async def _floor(crowd: Crowd, *, size_bytes: int) -> list[float]:
    await asyncio.sleep(_CALM_S)
    crowd.expect()
    text = b'{"occurredAt":"OCCURRED"}'
    crowd.clients[0].write(prepared_frame(text.ljust(size_bytes - 4)))
    return await crowd.arrivals_ms()


def _times(rounds: list[list[float]]) -> str:
    first, median, last = (
        middle([arrivals[0] for arrivals in rounds]),
        middle([arrivals[len(arrivals) // 2] for arrivals in rounds]),
        middle([arrivals[-1] for arrivals in rounds]),
    )
    return f"{last:.1f} ms (first {first:.1f}, median {median:.1f})"
