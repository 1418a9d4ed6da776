"""A running server with prices in national currencies: nothing is set up, and the rate keeps coming."""

from decimal import Decimal
from typing import Any

import httpx

RATE = "base quote value spread applied sources observedAt"
GENERATE = f"""
mutation ($input: GenerateInvoiceInput!) {{ generateInvoice(input: $input) {{
  __typename
  ... on GenerateInvoiceSuccess {{ payment {{ id status amount {{ value }} fiatAmount {{ formatted }} rate {{ {RATE} }}
    paymentRequest }} }}
  ... on UserError {{ code message }}
}} }}
"""
SETTLED = (
    "subscription { paymentSettled { payment { id fiatAmount { formatted } rate { value } received { value } } } }"
)
UPDATED = """
subscription { rateUpdated(base: "BTC", quote: "EUR") {
  __typename ... on Rate { value sources } ... on RateUnavailableError { reason }
} }
"""
TEN_EUROS = {"input": {"amount": {"fiat": {"currency": "EUR", "value": "10"}}}}


def asked(server: Any) -> dict[str, Any]:
    answer: dict[str, Any] = server.execute(GENERATE, TEN_EUROS)["generateInvoice"]
    return answer


def test_a_price_in_euros_is_paid_and_the_rate_is_told_with_it(new_server: Any) -> None:
    server = new_server()
    server.start()

    with server.socket() as socket:
        socket.subscribe(SETTLED)
        made = asked(server)["payment"]
        assert server.pay(made["paymentRequest"]).status_code == httpx.codes.OK
        settled = socket.next()["paymentSettled"]["payment"]

    worth = Decimal(made["amount"]["value"]) / 10**11 * Decimal(made["rate"]["applied"])
    assert 10 <= worth < Decimal("10.00001")
    assert (made["fiatAmount"]["formatted"], made["rate"]["quote"]) == ("10.00 EUR", "EUR")
    assert settled == {
        "id": made["id"],
        "fiatAmount": made["fiatAmount"],
        "rate": {"value": made["rate"]["value"]},
        "received": made["amount"],
    }


def test_a_rate_is_watched_while_the_clock_moves_and_sources_break(new_server: Any) -> None:
    server = new_server()
    server.start()

    with server.socket() as socket:
        socket.subscribe(UPDATED)
        first = socket.next()["rateUpdated"]
        _control(server, "clock", advanceSeconds=6 * 3_600)
        moved = first
        while moved.get("value") in {first["value"], None}:
            moved = socket.next()["rateUpdated"]
        _control(server, "faults", rail="prices", fault="unavailable", calls=1_000)
        _control(server, "clock", advanceSeconds=3_600)
        broken = moved
        while broken.get("reason") != "TOO_FEW_SOURCES":  # the Strike account still tells a rate
            broken = socket.next()["rateUpdated"]
        refused = asked(server)

    assert first["__typename"] == "Rate"
    assert broken["__typename"] == "RateUnavailableError"
    assert refused["code"] == "RATE_UNAVAILABLE"


def _control(server: Any, what: str, **said: object) -> None:
    answer = httpx.post(f"{server.url}/sandbox/{what}", json=said, timeout=20.0)
    assert answer.is_success, answer.text
