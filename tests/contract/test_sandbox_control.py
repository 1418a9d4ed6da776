"""The remote control does what it is told by this machine, and by nobody else."""

import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import httpx
import pytest
from starlette.applications import Starlette

from quittance.domain import lnurl
from quittance.providers.lnd._proto import lnrpc_pb2 as ln
from quittance.sandbox.control import BODY_BYTES_MAX, control_routes
from quittance.sandbox.lnd.keys import recover_signer
from quittance.sandbox.rails import SandboxCoordinates, SandboxRails


def client_of(rails: SandboxRails, *, address: str = "127.0.0.1", host: str = "localhost:8000") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(Starlette(routes=control_routes(rails)), client=(address, 5000))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost:8000", headers={"Host": host})


@pytest.fixture
async def control(rails: SandboxRails) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(rails) as client:
        yield client


async def add(client: Any, **fields: Any) -> str:
    answer = await client.lightning.AddInvoice(ln.Invoice(**fields), metadata=client.auth)
    return str(answer.payment_request)


async def test_the_status_names_rails_nodes_clock_and_faults(rails: SandboxRails, control: httpx.AsyncClient) -> None:
    body = (await control.get("/sandbox")).json()

    assert body.keys() == {"rails", "nodes", "clock", "faults"}
    assert body["rails"] == ["lnd", "lnd-ltc", "cln", "strike", "payees", "prices"]
    assert [(node["name"], node["currency"]) for node in body["nodes"]] == [
        ("merchant", "BTC"),
        ("alice", "BTC"),
        ("bob", "BTC"),
        ("carol", "BTC"),
        ("cln", "BTC"),
        ("strike", "BTC"),
        ("merchant-ltc", "LTC"),
        ("dave", "LTC"),
    ]
    assert body["nodes"][1] == {
        "name": "alice",
        "currency": "BTC",
        "pubkey": rails.nodes["alice"].pubkey,
        "balanceMsat": 10 * 10**11,
        "lightningAddress": rails.address_of("alice"),
    }
    assert body["nodes"][0]["lightningAddress"] is None
    assert {"delay", "lost_answer", "silent_stream", "restart"} <= {fault["fault"] for fault in body["faults"]}


async def test_webhooks_of_the_strike_account_are_listed(rails: SandboxRails, control: httpx.AsyncClient) -> None:
    key = rails.strike.api_key_path.read_text()
    terms = {"webhookUrl": "http://127.0.0.1:9/", "webhookVersion": "v1", "secret": "x" * 10, "enabled": True}
    async with httpx.AsyncClient(base_url=rails.strike.url, headers={"Authorization": f"Bearer {key}"}) as strike:
        await strike.post("/v1/subscriptions", json=terms | {"eventTypes": ["invoice.created"]})
        await strike.post("/v1/invoices", json={"amount": {"amount": "1.00", "currency": "USD"}})

    [row] = (await control.get("/sandbox/strike/deliveries")).json()["deliveries"]

    assert (row["eventType"], row["webhookUrl"], row["delivered"]) == ("invoice.created", "http://127.0.0.1:9/", False)
    assert row["attempts"] in {0, 1}


async def test_a_payment_answers_its_preimage(merchant: Any, control: httpx.AsyncClient) -> None:
    request = await add(merchant, value=5, r_preimage=b"p" * 32)

    paid = await control.post("/sandbox/pay", json={"paymentRequest": request, "node": "bob"})
    again = await control.post("/sandbox/pay", json={"paymentRequest": request})

    assert (paid.status_code, paid.json()) == (200, {"preimage": (b"p" * 32).hex()})
    assert again.status_code == 409
    assert again.json() == {"error": {"code": "PAYMENT_REFUSED", "message": "invoice is already paid"}}


async def test_an_invoice_is_paid_by_a_node_of_its_chain(
    rails: SandboxRails, connect: Any, merchant: Any, control: httpx.AsyncClient
) -> None:
    in_bitcoin, in_litecoin = await add(merchant, value=5), await add(connect("merchant-ltc"), value=6)

    paid = [
        (await control.post("/sandbox/pay", json={"paymentRequest": request})).status_code
        for request in (in_bitcoin, in_litecoin)
    ]

    assert in_litecoin.startswith("lnrltc60n1")
    assert paid == [200, 200]
    assert {name: node.balance_msat for name, node in rails.nodes.items()} == {
        "merchant": 5_000,
        "alice": 10**12 - 5_000 - 1_000,
        "bob": 10**12,
        "carol": 10**12,
        "cln": 0,
        "strike": 10**12,
        "merchant-ltc": 6_000,
        "dave": 10**12 - 6_000 - 1_000,
    }


@pytest.mark.parametrize("amount", [{}, {"amountMsat": 9_000}])
@pytest.mark.parametrize(("payee", "payer"), [("merchant-ltc", "alice"), ("merchant", "dave")])
async def test_a_node_of_another_chain_refuses_an_invoice(
    rails: SandboxRails, connect: Any, control: httpx.AsyncClient, payee: str, payer: str, amount: dict[str, int]
) -> None:
    body = {"paymentRequest": await add(connect(payee), value=6), "node": payer} | amount

    refused = await control.post("/sandbox/pay", json=body)

    assert (refused.status_code, refused.json()["error"]["message"]) == (
        409,
        "invoice not for current active network 'regtest'",
    )
    assert dict(rails.nodes[payer].payments) == {}


async def test_a_fault_meets_the_node_of_its_rail_alone(
    connect: Any, merchant: Any, control: httpx.AsyncClient
) -> None:
    litecoin = connect("merchant-ltc")
    await control.post("/sandbox/faults", json={"rail": "lnd-ltc", "fault": "unavailable", "calls": 1})

    assert await add(merchant, value=1)
    with pytest.raises(grpc.aio.AioRpcError, match="failed to connect"):
        await add(litecoin, value=1)
    assert await add(litecoin, value=1)


async def test_the_nodes_say_which_chain_they_are_on(connect: Any) -> None:
    facts = [await client.lightning.GetInfo(ln.GetInfoRequest(), metadata=client.auth) for client in _nodes(connect)]

    assert [(one.chains[0].chain, one.chains[0].network, one.num_peers, one.version[:6]) for one in facts] == [
        ("bitcoin", "regtest", 5, "0.21.2"),
        ("litecoin", "regtest", 1, "0.17.3"),
        ("litecoin", "regtest", 1, "0.17.3"),
    ]


def _nodes(connect: Any) -> list[Any]:
    return [connect(name) for name in ("alice", "merchant-ltc", "dave")]


async def test_an_expired_invoice_is_refused_with_its_reason(
    rails: SandboxRails, merchant: Any, control: httpx.AsyncClient
) -> None:
    request = await add(merchant, value=5, expiry=60)
    moved = await control.post("/sandbox/clock", json={"advanceSeconds": 3600})

    refused = await control.post("/sandbox/pay", json={"paymentRequest": request})

    assert moved.json()["clock"]["offsetSeconds"] == 3600
    assert refused.status_code == 409
    assert refused.json()["error"]["message"].startswith("invoice expired")


async def test_a_wallet_signs_logins_of_this_machine_and_tells_what_became_of_them(
    control: httpx.AsyncClient,
) -> None:
    url = f"http://127.0.0.1:1/lnurl/auth?tag=login&k1={'ab' * 32}"

    async def answer(text: str, **more: str) -> tuple[int, str, str]:
        told = await control.post("/sandbox/lnurl-auth", json={"lnurl": text} | more)
        return told.status_code, told.json()["error"]["code"], told.json()["error"]["message"]

    assert await answer(lnurl.encode(url)) == (409, "LOGIN_REFUSED", "the door does not answer (ConnectError)")
    assert (await answer(lnurl.encode(url), node="nobody"))[:2] == (404, "UNKNOWN_NODE")
    assert await answer(lnurl.encode(url.replace("127.0.0.1:1", "192.0.2.1"))) == (
        400, "INVALID_BODY", "lnurl: it leads to another machine",
    )  # fmt: skip
    assert (await answer("LNURL1nonsense"))[:2] == (400, "INVALID_BODY")
    assert (await answer(lnurl.encode(url.replace("tag=login", "tag=payRequest"))))[:2] == (400, "INVALID_BODY")


async def test_a_signature_is_the_nodes(rails: SandboxRails, control: httpx.AsyncClient) -> None:
    body = (await control.post("/sandbox/sign-message", json={"message": "login ✓", "node": "carol"})).json()

    signer = recover_signer("login ✓".encode(), body["signature"])

    assert signer is not None
    assert signer.hex() == body["pubkey"] == rails.nodes["carol"].pubkey


async def test_an_armed_fault_is_listed_until_it_is_used(control: httpx.AsyncClient, merchant: Any) -> None:
    body = {"rail": "lnd", "fault": "delay", "calls": 2, "method": "AddInvoice", "seconds": 0}
    armed = (await control.post("/sandbox/faults", json=body)).json()
    await add(merchant, value=1)
    used = (await control.get("/sandbox")).json()

    def calls(answer: dict[str, Any]) -> list[dict[str, Any]]:
        return next(one["armed"] for one in answer["faults"] if (one["rail"], one["fault"]) == ("lnd", "delay"))

    assert calls(armed) == [{"calls": 2, "method": "AddInvoice", "seconds": 0}]
    assert calls(used) == [{"calls": 1, "method": "AddInvoice", "seconds": 0}]


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("pay", {}, 400, "INVALID_BODY"),
        ("pay", {"paymentRequest": 5}, 400, "INVALID_BODY"),
        ("pay", {"paymentRequest": "x", "node": "eve"}, 404, "UNKNOWN_NODE"),
        ("pay", {"paymentRequest": "x"}, 409, "PAYMENT_REFUSED"),
        ("pay", [], 400, "INVALID_BODY"),
        ("sign-message", {"node": "bob"}, 400, "INVALID_BODY"),
        ("clock", {"advanceSeconds": -1}, 400, "INVALID_BODY"),
        ("clock", {"advanceSeconds": True}, 400, "INVALID_BODY"),
        ("clock", {"advanceSeconds": 1e300}, 400, "INVALID_BODY"),
        ("faults", {"rail": "lnd", "fault": "nope"}, 404, "UNKNOWN_FAULT"),
        ("faults", {"rail": "lnd", "fault": "delay", "calls": 0}, 400, "INVALID_BODY"),
        ("faults", {"rail": "lnd", "fault": "delay", "method": "Nope"}, 400, "INVALID_BODY"),
    ],
)
async def test_a_wrong_body_is_answered_by_an_error(
    control: httpx.AsyncClient, path: str, body: object, status: int, code: str
) -> None:
    answer = await control.post(f"/sandbox/{path}", json=body)

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def test_too_long_or_foreign_bodies_are_refused(control: httpx.AsyncClient) -> None:
    long = await control.post("/sandbox/pay", json={"paymentRequest": "x" * BODY_BYTES_MAX})
    form = await control.post("/sandbox/clock", content='{"advanceSeconds": 1}', headers={"Content-Type": "text/plain"})
    broken = await control.post("/sandbox/clock", content="{", headers={"Content-Type": "application/json"})

    assert [long.status_code, form.status_code, broken.status_code] == [413, 415, 400]


@pytest.mark.parametrize(
    ("address", "host", "status"),
    [
        ("10.0.0.5", "localhost:8000", 404),
        ("not an address", "localhost", 404),
        ("127.0.0.1", "evil.example", 403),
        ("127.0.0.1", "localhost.evil.example:8000", 403),
        ("127.0.0.1", "[::1]:8000", 200),
        ("::1", "127.0.0.1", 200),
    ],
)
async def test_only_this_machine_is_heard(rails: SandboxRails, address: str, host: str, status: int) -> None:
    async with client_of(rails, address=address, host=host) as client:
        answer = await client.get("/sandbox")

    assert answer.status_code == status


async def test_running_rails_are_found_by_other_processes(rails: SandboxRails) -> None:
    directory = rails.lnd.tls_cert_path.parents[2]

    assert SandboxCoordinates.load(directory) == rails.coordinates
    assert (directory / "rails.json").stat().st_mode & 0o777 == 0o600


async def test_the_sandbox_runs_in_a_process_of_its_own(tmp_path: Any) -> None:
    import asyncio

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "quittance.sandbox", "--directory", str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    line = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
    async with httpx.AsyncClient() as client:
        answer = await client.get(line["control_url"])
    process.terminate()

    assert answer.json()["rails"] == ["lnd", "lnd-ltc", "cln", "strike", "payees", "prices"]
    assert SandboxCoordinates.load(tmp_path).pid == line["pid"] == process.pid
    assert await asyncio.wait_for(process.wait(), 10) == 0
