"""Payees that are named by an LNURL, in letters or as a link, are paid as those with an address are."""

from collections.abc import Callable

import pytest
from tests.integration.conftest import Till
from tests.integration.outgoing_money import found, payout
from tests.integration.test_refunds import address

from quittance.domain.lnurl import encode

AMOUNT_MSAT = 100_000


@pytest.fixture
async def rich(till: Till) -> Till:
    await till.sold(amount_msat=10 * AMOUNT_MSAT)
    return till


@pytest.mark.parametrize(
    "written",
    [
        lambda place: encode(f"http://{place}"),
        lambda place: encode(f"http://{place}").lower(),
        lambda place: f"lightning:{encode(f'http://{place}')}",
        lambda place: f"lnurlp://{place}",
        lambda place: f"https://shop.example/pay?lightning={encode(f'http://{place}')}",
    ],
    ids=["upper case", "lower case", "with a scheme", "lnurlp", "in a link"],
)
async def test_a_payee_by_lnurl_is_paid_once(rich: Till, written: Callable[[str], str]) -> None:
    host, bob = address(rich).partition("@")[2], rich.rails.nodes["bob"].balance_msat
    destination = written(f"{host}/.well-known/lnurlp/bob")

    begun = await payout(rich, amount={"msat": str(AMOUNT_MSAT)}, destination=destination)
    await rich.send()

    done = await found(rich, begun["id"])
    assert (done["status"], done["destinationKind"]) == ("SUCCEEDED", "LNURL")
    assert done["destination"] == destination.removeprefix("lightning:")
    assert rich.rails.nodes["bob"].balance_msat == bob + AMOUNT_MSAT
    assert len(rich.rails.nodes["merchant"].payments) == 1


async def test_an_lnurl_that_leads_to_nobody_fails_and_gives_everything_back(rich: Till) -> None:
    host, before = address(rich).partition("@")[2], await rich.balances()

    answer = await payout(
        rich, amount={"msat": str(AMOUNT_MSAT)}, destination=f"lnurlp://{host}/.well-known/lnurlp/nobody"
    )
    await rich.send()

    assert answer["code"] == "PAYEE_REFUSED"
    assert [row["state"] for row in await rich.rows("transfer")] == ["FAILED"]
    assert await rich.balances() == before | {"RESERVED": 0}
    assert len(rich.rails.nodes["merchant"].payments) == 0
