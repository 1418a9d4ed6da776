"""Creates and reads on a database of a million payments against an empty one."""

import asyncio
import sqlite3
import time
from itertools import cycle
from pathlib import Path

from benchmarks.documents import create_work, read_work
from benchmarks.http_load import Load, Work, load
from benchmarks.plan import Plan
from benchmarks.processes import rails_process, server_process
from benchmarks.report import Report, middle, progress
from benchmarks.requests_answered import MANY

_GOAL = 0.90
_SAMPLE = 500
_DAYS = 100
_EVENTS = 3

# Payments that are over, evenly spread over the past: id, option, three events and an idempotency key each.
_SEED = """
CREATE TEMP TABLE one AS
WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {rows})
SELECT n, :begin_ms + n * :step_us / 1000 AS ms, n % 10 < 7 AS paid,
  printf('%012x7%03x8%015x', :begin_ms + n * :step_us / 1000, n & 4095, n) AS tail
FROM number;
INSERT INTO payment SELECT 'pay_' || tail, merchant.id, '', NULL, iif(paid, 'COMPLETE', 'EXPIRED'), NULL, 'ORDER',
  'lnd', 100000, 'BTC', 11, iif(paid, 100000, NULL), 'test', NULL, NULL, 3600, ms * 1000, ms * 1000,
  (ms + 3600000) * 1000, iif(paid, ms * 1000, NULL) FROM one, merchant;
INSERT INTO payment_option SELECT 'opt_' || tail, 'pay_' || tail, 'lnd', iif(paid, 'SETTLED', 'CLOSED'),
  lower(hex(randomblob(32))), 100000, 'BTC', 11, 'lnbcrt1u1' || lower(hex(randomblob(150))), ms * 1000,
  (ms + 3600000) * 1000, ms * 1000, NULL FROM one;
INSERT INTO event SELECT head.position + (n - 1) * 3 + kind.k, 'evt_' || printf('%01x', kind.k) || substr(tail, 2),
  kind.name, merchant.id, 'pay_' || tail, NULL, kind.status, ms * 1000
FROM one, merchant, event_head AS head, (
  SELECT 1 AS k, 'payment.updated' AS name, 'PENDING_INVOICE' AS status UNION ALL
  SELECT 2, 'payment.updated', 'PENDING_PAYMENT' UNION ALL SELECT 3, 'payment.settled', 'COMPLETE') AS kind
ORDER BY n, kind.k;
UPDATE event_head SET position = position + 3 * {rows};
INSERT INTO idempotency SELECT merchant.id, 'seed-' || printf('%012d', n), randomblob(32), 'pay_' || tail, ms * 1000
FROM one, merchant;
"""


async def measure(plan: Plan, report: Report) -> None:
    home = plan.home / "volume"
    async with rails_process(home / "rails-full") as first, rails_process(home / "rails-empty") as second:
        async with server_process(home / "full", first):
            pass
        progress(f"  seeding {plan.rows:,} payments")
        await asyncio.to_thread(_seed, home / "full" / "quittance.db", plan.rows)
        size_mib = (home / "full" / "quittance.db").stat().st_size / 2**20
        async with server_process(home / "full", first) as full, server_process(home / "empty", second) as empty:
            works: dict[str, dict[str, Work]] = {}
            for name, server in (("full", full), ("empty", empty)):
                await load(server, create_work(), clients=MANY, seconds=max(1.0, plan.warm_s))
                ids = await asyncio.to_thread(_some_ids, home / name / "quittance.db")
                works[name] = {"create": create_work(), "read": _reads(ids)}
                await load(server, works[name]["read"], clients=MANY, seconds=plan.warm_s)
            for kind in ("create", "read"):
                for clients in (1, MANY):
                    on_full: list[Load] = []
                    on_empty: list[Load] = []
                    for _ in range(plan.rounds):
                        on_full.append(await load(full, works["full"][kind], clients=clients, seconds=plan.seconds))
                        on_empty.append(await load(empty, works["empty"][kind], clients=clients, seconds=plan.seconds))
                    _tell(report, f"{kind} with {plan.rows:,} payments, {clients} clients", on_full, on_empty)
    report.note(f"The database of {plan.rows:,} payments is {size_mib:,.0f} MiB.")


def _tell(report: Report, name: str, full: list[Load], empty: list[Load]) -> None:
    ratio = middle([a.per_s / b.per_s for a, b in zip(full, empty, strict=True)])
    cpu = middle([a.cpu_us / b.cpu_us for a, b in zip(full, empty, strict=True)])
    report.add(
        name,
        f"{middle([one.per_s for one in full]):,.0f}/s",
        beside=f"empty {middle([one.per_s for one in empty]):,.0f}/s; CPU each {cpu:.2f} x",
        ratio=f"{ratio:.2f}",
        goal=f">= {_GOAL:.2f}",
        reached=ratio >= _GOAL,
    )


def _reads(ids: list[str]) -> Work:
    makers = cycle([read_work(payment_id) for payment_id in ids])
    return Work(request=lambda: next(makers).request(), expected=b'"status":"')


def _seed(path: Path, rows: int) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-1000000")
    connection.execute("PRAGMA temp_store=MEMORY")
    span_us = _DAYS * 86_400 * 1_000_000
    parameters = {"begin_ms": int(time.time() * 1000) - span_us // 1000, "step_us": span_us // rows}
    connection.execute("BEGIN")
    for statement in _SEED.format(rows=rows).split(";\n"):
        if statement.strip():
            connection.execute(statement, parameters if ":begin_ms" in statement else {})
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _some_ids(path: Path) -> list[str]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        found = connection.execute("SELECT id FROM payment ORDER BY random() LIMIT ?", (_SAMPLE,)).fetchall()
    finally:
        connection.close()
    return [payment_id for (payment_id,) in found]
