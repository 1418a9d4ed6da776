"""Everything a process needs, opened in order and closed in the other: database, rails, services, loops."""

import asyncio
import contextlib
import fcntl
import os
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

import structlog

from quittance.domain.access import Principal
from quittance.domain.errors import ProviderMisconfigured
from quittance.domain.ids import EVENT, ApiKeyId, SessionId, new_id
from quittance.domain.secrets import SecretDeriver
from quittance.domain.webhook import read_secrets
from quittance.gql.limits import DocumentLimits
from quittance.providers.base import ProviderHealth, ReceivingProvider, SettlementFeed
from quittance.providers.callbacks import ReadsCallbacks
from quittance.providers.hints import SignedHints
from quittance.providers.rates.board import RateBoard
from quittance.resolvers.services import (
    Services,
    WebhookTools,
)
from quittance.sandbox.clock import SandboxClock
from quittance.sandbox.coordinates import SandboxCoordinates
from quittance.server.access import ServerAccess
from quittance.server.broker import EventBroker
from quittance.server.outgoing import OutgoingOnDemand, payee_directory
from quittance.server.payloads import GraphQLPayloads
from quittance.server.rails import LND, Rails, bitcoin_network, open_rails
from quittance.server.rates import RateSourcesOnDemand, rate_board
from quittance.server.rules import limiter_of, payment_rules, reader_rules, transfer_rules
from quittance.server.secret_key import SecretKeyDamaged, load_deriver
from quittance.server.settings import PREFIX, Settings
from quittance.store import instance, jobs, leases, merchants, options, readers
from quittance.store.database import Database, is_said_by_database, open_database, sqlite_path
from quittance.workers.jobs import JobRunner
from quittance.workers.loop import for_ever
from quittance.workers.settlements import follow_feed
from quittance.workers.webhooks import FanOut
from quittance.workers.work import runners

if TYPE_CHECKING:
    from quittance.server.sandbox_host import SandboxHost

log = structlog.get_logger("quittance.runtime")

KEY_USE_FLUSH_S = 30.0
NETWORK_CHECK_S = 3.0


class StartRefused(Exception):
    """The process cannot start; the sentence says what to do."""


@contextlib.contextmanager
def telling_of_the_database() -> Iterator[None]:
    """Turn whatever a driver says at the start into one sentence.

    Raises:
        StartRefused: the database does not answer, or is not one of ours.
    """
    try:
        yield
    except Exception as error:
        if not is_said_by_database(error):
            raise
        reason = str(getattr(error, "orig", None) or error).partition("\n")[0]
        raise StartRefused(f"the database cannot be used ({reason}); check QUITTANCE_DATABASE_URL") from None


@dataclass(slots=True, kw_only=True)
class Runtime:
    """What the doors and loops of one process share."""

    settings: Settings
    services: Services
    broker: EventBroker
    access: ServerAccess
    sandbox: "SandboxHost | None"
    feeds: dict[str, SettlementFeed]
    runners: Sequence[JobRunner]
    fan_out: FanOut
    holder: str = field(default_factory=lambda: f"{os.getpid()}-{secrets.token_hex(4)}")


@asynccontextmanager
async def open_runtime(settings: Settings, *, loops: bool) -> AsyncIterator[Runtime]:
    """Open everything; with ``loops`` this process also runs the worker loops.

    Raises:
        StartRefused: a setting does not fit what is found.
    """
    async with AsyncExitStack() as stack:
        clock, sandbox, coordinates = await _open_sandbox(settings, stack)
        database = await _open_database(settings, stack, now=clock)
        rails = _open_rails(settings, coordinates, stack, database=database, now=clock)
        await _check_networks(rails.receiving)
        sources = _rate_sources(settings, coordinates, rails, now=clock)
        stack.push_async_callback(sources.aclose)
        services = _services(
            settings, rails, database=database, rates=rate_board(sources, settings, now=clock), now=clock
        )
        with telling_of_the_database():
            await _check_secret_key(services)
        broker = EventBroker(database)
        await broker.start()
        stack.push_async_callback(broker.stop)
        access = ServerAccess(services, broker, key_used=(uses := _KeyUses(services)).add)
        working = runners(services, webhooks_per_second=settings.webhooks_per_second)
        _equip(services, settings, stack, access, network=bitcoin_network(settings, coordinates))

        def wake_jobs() -> None:
            for runner in working:
                runner.wake.set()

        services.wake_jobs = wake_jobs
        runtime = Runtime(
            settings=settings,
            services=services,
            broker=broker,
            access=access,
            sandbox=sandbox,
            feeds=rails.feeds,
            runners=working,
            fan_out=FanOut(services=services),
        )
        broker.listen(lambda _: runtime.fan_out.wake.set())
        own = [for_ever("key_uses", uses.flush)]
        if services.rates is not None:
            own.append(for_ever("rates", services.rates.run))
        if sandbox is not None:
            own.append(for_ever("sandbox", sandbox.take_over))
        await stack.enter_async_context(_running(own))
        if loops:
            await stack.enter_async_context(_running(_loops(runtime)))
        yield runtime


def _services(
    settings: Settings, rails: Rails, *, database: Database, rates: RateBoard | None, now: Callable[[], datetime]
) -> Services:
    return Services(
        database=database,
        rails=rails.receiving,
        default_provider=settings.default_rail,
        rates=rates,
        now=now,
        derive=_deriver(settings),
        limiter=limiter_of(settings),
        public_url=settings.base_url,
        rules=payment_rules(settings),
        transfers=transfer_rules(settings),
        readers=reader_rules(settings),
        payers=rails.paying,
        callbacks=_callbacks(settings),
        callback_tools=rails.callback_tools,
    )


def _equip(
    services: Services, settings: Settings, stack: AsyncExitStack, access: ServerAccess, *, network: str
) -> None:
    """Give the services what calls other people's addresses; ``network`` is the one that payees are paid on."""
    outgoing, to_shop = OutgoingOnDemand(settings), OutgoingOnDemand(settings, anywhere=True)
    stack.push_async_callback(outgoing.aclose)
    stack.push_async_callback(to_shop.aclose)
    services.webhook_tools = WebhookTools(
        outgoing=outgoing, payloads=GraphQLPayloads(access, limits=DocumentLimits()), shop=to_shop
    )
    services.payee_directory = payee_directory(outgoing, settings, network=network, now=services.now)


def _loops(runtime: Runtime) -> list[Coroutine[None, None, None]]:
    services, holder = runtime.services, runtime.holder
    feeds = [follow_feed(services, provider=name, feed=feed, holder=holder) for name, feed in runtime.feeds.items()]
    working = [runner.run() for runner in runtime.runners]
    return [*feeds, runtime.fan_out.run(holder=holder), *working]


@asynccontextmanager
async def _running(loops: Sequence[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(loop) for loop in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _open_sandbox(
    settings: Settings, stack: AsyncExitStack
) -> tuple[Callable[[], datetime], "SandboxHost | None", SandboxCoordinates | None]:
    """Start the sandbox rails, or find those that another process on this state directory runs."""
    if not settings.sandbox:
        return lambda: datetime.now(UTC), None, None
    from quittance.server.sandbox_host import SandboxHost

    directory = settings.state_dir / "sandbox"
    clock = SandboxClock(directory / "clock.json")
    host = SandboxHost(directory=directory, clock=clock)
    stack.push_async_callback(host.close)
    coordinates = await host.open()
    if coordinates is None:
        raise StartRefused(f"another process holds the sandbox in {directory} but does not say where it listens")
    return clock.now, host, coordinates


async def _open_database(settings: Settings, stack: AsyncExitStack, *, now: Callable[[], datetime]) -> Database:
    database = open_database(
        settings.database_url,
        now=now,
        new_event_id=lambda: new_id(EVENT, at=now(), entropy=os.urandom(10)),
        group_commit=settings.group_commit,
    )
    stack.push_async_callback(database.close)
    path = sqlite_path(settings.database_url)
    if path is not None:
        with telling_of_the_database():
            await _release_claims_if_alone(
                database, stack.enter_context(path.with_name(path.name + ".instance").open("a"))
            )
    return database


async def _release_claims_if_alone(database: Database, lock: IO[str]) -> None:
    """Void what a killed process had claimed and leased, unless another process lives on this database."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        await database.write(options.release_claims)
        await database.write(jobs.release_claims)
        await database.write(leases.release_all)
    except BlockingIOError:
        pass
    fcntl.flock(lock, fcntl.LOCK_SH)


def _open_rails(
    settings: Settings,
    coordinates: SandboxCoordinates | None,
    stack: AsyncExitStack,
    *,
    database: Database,
    now: Callable[[], datetime],
) -> Rails:
    try:
        rails = open_rails(settings, coordinates, stack, database=database, now=now)
    except ProviderMisconfigured as error:
        raise StartRefused(error.message) from None
    except OSError as error:
        raise StartRefused(f"{error.filename}: {error.strerror}") from None
    if not rails.receiving:
        raise StartRefused(
            "no rail is set: set QUITTANCE_LND_ADDRESS, QUITTANCE_CLN_URL or QUITTANCE_STRIKE_API_KEY, or "
            "QUITTANCE_SANDBOX=true to try it out"
        )
    return rails


def _rate_sources(
    settings: Settings, coordinates: SandboxCoordinates | None, rails: Rails, *, now: Callable[[], datetime]
) -> RateSourcesOnDemand:
    sources = RateSourcesOnDemand(settings, coordinates, now=now, more=rails.rates)
    if 0 < len(sources.names) < settings.rates_sources_min:
        raise StartRefused(
            f"{settings.rates_sources_min} price sources must agree, but there are only {len(sources.names)}: set more "
            f"in {PREFIX}RATES_SOURCES, none to do without, or {PREFIX}RATES_SOURCES_MIN"
        )
    return sources


def _callbacks(settings: Settings) -> dict[str, ReadsCallbacks]:
    """Return what reads the callbacks of each rail that has any; LND's come from a script beside the node."""
    if settings.lnd_callback_secret is None:
        return {}
    return {LND: SignedHints(read_secrets(settings.lnd_callback_secret.get_secret_value()))}


def _deriver(settings: Settings) -> SecretDeriver:
    try:
        return load_deriver(settings)
    except SecretKeyDamaged as error:
        raise StartRefused(str(error)) from None


async def _check_networks(rails: Mapping[str, ReceivingProvider]) -> None:
    """Refuse to start on a rail that moves other money than we book; one that does not answer yet may come later."""
    found = await asyncio.gather(*(_health_in_time(rail) for rail in rails.values()))
    for name, health in zip(rails, found, strict=True):
        if health is not None and health.wrong_network:
            setting = f"{PREFIX}{name.upper().replace('-', '_')}_NETWORK"
            raise StartRefused(f"{name}: {health.detail}; connect another node, or set {setting} to this one's network")


async def _health_in_time(rail: ReceivingProvider) -> ProviderHealth | None:
    try:
        async with asyncio.timeout(NETWORK_CHECK_S):
            return await rail.health()
    except TimeoutError:
        return None


async def _check_secret_key(services: Services) -> None:
    """Refuse a secret key other than the one this database's client secrets were made with."""
    fingerprint = services.derive.fingerprint()
    known = await services.database.write(lambda transaction: instance.agree(transaction, "secret-key", fingerprint))
    if known != fingerprint:
        raise StartRefused(
            "this database was made with another secret key: set QUITTANCE_SECRET_KEY, or QUITTANCE_STATE_DIR to the "
            "folder that holds it; with a new key, client secrets already handed out would open nothing"
        )


class _KeyUses:
    """Remembers which keys and tokens were used, and writes that down now and then instead of at every request."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._keys: set[ApiKeyId] = set()
        self._sessions: set[SessionId] = set()

    def add(self, principal: Principal) -> None:
        if principal.key_id is not None:
            self._keys.add(principal.key_id)
        if principal.session_id is not None:
            self._sessions.add(principal.session_id)

    async def flush(self) -> None:
        await asyncio.sleep(KEY_USE_FLUSH_S)
        keys, self._keys = sorted(self._keys), set()
        sessions, self._sessions = sorted(self._sessions), set()
        at = self._services.now()
        if keys:
            await self._services.database.write(lambda transaction: merchants.touch_keys(transaction, keys, at=at))
        if sessions:
            await self._services.database.write(
                lambda transaction: readers.touch_sessions(transaction, sessions, at=at)
            )
