"""Death at every await of sending: the money arrives once, or is all back, and nothing stays set aside."""

from dataclasses import replace

from tests.integration.conftest import Till
from tests.integration.mortal import Fate, Mortal, dies
from tests.integration.outgoing_money import found, payout
from tests.integration.test_chaos import POINTS_MAX
from tests.integration.test_payouts import reader_with
from tests.integration.test_refunds import PRICE_MSAT, address

from quittance.domain.ids import TransferId
from quittance.domain.job import JobKind
from quittance.resolvers.jobs import end_run
from quittance.resolvers.sending import advance_transfer
from quittance.resolvers.services import Services
from quittance.store import jobs

AMOUNT_MSAT = 100_000


def mortal(services: Services, fate: Fate) -> Services:
    return replace(
        services,
        database=Mortal(services.database, fate),
        payers={name: Mortal(payer, fate) for name, payer in services.payers.items()},
        payee_directory=Mortal(services.payees, fate),
    )


async def run_once(services: Services, transfer_id: TransferId) -> None:
    """Take the transfer one step, as a runner does that claimed its job."""

    now, kinds = services.now(), frozenset({JobKind.TRANSFER})
    due = await services.database.scan(lambda t: jobs.runnable_jobs(t, kinds, now=now, limit=10))
    mine = [one for one in due if one.job.subject == transfer_id]
    claimed = await services.database.write(
        lambda t: jobs.claim_jobs(t, [one.job.id for one in mine], now=now, until=now)
    )
    for job in claimed:
        await end_run(services, replace(mine[0], job=job), await advance_transfer(services, job))


async def test_a_death_at_any_await_of_a_payout_pays_it_once(till: Till) -> None:
    await till.sold(amount_msat=100 * PRICE_MSAT)
    alice = await reader_with(till, 50 * PRICE_MSAT)
    for point in range(POINTS_MAX):
        fate = Fate(point)
        begun = await payout(
            till, as_=alice, key=str(point), amount={"msat": str(AMOUNT_MSAT)}, destination=address(till)
        )
        dead = await dies(run_once(mortal(till.services, fate), TransferId(begun["id"])))
        for _ in range(3):
            till.clock.advance(120)
            await till.send()

        assert (await found(till, begun["id"], as_=alice))["status"] == "SUCCEEDED"
        succeeded = [one for one in till.rails.nodes["merchant"].payments.values() if one.status == 2]
        assert len(succeeded) == point + 1
        assert (await till.balances())[f"RESERVED/{alice.account_id}/BTC/11"] == 0
        if not dead:
            assert point > 5
            return
    raise AssertionError("sending has more awaits than were tried")
