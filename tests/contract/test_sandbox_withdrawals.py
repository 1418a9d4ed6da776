"""The sandbox's wallet takes money at doors of this machine, and tells what became of it when they misbehave."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from tests.contract.test_sandbox_control import client_of

from quittance.domain import lnurl
from quittance.sandbox.http import LoopbackServer
from quittance.sandbox.rails import SandboxRails

K1 = "ab" * 32


@dataclass
class Door:
    """A door that says what it is told to, and remembers what wallets said."""

    offer: Any = None
    answer: Any = field(default_factory=lambda: {"status": "OK"})
    said: list[Mapping[str, str]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def offers(self, **more: object) -> None:
        self.offer = {
            "tag": "withdrawRequest",
            "callback": f"{self.url}/callback",
            "k1": K1,
            "defaultDescription": "from the door",
            "minWithdrawable": 1_000,
            "maxWithdrawable": 50_000,
        } | more

    async def scanned(self, _: Request) -> Response:
        return JSONResponse(self.offer)

    async def called(self, request: Request) -> Response:
        self.said.append(dict(request.query_params))
        return JSONResponse(self.answer)


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    one = Door()
    server = LoopbackServer(Starlette(routes=[Route("/", one.scanned), Route("/callback", one.called)]))
    await server.start()
    one.port = server.port
    one.offers()
    yield one
    await server.stop()


async def withdraw(rails: SandboxRails, code: str, **more: object) -> tuple[int, dict[str, Any]]:
    async with client_of(rails) as client:
        told = await client.post("/sandbox/withdraw", json={"lnurl": code} | more)
    body: dict[str, Any] = told.json()
    return told.status_code, body.get("error", body)


async def test_a_wallet_brings_an_invoice_of_its_node_for_all_or_for_less(rails: SandboxRails, door: Door) -> None:
    whole = await withdraw(rails, lnurl.encode(door.url))
    part = await withdraw(rails, lnurl.encode(door.url), node="bob", amountMsat=7_000)

    assert [(status, body["status"], body["amountMsat"]) for status, body in (whole, part)] == [
        (200, "OK", 50_000),
        (200, "OK", 7_000),
    ]
    assert door.said == [{"k1": K1, "pr": body["paymentRequest"]} for _, body in (whole, part)]
    for name, (_, body) in (("alice", whole), ("bob", part)):
        (invoice,) = rails.nodes[name].invoices.values()
        assert (invoice.payment_request, invoice.memo) == (body["paymentRequest"], "from the door")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tag": "payRequest"}, "it offers no withdrawal"),
        ({"tag": None, "reason": "was used"}, "was used"),
        ({"callback": "http://192.0.2.1/callback"}, "its offer makes no sense, or leads to another machine"),
        ({"callback": "http://[::1"}, "its offer makes no sense, or leads to another machine"),
        ({"maxWithdrawable": "all"}, "its offer makes no sense, or leads to another machine"),
    ],
)
async def test_an_offer_that_makes_no_sense_is_told(
    rails: SandboxRails, door: Door, change: dict[str, object], reason: str
) -> None:
    door.offers(**change)

    status, body = await withdraw(rails, lnurl.encode(door.url))

    assert (status, body["code"], body["message"]) == (409, "WITHDRAWAL_REFUSED", reason)
    assert door.said == []


async def test_a_door_that_refuses_or_talks_nonsense_is_told(rails: SandboxRails, door: Door) -> None:
    told = []
    for answer in ({"status": "ERROR", "reason": "too late"}, ["OK"]):
        door.answer = answer
        told.append((await withdraw(rails, lnurl.encode(door.url)))[1]["message"])
    door.offer = "nothing"
    told.append((await withdraw(rails, lnurl.encode(door.url)))[1]["message"])
    told.append((await withdraw(rails, lnurl.encode("http://127.0.0.1:1/")))[1]["message"])

    assert told == [
        "too late",
        "the door answers no JSON object",
        "the door answers no JSON object",
        "the door does not answer (ConnectError)",
    ]


@pytest.mark.parametrize(
    ("code", "more", "said"),
    [
        ("LNURL1nonsense", {}, (400, "INVALID_BODY")),
        (lnurl.encode("http://192.0.2.1/lnurl/withdraw?k1=00"), {}, (400, "INVALID_BODY")),
        (lnurl.encode("https://127.0.0.1/lnurl/withdraw?k1=00"), {}, (400, "INVALID_BODY")),
        (lnurl.encode(f"http://127.0.0.1:1/lnurl/auth?tag=login&k1={K1}"), {}, (400, "INVALID_BODY")),
        (lnurl.encode("http://127.0.0.1:1/"), {"node": "nobody"}, (404, "UNKNOWN_NODE")),
        (lnurl.encode("http://127.0.0.1:1/"), {"amountMsat": 0}, (400, "INVALID_BODY")),
    ],
)
async def test_what_is_no_withdrawal_of_this_machine_is_not_called(
    rails: SandboxRails, code: str, more: dict[str, object], said: tuple[int, str]
) -> None:
    status, body = await withdraw(rails, code, **more)

    assert (status, body["code"]) == said
