"""A shop that does as the code of LNPay's sample does: what it sends, reads and is sent (strike.md, 3)."""

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from standardwebhooks import Webhook
from tests.e2e.conftest import API_KEY, Sandbox
from tests.unit.test_qr import decode, read_png

NewServer = Callable[..., Any]
WAIT_S = 20.0
QUIET_S = 1.5
BROWSER = {"amount_fiat": "12.50", "ln_address": "", "description": "Order of a book", "correlation_id": "k7f3"}
PAYMENT = """
query ($filter: PaymentFilter) { payments(filter: $filter) { edges { node {
  id status description correlationId refundAddress fiatAmount { decimal assetCode } deliveryStatus
  deliveries { edges { node { state eventType url attempts { statusCode } } } } } } } }
"""
ROTATE = "mutation { rotateNotifySecret { ... on RotateNotifySecretSuccess { secret } } }"


class SampleShop:
    """Does what the sample shop's code does, with the same words; it listens on IPv4 alone, as it does.

    ``gate`` holds notices up before they are answered.
    """

    def __init__(self) -> None:
        self.backend = ""
        self.headers: dict[str, str] = {}
        self.paid: dict[str, bool] = {}
        self.notices: list[tuple[dict[str, str], bytes]] = []
        self.gate: threading.Event | None = None
        self.held = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        if self.gate is not None:
            self.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def pass_on(self, said: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Ask the backend for an invoice with what the browser said; the answer's status is not looked at (S2)."""
        if "amount_fiat" not in said or "ln_address" not in said:
            return 400, {"message": "Invalid data", "status": "error"}
        float(said["amount_fiat"])  # all that it checks (S9)
        answer = httpx.post(f"{self.backend}/generate-invoice", json=said, headers=self.headers, timeout=20.0)
        try:
            body = answer.json()
        except ValueError:
            return 500, {"message": "Error processing API response", "status": "error"}
        if "data" not in body:
            return 500, {"message": "Invalid API response", "status": "error"}
        data = body["data"]
        self.paid[data["quote"]["lnInvoice"]] = False
        return 200, {
            "time": data["expiration_time"],
            "amount_btc": data["quote"]["sourceAmount"]["amount"],
            "qr_code": data["qr_code"],
            "invoice": data["quote"]["lnInvoice"],
        }

    def hear(self, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        self.notices.append((headers, body))
        if self.gate is not None:
            self.held.set()
            self.gate.wait(WAIT_S)
        said = json.loads(body)
        if "invoice" not in said:
            return 400, {"message": "Invalid data", "status": "error"}
        if said.get("status") == "success":
            self.paid[said["invoice"]] = True
        return 200, {"message": "Webhook received", "status": "success"}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.path == "/webhook":
                    told = {name.lower(): value for name, value in self.headers.items()}
                    self._answer(*shop.hear(told, body))
                else:
                    self._answer(*shop.pass_on(json.loads(body)))

            def do_GET(self) -> None:
                (invoice,) = parse_qs(urlsplit(self.path).query)["invoice"]
                self._answer(200, {"invoice_id": invoice, "success": shop.paid.get(invoice, False)})

            def _answer(self, status: int, said: dict[str, Any]) -> None:
                content = json.dumps(said).encode()
                try:
                    self.send_response(status)
                    self.send_header("content-length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except ConnectionError:
                    pass  # whoever asked was killed

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    # what its customer's browser does

    def buy(self, **said: str) -> dict[str, str]:
        """Return what the payment page shows: it is led there by a query string (S5)."""
        answer = httpx.post(f"{self.url}/submit", json=BROWSER | said, timeout=30.0)
        assert answer.status_code == 200, answer.text
        page = f"{self.url}/qr_code.html?{urlencode(answer.json())}"
        query = parse_qs(urlsplit(page).query, strict_parsing=True)
        return {name: values[0] for name, values in query.items()}

    def poll(self, invoice: str) -> bool:
        """Ask the shop whether it was paid (S7)."""
        answer = httpx.get(f"{self.url}/check_payment_status", params={"invoice": invoice}, timeout=10.0)
        return bool(answer.json()["success"])

    def until_paid(self, invoice: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not self.poll(invoice):
            assert time.monotonic() < deadline, "the shop was not told"
            time.sleep(0.05)


@pytest.fixture
def shop() -> Iterator[SampleShop]:
    running = SampleShop()
    yield running
    running.close()


def environment(shop: SampleShop, **more: str) -> dict[str, str]:
    return {
        "QUITTANCE_DOORS": "lnpay",
        "QUITTANCE_LNPAY_SHOP_URL": f"http://localhost:{shop.port}/webhook",
        "QUITTANCE_LNPAY_REQUIRE_KEY": "false",
        **more,
    }


def address_of(server: Any, name: str) -> str:
    nodes = httpx.get(f"{server.url}/sandbox", timeout=10.0).json()["nodes"]
    return str(next(node["lightningAddress"] for node in nodes if node["name"] == name))


def sales(server: Any) -> list[dict[str, Any]]:
    edges = server.execute(PAYMENT, {"filter": {}})["payments"]["edges"]
    return [edge["node"] for edge in edges]


def told(node: dict[str, Any]) -> tuple[str, list[tuple[str, str]]]:
    deliveries = [edge["node"] for edge in node["deliveries"]["edges"]]
    return node["deliveryStatus"], [(one["eventType"], one["state"]) for one in deliveries]


def until_told(server: Any) -> dict[str, Any]:
    """Return the only sale once its notice is known to have arrived."""
    deadline = time.monotonic() + WAIT_S
    while True:
        (node,) = sales(server)
        if node["deliveryStatus"] == "DELIVERED":
            return dict(node)
        assert time.monotonic() < deadline, node
        time.sleep(0.05)


def test_a_shop_that_does_as_the_sample_s_code_does_sells_and_is_told_once(
    new_server: NewServer, shop: SampleShop
) -> None:
    server = new_server(environment=environment(shop))
    server.start()
    shop.backend = server.url
    secret = server.execute(ROTATE)["rotateNotifySecret"]["secret"]

    page = shop.buy(ln_address=address_of(server, "carol"))
    waiting = shop.poll(page["invoice"])
    assert server.pay(page["invoice"]).status_code == 200
    shop.until_paid(page["invoice"])
    sold = until_told(server)
    time.sleep(QUIET_S)

    seconds_left = (datetime.fromisoformat(page["time"]) - datetime.now(UTC)).total_seconds()
    assert decode(read_png(base64.b64decode(page["qr_code"], validate=True))).text == page["invoice"]
    assert waiting is False
    assert len(page["amount_btc"].partition(".")[2]) == 8
    assert Decimal(page["amount_btc"]) > 0
    assert 60 < seconds_left <= 120
    ((headers, body),) = shop.notices
    assert json.loads(body) == {
        "status": "success",
        "message": "Payment processed successfully!",
        "invoice": page["invoice"],
    }
    assert Webhook(secret).verify(body, headers)
    assert (sold["status"], sold["description"]) == ("COMPLETE", BROWSER["description"])
    assert (sold["correlationId"], sold["refundAddress"]) == (BROWSER["correlation_id"], address_of(server, "carol"))
    assert sold["fiatAmount"] == {"decimal": "12.50", "assetCode": "USD"}
    assert told(sold) == ("DELIVERED", [("payment.settled", "DELIVERED")])


def test_s2_what_goes_wrong_reaches_the_shop_as_json_without_data(new_server: NewServer, shop: SampleShop) -> None:
    server = new_server(environment=environment(shop))
    server.start()
    shop.backend = server.url

    answers = [
        httpx.post(f"{shop.url}/submit", json=BROWSER | said, timeout=30.0)
        for said in ({"amount_fiat": "nan"}, {"amount_fiat": "-1"}, {"ln_address": "nobody"})
    ]

    refusal = (500, {"message": "Invalid API response", "status": "error"})
    assert [(answer.status_code, answer.json()) for answer in answers] == [refusal] * 3
    assert sales(server) == []


def test_a_sale_that_was_paid_while_the_server_was_dead_is_told_once(
    new_server: NewServer, shop: SampleShop, sandbox: Sandbox, tmp_path: Path
) -> None:
    server = new_server(state_dir=tmp_path / "state", environment=environment(shop))
    server.start()
    shop.backend = server.url
    page = shop.buy()
    server.kill()
    assert sandbox.pay(page["invoice"]).status_code == 200
    before = list(shop.notices)

    server.start()
    shop.until_paid(page["invoice"])
    sold = until_told(server)
    time.sleep(QUIET_S)

    assert before == []
    assert len(shop.notices) == 1
    assert told(sold) == ("DELIVERED", [("payment.settled", "DELIVERED")])


def test_h5_a_notice_that_was_cut_off_by_a_kill_comes_again_under_the_same_id(
    new_server: NewServer, shop: SampleShop
) -> None:
    server = new_server(environment=environment(shop))
    server.start()
    shop.backend = server.url
    page = shop.buy()
    shop.gate = threading.Event()
    assert server.pay(page["invoice"]).status_code == 200
    assert shop.held.wait(WAIT_S)
    server.kill()
    shop.gate.set()
    shop.gate = None

    server.start()
    sold = until_told(server)
    time.sleep(QUIET_S)

    (first, first_body), (second, second_body) = shop.notices
    assert first_body == second_body
    assert first["webhook-id"] == second["webhook-id"]
    assert shop.poll(page["invoice"])
    assert told(sold) == ("DELIVERED", [("payment.settled", "DELIVERED")])


def test_unless_it_is_opened_there_is_no_such_door(new_server: NewServer, shop: SampleShop) -> None:
    server = new_server(environment={"QUITTANCE_LNPAY_REQUIRE_KEY": "false"})
    server.start()

    answers = [httpx.post(f"{server.url}{path}", json=BROWSER) for path in ("/generate-invoice", "/webhook")]

    assert [answer.status_code for answer in answers] == [404, 404]


def test_a_shop_with_a_key_sells_where_keys_are_wanted(new_server: NewServer, shop: SampleShop) -> None:
    server = new_server(environment={"QUITTANCE_DOORS": "lnpay"})
    server.start()
    shop.backend = server.url

    refused = httpx.post(f"{server.url}/generate-invoice", json=BROWSER)
    shop.headers = {"Authorization": f"Bearer {API_KEY}"}
    page = shop.buy()

    assert (refused.status_code, list(refused.json())) == (401, ["status", "message"])
    assert page["invoice"].startswith("lnbcrt")
