"""Names to addresses, in threads that slow answers cannot use up."""

import asyncio
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import StrEnum, auto
from functools import partial
from typing import Final

LookUp = Callable[[str, int], Sequence[str]]

THREADS_EACH: Final = 16
PROMPT_S: Final = 2.0
NAMES_REMEMBERED: Final = 4_096

_Answer = Sequence[str] | Exception


class _Standing(StrEnum):
    """How soon a name was last answered for. While a look-up runs, its name is taken for slow."""

    NEW = auto()
    PROMPT = auto()
    SLOW = auto()


def ask_system(host: str, port: int) -> Sequence[str]:
    """Return the addresses that the system's resolver knows, in its order of preference.

    Raises:
        OSError: it knows none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class NameResolver:
    """Asks the system, which nobody can interrupt: a thread is held until it answers, whoever still waits.

    At most ``THREADS_EACH`` threads serve names of each standing, so what is slow waits for what is slow, and never
    holds up a name that was last answered for in time. Who asks for a name that is being asked for shares the answer.
    """

    def __init__(self, look_up: LookUp = ask_system, *, prompt_s: float = PROMPT_S) -> None:
        self._look_up = look_up
        self._prompt_s = prompt_s
        self._places = {standing: asyncio.Semaphore(THREADS_EACH) for standing in _Standing}
        self._known: OrderedDict[str, _Standing] = OrderedDict()
        self._asked: dict[tuple[str, int], asyncio.Future[_Answer]] = {}

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a name.

        Raises:
            OSError: the system knows none.
        """
        if (host, port) not in self._asked:
            place = self._places[self._known.get(host, _Standing.NEW)]
            await place.acquire()
            if (host, port) in self._asked:  # somebody was quicker
                place.release()
            else:
                self._ask(host, port, place)
        answer = await asyncio.shield(self._asked[host, port])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _ask(self, host: str, port: int, place: asyncio.Semaphore) -> None:
        """Give a name a thread. It is none of a pool's: those hold up the end of the process."""
        told = self._asked[host, port] = asyncio.get_running_loop().create_future()
        self._remember(host, _Standing.SLOW)
        tell = partial(self._tell, host, port, place)
        thread = threading.Thread(target=self._work, args=(host, port, told.get_loop(), tell), daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the machine has no thread left: whoever asks later finds one
            del self._asked[host, port]
            place.release()
            raise OSError(f"no thread is free to ask for {host}") from None

    def _work(
        self, host: str, port: int, loop: asyncio.AbstractEventLoop, tell: Callable[[_Answer, float], None]
    ) -> None:
        begun_s = time.monotonic()
        answer: _Answer
        try:
            answer = self._look_up(host, port)
        except Exception as error:  # noqa: BLE001 - handed to who waits for the answer
            answer = error
        with suppress(RuntimeError):  # the loop was closed: nobody waits there any more
            loop.call_soon_threadsafe(tell, answer, time.monotonic() - begun_s)

    def _tell(self, host: str, port: int, place: asyncio.Semaphore, answer: _Answer, took_s: float) -> None:
        place.release()
        if took_s < self._prompt_s:
            self._remember(host, _Standing.PROMPT)
        self._asked.pop((host, port)).set_result(answer)

    def _remember(self, host: str, standing: _Standing) -> None:
        self._known[host] = standing
        self._known.move_to_end(host)
        if len(self._known) > NAMES_REMEMBERED:
            self._known.popitem(last=False)
