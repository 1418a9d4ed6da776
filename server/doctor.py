"""What is wrong with this installation, and what to do about it."""

from dataclasses import dataclass

from quittance.domain.money import BTC_MSAT
from quittance.domain.rate import Rate, RateFlaw
from quittance.providers.base import TellsOfPaying
from quittance.resolvers.ledger import discrepancies
from quittance.resolvers.rails import health_of_all
from quittance.resolvers.services import Services
from quittance.server.offline import with_services
from quittance.server.runtime import StartRefused, open_runtime
from quittance.server.settings import Settings
from quittance.store.migrate import differences_from_loop, upgrade_from_loop


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    subject: str
    ok: bool
    detail: str


async def examine(settings: Settings) -> list[Finding]:
    """Check settings, database, ledger and rails, in the order in which they need each other."""
    findings = [Finding(subject="settings", ok=True, detail=f"{settings.base_url}, sandbox {settings.sandbox}")]
    database = await _database(settings)
    findings.append(database)
    if database.ok:
        findings.append(await _ledger(settings))
        findings.extend(await _rails(settings))
    return findings


async def _database(settings: Settings) -> Finding:
    where = settings.database_url.rpartition("@")[2]
    try:
        left = await differences_from_loop(settings.database_url)
        if left is not None and settings.migrate_on_start:  # as `serve` would
            await upgrade_from_loop(settings.database_url)
            left = await differences_from_loop(settings.database_url)
    except Exception as error:  # noqa: BLE001 - whatever the driver says, the operator must see it
        reason = str(error).partition("\n")[0]
        detail = f"{where} does not answer ({type(error).__name__}: {reason}); check QUITTANCE_DATABASE_URL"
        return Finding(subject="database", ok=False, detail=detail)
    if left is not None:
        return Finding(subject="database", ok=False, detail=f"{where} is behind; run `quittance migrate`")
    return Finding(subject="database", ok=True, detail=f"{where} is up to date")


async def _ledger(settings: Settings) -> Finding:
    found = await with_services(settings, discrepancies)
    detail = "; ".join(found[:3]) if found else "transactions sum to zero, balances are their entries' sums"
    return Finding(subject="ledger", ok=not found, detail=detail)


async def _rails(settings: Settings) -> list[Finding]:
    try:
        async with open_runtime(settings, loops=False) as runtime:
            found = [
                Finding(subject=f"rail {name}", ok=health.ready, detail=health.detail)
                for name, health in (await health_of_all(runtime.services)).items()
            ]
            paying = [await _paying(runtime.services, name) for name in runtime.services.rails]
            return [*found, *paying, *await _rates(runtime.services, sources_min=settings.rates_sources_min)]
    except (StartRefused, OSError) as error:
        return [Finding(subject="rails", ok=False, detail=str(error))]


async def _rates(services: Services, *, sources_min: int) -> list[Finding]:
    """Ask each price source for one price; those that fail are no fault while enough others answer."""
    if services.rates is None:
        return [Finding(subject="rates", ok=True, detail="off: no source is set, so no price in a national currency")]
    answers = await services.rates.answers(BTC_MSAT.code, "USD")
    enough = sum(isinstance(answer, Rate) for answer in answers.values()) >= sources_min
    return [
        Finding(subject=f"rates {name}", ok=enough or isinstance(answer, Rate), detail=_told(answer, enough=enough))
        for name, answer in answers.items()
    ]


def _told(answer: Rate | RateFlaw, *, enough: bool) -> str:
    if isinstance(answer, Rate):
        return f"a bitcoin is {answer.value:f} {answer.quote}"
    return f"no price ({answer}); {'the others are enough' if enough else 'too few answer for any price'}"


async def _paying(services: Services, name: str) -> Finding:
    """Tell whether a rail may pay; one that was not given the means to is as its operator wants it."""
    subject = f"paying from {name}"
    payer = services.payers.get(name)
    if payer is None:
        return Finding(subject=subject, ok=True, detail="off: no credential that may spend is set")
    if not isinstance(payer, TellsOfPaying):
        return Finding(subject=subject, ok=True, detail="on; this rail cannot tell more")
    health = await payer.paying_health()
    return Finding(subject=subject, ok=health.ready, detail=health.detail)
