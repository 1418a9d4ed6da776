"""A server without its doors, to be killed: what it needs is imported once, and each line of input forks a life.

A life sells, and tells of what was sold until it is killed. At the moment that its line names it says so and holds
still; with another word it goes on.
"""

import asyncio
import importlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import structlog
import uvloop

from quittance.domain.access import Principal
from quittance.domain.money import msat
from quittance.gql.context import Credentials
from quittance.providers.base import Outgoing, OutgoingAnswer, Settlement
from quittance.resolvers.invoices import generate_invoice
from quittance.resolvers.orders import InvoiceOrder
from quittance.resolvers.settlements import report_settlement
from quittance.server.runtime import Runtime, open_runtime
from quittance.server.settings import load_settings

AMOUNT_MSAT = 21_000
LIFE_S_MAX = 60
LOADED_ON_DEMAND = ("server.sandbox_host", "providers.outgoing")  # but not in each life
OUT = os.fdopen(os.dup(1), "w", buffering=1)  # what libraries print is not for the test


def say(word: str, **more: object) -> None:
    OUT.write(json.dumps({"said": word, **more}) + "\n")


class Held:
    """Calls as the one inside does; holds still before or after its ``nth`` call, if that is the moment."""

    def __init__(self, inside: Outgoing, *, moment: str, nth: int) -> None:
        self._inside = inside
        self._moment = moment
        self._left = nth

    def check(self, url: str) -> None:
        self._inside.check(url)

    async def get(self, url: str, *, headers: Mapping[str, str], body_bytes_max: int | None = None) -> OutgoingAnswer:
        return await self._inside.get(url, headers=headers, body_bytes_max=body_bytes_max)

    async def post(self, url: str, *, body: bytes, headers: Mapping[str, str]) -> OutgoingAnswer:
        self._left -= 1
        is_it = self._left == 0
        if is_it:
            await hold("before the call", moment=self._moment)
        answer = await self._inside.post(url, body=body, headers=headers)
        if is_it:
            await hold("before the answer is stored", moment=self._moment)
        return answer


async def hold(now: str, *, moment: str) -> None:
    if now == moment:
        say(now)
        await asyncio.Event().wait()


async def live(*, moment: str, nth: int, sales: int) -> None:
    async with open_runtime(load_settings(), loops=False) as runtime:
        tools = runtime.services.webhooks
        runtime.services.webhook_tools = replace(tools, outgoing=Held(tools.outgoing, moment=moment, nth=nth))
        key = os.environ["QUITTANCE_BOOTSTRAP_API_KEY"]
        seller = await runtime.access.authenticate(Credentials(authorization=f"Bearer {key}"))
        say("begun", pid=os.getpid())
        selling = asyncio.gather(*(sell(runtime, seller) for _ in range(sales)))
        if moment == "before it is told":
            await selling
            await hold("before it is told", moment=moment)
        await asyncio.gather(selling, runtime.fan_out.run(holder=runtime.holder), runtime.runners[0].run())


async def sell(runtime: Runtime, seller: Principal) -> None:
    """Take an order, and book its money as the rail would report it."""
    services = runtime.services
    made = await generate_invoice(services, seller, InvoiceOrder(amount=msat(AMOUNT_MSAT)))
    paid = Settlement(
        reference=made.options[0].reference, received=msat(AMOUNT_MSAT), settled_at=services.now(), position=None
    )
    await report_settlement(services, provider="lnd", settlement=paid)


def main() -> None:
    os.dup2(2, 1)
    for name in LOADED_ON_DEMAND:
        importlib.import_module(f"quittance.{name}")
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    for line in sys.stdin:
        life: dict[str, Any] = json.loads(line)
        child = os.fork()
        if child == 0:
            signal.alarm(LIFE_S_MAX)
            uvloop.run(live(**life))
            os._exit(1)  # none ends by itself
        _, status = os.waitpid(child, 0)
        say("ended", signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)


if __name__ == "__main__":
    main()
