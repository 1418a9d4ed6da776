"""Receive requests and receives of the sandbox's Strike account."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest
from tests.contract.strike.conftest import Arm
from tests.contract.strike.strike_client import NOBODY, StrikeClient, btc, dollars_per_bitcoin, made, ok, refusal, usd

from quittance.sandbox.lnd import paying
from quittance.sandbox.rails import SandboxRails


async def _request(strike: StrikeClient, bolt11: dict[str, Any], **members: Any) -> Any:
    return made(await strike.post("/receive-requests", {"bolt11": bolt11, **members}))


async def _receives(strike: StrikeClient, **query: str) -> Any:
    return ok(await strike.get("/receive-requests/receives", **query))["items"]


async def test_a_request_is_shown_as_it_was_made(strike: StrikeClient) -> None:
    body = await _request(strike, {"amount": btc("0.00021000"), "description": "tea", "expiryInSeconds": 600})

    invoice = paying.read_invoice(body["bolt11"]["invoice"])
    assert (invoice.amount_msat, invoice.description, invoice.expiry_s) == (21_000_000, "tea", 600)
    assert datetime.fromisoformat(body["bolt11"]["expires"]).timestamp() == invoice.expires_at_s
    assert body == {
        "receiveRequestId": body["receiveRequestId"],
        "created": body["created"],
        "bolt11": {
            "invoice": body["bolt11"]["invoice"],
            "description": "tea",
            "paymentHash": invoice.payment_hash,
            "requestedAmount": btc("0.00021000"),
            "btcAmount": "0.00021000",
            "expires": body["bolt11"]["expires"],
        },
    }
    found = ok(await strike.get(f"/receive-requests/{body['receiveRequestId']}"))
    assert found | {"created": body["created"]} == body


async def test_money_that_came_is_shown_with_its_proof(strike: StrikeClient, rails: SandboxRails) -> None:
    body = await _request(strike, {"amount": btc("0.00021000")})

    preimage = await rails.pay(body["bolt11"]["invoice"])

    [receive] = ok(await strike.get(f"/receive-requests/{body['receiveRequestId']}/receives"))["items"]
    assert receive == {
        "receiveId": receive["receiveId"],
        "receiveRequestId": body["receiveRequestId"],
        "type": "LIGHTNING",
        "state": "COMPLETED",
        "amountReceived": btc("0.00021000"),
        "created": receive["created"],
        "amountCredited": btc("0.00021000"),
        "completed": receive["completed"],
        "lightning": {
            "invoice": body["bolt11"]["invoice"],
            "preimage": preimage.hex(),
            "paymentHash": body["bolt11"]["paymentHash"],
        },
    }
    assert (await strike.balance("BTC"))["available"] == "1.00021000"


async def test_the_payer_of_a_request_without_an_amount_says_it(strike: StrikeClient, rails: SandboxRails) -> None:
    body = await _request(strike, {})
    assert not {"requestedAmount", "btcAmount"} & body["bolt11"].keys()

    await rails.pay(body["bolt11"]["invoice"], amount_msat=33_000_999)

    [receive] = await _receives(strike)
    assert receive["amountReceived"] == receive["amountCredited"] == btc("0.00033000")


async def test_more_than_asked_for_is_received(strike: StrikeClient, rails: SandboxRails) -> None:
    body = await _request(strike, {"amount": btc("0.00021000")})

    await rails.pay(body["bolt11"]["invoice"], amount_msat=25_000_000)

    [receive] = await _receives(strike)
    assert receive["amountReceived"] == btc("0.00025000")


async def test_money_is_converted_at_the_price_of_the_moment_it_comes(
    strike: StrikeClient, rails: SandboxRails
) -> None:
    body = await _request(strike, {"amount": usd("20.00")}, targetCurrency="USD")
    rails.clock.advance(3 * 600)
    at_price = dollars_per_bitcoin(rails)

    await rails.pay(body["bolt11"]["invoice"])

    [receive] = await _receives(strike)
    assert body["targetCurrency"] == "USD"
    assert Decimal(receive["conversionRate"]["amount"]) == at_price
    credited, received = Decimal(receive["amountCredited"]["amount"]), Decimal(receive["amountReceived"]["amount"])
    assert 0 <= received * at_price - credited < Decimal("0.01")
    assert credited != Decimal("20.00")
    assert Decimal((await strike.balance("USD"))["available"]) == 10_000 + credited


async def test_money_of_another_customer_shows_no_hash(strike: StrikeClient, rails: SandboxRails, arm: Arm) -> None:
    await arm("p2p")
    first, second = await _request(strike, {"amount": btc("0.00001000")}), await _request(strike, {})
    frank = ok(await strike.get("/accounts/handle/frank_test/profile"))

    await rails.pay(first["bolt11"]["invoice"])
    await rails.pay(second["bolt11"]["invoice"], amount_msat=1_000_000)

    receives = {one["receiveRequestId"]: one for one in await _receives(strike)}
    internal, usual = receives[first["receiveRequestId"]], receives[second["receiveRequestId"]]
    assert (internal["type"], internal["p2p"]) == ("P2P", {"payerAccountId": frank["id"]})
    assert "lightning" not in internal
    assert (usual["type"], "p2p" in usual) == ("LIGHTNING", False)
    assert await _receives(strike, **{"$paymentHash": first["bolt11"]["paymentHash"]}) == []


async def test_money_may_be_pending_before_it_is_credited(strike: StrikeClient, rails: SandboxRails, arm: Arm) -> None:
    await arm("invoice_pending", seconds=20)
    body = await _request(strike, {"amount": btc("0.00021000")})
    await rails.pay(body["bolt11"]["invoice"])

    [pending] = await _receives(strike)
    before = (await strike.balance("BTC"))["available"]
    rails.clock.advance(21)

    assert (pending["state"], "amountCredited" in pending, before) == ("PENDING", False, "1.00000000")
    [receive] = await _receives(strike)
    assert (receive["state"], receive["receiveId"]) == ("COMPLETED", pending["receiveId"])
    assert (await strike.balance("BTC"))["available"] == "1.00021000"


async def test_lists_are_filtered_by_repeated_and_joined_values(strike: StrikeClient, rails: SandboxRails) -> None:
    requests = [await _request(strike, {"amount": btc("0.00001000")}) for _ in range(3)]
    ids, hashes = [one["receiveRequestId"] for one in requests], [one["bolt11"]["paymentHash"] for one in requests]
    for one in requests:
        await rails.pay(one["bolt11"]["invoice"])

    async def listed(path: str, query: list[tuple[str, str]]) -> list[str]:
        items = ok(await strike.http.get(path, params=httpx.QueryParams(tuple(query))))["items"]
        return [row["receiveRequestId"] for row in items]

    path, receives = "/receive-requests", "/receive-requests/receives"
    assert await listed(path, []) == ids[::-1]
    assert await listed(path, [("$paymentHash", hashes[0]), ("$paymentHash", hashes[2])]) == [ids[2], ids[0]]
    assert await listed(path, [("$paymentHash", f"{hashes[0]},{hashes[2]}")]) == [ids[2], ids[0]]
    assert await listed(path, [("$bolt11Invoice[]", requests[1]["bolt11"]["invoice"])]) == [ids[1]]
    assert await listed(path, [("$onchainAddress", "bcrt1q")]) == []
    assert await listed(path, [("$top", "1"), ("$skip", "1")]) == [ids[1]]
    assert await listed(receives, [("$receiveRequestId", ids[1])]) == [ids[1]]
    assert await listed(receives, [("$paymentHash", hashes[2])]) == [ids[2]]
    assert await listed(receives, [("$filter", f"receiveRequestId in ({ids[0]})")]) == ids[::-1]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, (400, "INVALID_DATA")),
        ({"bolt11": 7}, (400, "INVALID_DATA")),
        ({"bolt11": {"description": ""}}, (400, "INVALID_DATA")),
        ({"bolt11": {"description": "x" * 251}}, (400, "INVALID_DATA")),
        ({"bolt11": {"descriptionHash": "ab"}}, (400, "INVALID_DATA")),
        ({"bolt11": {"expiryInSeconds": 0}}, (400, "INVALID_DATA")),
        ({"bolt11": {"expiryInSeconds": "60"}}, (400, "INVALID_DATA")),
        ({"bolt11": {"expiryInSeconds": 10**12}}, (422, "UNPROCESSABLE_ENTITY")),
        ({"bolt11": {"amount": btc("0.00000000001")}}, (422, "INVALID_AMOUNT")),
        ({"bolt11": {}, "targetCurrency": "XYZ"}, (400, "INVALID_DATA")),
        ({"bolt11": {}, "targetCurrency": "AUD"}, (422, "CURRENCY_UNSUPPORTED")),
        ({"bolt11": {}, "onchain": {}}, (422, "UNSUPPORTED_PAYMENT_METHOD")),
    ],
)
async def test_what_is_no_request_is_refused(
    strike: StrikeClient, body: dict[str, Any], expected: tuple[int, str]
) -> None:
    assert refusal(await strike.post("/receive-requests", body)) == expected
    assert ok(await strike.get("/receive-requests"))["count"] == 0


async def test_requests_are_found_by_id_alone(strike: StrikeClient) -> None:
    for path in ("/receive-requests/{}", "/receive-requests/{}/receives"):
        assert refusal(await strike.get(path.format(NOBODY))) == (404, "NOT_FOUND")
        assert refusal(await strike.get(path.format("7"))) == (400, "INVALID_DATA")


async def test_an_account_does_not_pay_its_own_request(strike: StrikeClient) -> None:
    body = await _request(strike, {"amount": btc("0.00001000")})

    answer = await strike.post("/payment-quotes/lightning", {"lnInvoice": body["bolt11"]["invoice"]})

    assert refusal(answer) == (422, "SELF_PAYMENT_NOT_ALLOWED")
