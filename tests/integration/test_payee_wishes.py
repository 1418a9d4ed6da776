"""What payees want shown to who pays them (LUD-09, LUD-10), and what who pays has to say to them (LUD-12)."""

from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from tests.integration.conftest import Till
from tests.integration.outgoing_money import found, payout
from tests.integration.test_refunds import address

from quittance.sandbox.http import LoopbackServer
from quittance.sandbox.payees import COMMENT_CHARACTERS_MAX

AMOUNT = {"msat": "100000"}
NewPayee = Callable[[int | None], Awaitable[str]]


@pytest.fixture
async def rich(till: Till) -> Till:
    """The shop, with enough to pay out."""
    await till.sold(amount_msat=10_000_000)
    return till


@pytest.fixture
async def new_payee(till: Till) -> AsyncIterator[NewPayee]:
    """Give bob an address at a server that allows comments of so many characters, or says nothing of comments."""
    servers: list[LoopbackServer] = []

    async def make(comment_allowed: int | None) -> str:
        async def offer(_: Request) -> JSONResponse:
            host = address(till).partition("@")[2]
            async with httpx.AsyncClient() as http:
                said = (await http.get(f"http://{host}/.well-known/lnurlp/bob")).json()
            del said["commentAllowed"]
            return JSONResponse(said if comment_allowed is None else said | {"commentAllowed": comment_allowed})

        server = LoopbackServer(Starlette(routes=[Route("/.well-known/lnurlp/bob", offer)]))
        await server.start()
        servers.append(server)
        return f"bob@127.0.0.1:{server.port}"

    yield make
    for server in servers:
        await server.stop()


async def heard(till: Till, node: str, transfer_id: str) -> str:
    """Return the comment that a paid payee was given."""
    done = await found(till, transfer_id)
    assert done["status"] == "SUCCEEDED"
    return till.rails.nodes[node].invoices[bytes.fromhex(done["attempts"][0]["paymentHash"])].memo


@pytest.mark.parametrize(
    ("node", "wish"),
    [
        ("alice", "Thank you from alice"),
        ("bob", "Thank you from bob http://{host}/thanks"),
        ("carol", "Thank you from carol carol's secret"),
    ],
)
async def test_what_the_payee_wants_shown_is_shown_once_it_is_paid(rich: Till, node: str, wish: str) -> None:
    host = address(rich, node).partition("@")[2]

    begun = await payout(rich, amount=AMOUNT, destination=address(rich, node))
    await rich.send()

    done = await found(rich, begun["id"])
    assert (begun["status"], begun["message"]) == ("SENDING", None)
    assert (done["status"], done["message"]) == ("SUCCEEDED", wish.format(host=host))


async def test_who_is_paid_by_invoice_has_nothing_to_show(rich: Till) -> None:
    invoice = rich.rails.new_invoice("carol", amount_msat=100_000, memo="Look at this")

    begun = await payout(rich, destination=invoice)
    await rich.send()

    done = await found(rich, begun["id"])
    assert (done["status"], done["message"]) == ("SUCCEEDED", None)


async def test_a_payee_whose_link_leads_elsewhere_is_not_paid(rich: Till) -> None:
    await rich.rails.faults.arm("payees", "foreign_link")

    answer = await payout(rich, amount=AMOUNT, destination=address(rich))
    await rich.send()

    assert answer["code"] == "PAYEE_INVOICE_MISMATCH"
    assert [(row["state"], row["message"]) for row in await rich.rows("transfer")] == [("FAILED", None)]
    assert len(rich.rails.nodes["merchant"].payments) == 0


async def test_a_comment_reaches_the_payee_as_it_was_said(rich: Till) -> None:
    comment = "Grüße & danke, 50 % von mir?"

    begun = await payout(rich, amount=AMOUNT, destination=address(rich), comment=comment)
    await rich.send()

    assert begun["comment"] == comment
    assert await heard(rich, "bob", begun["id"]) == comment


async def test_a_comment_is_cut_to_what_the_payee_takes_and_kept_whole_here(rich: Till, new_payee: NewPayee) -> None:
    comment = "ü" * (COMMENT_CHARACTERS_MAX + 60)
    strict = await new_payee(7)

    one = await payout(rich, key="1", amount=AMOUNT, destination=address(rich), comment=comment)
    other = await payout(rich, key="2", amount=AMOUNT, destination=strict, comment="1234567890")
    await rich.send()

    assert await heard(rich, "bob", one["id"]) == "ü" * COMMENT_CHARACTERS_MAX
    assert await heard(rich, "bob", other["id"]) == "1234567"
    assert [(await found(rich, made["id"]))["comment"] for made in (one, other)] == [comment, "1234567890"]


@pytest.mark.parametrize("comment_allowed", [None, 0])
async def test_a_payee_that_takes_no_comments_is_paid_without_one(
    rich: Till, new_payee: NewPayee, comment_allowed: int | None
) -> None:
    destination = await new_payee(comment_allowed)

    begun = await payout(rich, amount=AMOUNT, destination=destination, comment="Thanks!")
    await rich.send()

    assert await heard(rich, "bob", begun["id"]) == ""
