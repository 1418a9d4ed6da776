"""Names that are slow to be answered for, asked of the system in threads: they hold up no other, and have an end."""

import asyncio
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress

import pytest

from quittance.providers.base import OutgoingFailed
from quittance.providers.outgoing import OutgoingClient, OutgoingRules
from quittance.providers.outgoing_names import THREADS_EACH, NameResolver

PORT = 443
ADDRESS = "192.0.2.1"


class System:
    """The system's resolver: it answers at once, or, for names that hang, when it is told to."""

    def __init__(self) -> None:
        self.hangs = True
        self.asked: Counter[str] = Counter()
        self.held = 0
        self.threads_max = 0
        self._changed = threading.Condition()

    def __call__(self, host: str, port: int) -> Sequence[str]:
        del port
        with self._changed:
            self.asked[host] += 1
            self.held += 1
            self.threads_max = max(self.threads_max, self.held)
            self._changed.notify_all()
            self._changed.wait_for(lambda: not (self.hangs and host.startswith("slow")))
            self.held -= 1
        if host.startswith("unknown"):
            raise OSError(host)
        return [ADDRESS]

    def let_go(self) -> None:
        with self._changed:
            self.hangs = False
            self._changed.notify_all()

    def until_held(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.held == count, timeout=20)


@pytest.fixture
def system() -> Iterator[System]:
    running = System()
    yield running
    running.let_go()


async def give_up(resolver: NameResolver, *hosts: str) -> None:
    """Ask for names whose answer nobody waits for to the end."""
    asking = [asyncio.create_task(resolver(host, PORT)) for host in hosts]
    await asyncio.sleep(0)  # each has got a place, or waits for one
    for one in asking:
        one.cancel()
        with suppress(asyncio.CancelledError):
            await one


async def test_slow_names_hold_up_no_name_that_was_answered_for_in_time(system: System) -> None:
    resolver = NameResolver(system)
    await resolver("quick.example", PORT)
    await give_up(resolver, *(f"slow-{number}.example" for number in range(5 * THREADS_EACH)))
    await asyncio.to_thread(system.until_held, THREADS_EACH)

    async with asyncio.timeout(20):
        assert await resolver("quick.example", PORT) == [ADDRESS]

    assert system.threads_max == THREADS_EACH + 1


async def test_names_that_were_slow_before_hold_up_no_new_one(system: System) -> None:
    resolver = NameResolver(system, prompt_s=0)  # no answer is prompt
    slow = [f"slow-{number}.example" for number in range(5 * THREADS_EACH)]
    system.hangs = False
    await asyncio.gather(*(resolver(host, PORT) for host in slow))
    system.hangs = True
    await give_up(resolver, *slow)
    await asyncio.to_thread(system.until_held, THREADS_EACH)

    async with asyncio.timeout(20):
        assert await resolver("new.example", PORT) == [ADDRESS]


async def test_a_name_that_nobody_waits_for_any_more_is_not_asked_about(system: System) -> None:
    resolver = NameResolver(system)
    await give_up(resolver, *(f"slow-{number}.example" for number in range(5 * THREADS_EACH)))
    await asyncio.to_thread(system.until_held, THREADS_EACH)

    system.let_go()
    async with asyncio.timeout(20):
        await resolver("next.example", PORT)

    assert len(system.asked) == THREADS_EACH + 1
    assert system.threads_max <= THREADS_EACH + 1


async def test_who_asks_meanwhile_shares_the_answer_and_who_asks_later_gets_another(system: System) -> None:
    resolver = NameResolver(system)
    asking = [asyncio.create_task(resolver("slow.example", PORT)) for _ in range(5)]
    await asyncio.to_thread(system.until_held, 1)
    asking[0].cancel()
    system.let_go()

    answers = await asyncio.gather(*asking, return_exceptions=True)
    asked = system.asked["slow.example"]
    await resolver("slow.example", PORT)

    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == [[ADDRESS]] * 4
    assert (asked, system.asked["slow.example"]) == (1, 2)


async def test_a_name_without_an_address_frees_its_place(system: System) -> None:
    resolver = NameResolver(system)
    for number in range(2 * THREADS_EACH):
        with pytest.raises(OSError, match="unknown"):
            await resolver(f"unknown-{number}.example", PORT)

    assert await resolver("quick.example", PORT) == [ADDRESS]


async def test_a_call_to_a_slow_name_ends_in_the_time_for_connecting(system: System) -> None:
    rules = OutgoingRules(connect_timeout_s=0.1, timeout_s=30)

    async with OutgoingClient(rules, resolve=NameResolver(system)) as client:
        with pytest.raises(OutgoingFailed, match="timeout"):
            async with asyncio.timeout(20):
                await client.get("https://slow.example/", headers={})

    assert system.asked["slow.example"] == 1


def test_a_process_ends_although_a_name_was_not_answered_for() -> None:
    program = """
import asyncio, threading
from quittance.providers.outgoing_names import NameResolver

asked = threading.Event()

def hang(host, port):
    asked.set()
    threading.Event().wait()

async def main():
    asyncio.create_task(NameResolver(hang)("slow.example", 443))
    while not asked.is_set():
        await asyncio.sleep(0.01)

asyncio.run(main())
print("ended")
"""

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert ended.stdout == "ended\n"


async def test_a_machine_without_a_free_thread_fails_one_call_and_no_later_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    system = System()
    names = NameResolver(system)

    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    for _ in range(THREADS_EACH + 1):
        with monkeypatch.context() as full:
            full.setattr(threading.Thread, "start", no_thread)
            with pytest.raises(OSError, match="no thread is free"):
                await names("quick.example", PORT)

    async with asyncio.timeout(5):
        assert await names("quick.example", PORT) == [ADDRESS]
