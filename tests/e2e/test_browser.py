"""The pages in a real browser, against the running server.

The pictures of the documentation are taken on the way:
``TEST_SCREENSHOTS=docs/images uv run pytest tests/e2e/test_browser.py``.
"""

import base64
import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
import zxingcpp
from playwright.async_api import Browser, Page, ViewportSize, WebSocketRoute, async_playwright, expect

from quittance.web import documents

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVERYTHING = os.environ.get("TEST_EVERYTHING")
SCREENSHOTS = os.environ.get("TEST_SCREENSHOTS")
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
WAIT_MS = 30_000
POLL_MS_MAX = 15_000  # as checkout.js has it
DESK = ViewportSize(width=1400, height=900)
PHONE = ViewportSize(width=390, height=844)
NARROW = ViewportSize(width=360, height=740)
HOUR_S = 3_600

TITLE = "How a debt ends"
CONTENT = "It ends with a proof: a number that nobody could know before the money came."

NEW_ARTICLE = """
mutation ($input: CreateArticleInput!) {
  createArticle(input: $input) { ... on CreateArticleSuccess { article { id } } ... on UserError { code } }
}
"""
NEW_INVOICE = """
mutation ($input: GenerateInvoiceInput!) {
  generateInvoice(input: $input) {
    ... on GenerateInvoiceSuccess { payment { id paymentRequest checkoutUrl } }
    ... on UserError { code }
  }
}
"""

RESULT = "() => document.querySelector('.result-window .CodeMirror').CodeMirror.getValue()"
OVERHANG = """() => [document.documentElement, ...document.querySelectorAll('body, body *')]
  .filter((each) => !each.closest('.visually-hidden') && each.checkVisibility())
  .filter((each) => !each.parentElement?.closest('#graphiql'))
  .filter((each) => each.getBoundingClientRect().right > innerWidth + 0.5 || each.getBoundingClientRect().left < -0.5)
  .map((each) => each.outerHTML.slice(0, 80))"""
GREY = """async (png) => {
  const image = new Image();
  image.src = `data:image/png;base64,${png}`;
  await image.decode();
  const { width, height } = image;
  const drawing = Object.assign(document.createElement('canvas'), { width, height }).getContext('2d');
  drawing.drawImage(image, 0, 0);
  const { data } = drawing.getImageData(0, 0, width, height);
  return { width, height, grey: Array.from({ length: width * height }, (_, pixel) => data[4 * pixel + 1]) };
}"""


class RunningServer(Protocol):
    @property
    def url(self) -> str: ...
    def start(self) -> None: ...
    def post(self, query: str, variables: dict[str, object] | None = None) -> httpx.Response: ...
    def pay(self, payment_request: str) -> httpx.Response: ...


@dataclass(frozen=True, kw_only=True)
class Bill:
    """A payment that waits, as the merchant got it."""

    id: str
    payment_request: str
    checkout_url: str


@dataclass
class Visit:
    """One page in a context of its own, and what it did."""

    page: Page
    requests: list[str] = field(default_factory=list)
    documents: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("websocket", lambda socket: self.requests.append(socket.url))
        self.page.on("framenavigated", lambda frame: self.documents.append(frame.url))
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    @property
    def hosts(self) -> set[str]:
        """Where its requests went; what is written into the page itself goes nowhere."""
        return {urlsplit(url).netloc for url in self.requests if not url.startswith(("data:", "blob:"))}

    async def keep(self, name: str) -> None:
        """Take the picture ``name`` of the documentation, if pictures are asked for."""
        if SCREENSHOTS is not None:
            await self.page.screenshot(path=Path(SCREENSHOTS) / name, animations="disabled", caret="hide")


class Open(Protocol):
    """Open a page of a fresh profile."""

    async def __call__(
        self, *, viewport: ViewportSize = DESK, scheme: Literal["light", "dark"] = "light", **more: Any
    ) -> Visit: ...


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        reason = f"no browser: none of {', '.join(PROGRAMS)} is installed"
        pytest.fail(reason) if EVERYTHING else pytest.skip(reason)
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield running
        await running.close()


@pytest_asyncio.fixture(loop_scope="module")
async def open_page(browser: Browser) -> AsyncIterator[Open]:
    made: list[Page] = []

    async def make(*, viewport: ViewportSize = DESK, scheme: Literal["light", "dark"] = "light", **more: Any) -> Visit:
        context = await browser.new_context(viewport=viewport, color_scheme=scheme, **more)
        context.set_default_timeout(WAIT_MS)
        made.append(await context.new_page())
        return Visit(page=made[-1])

    expect.set_options(timeout=WAIT_MS)
    yield make
    for page in made:
        await page.context.close()


def ask(server: RunningServer, query: str, **input_: object) -> dict[str, Any]:
    answer = server.post(query, {"input": input_}).json()
    assert "errors" not in answer, answer
    (result,) = answer["data"].values()
    assert "code" not in result, result
    return dict(result)


def bill(server: RunningServer, *, expires_in_s: int = HOUR_S) -> Bill:
    """Ask for payment of a new article of 1,000 satoshi."""
    article = ask(server, NEW_ARTICLE, title=TITLE, content=CONTENT, price={"sat": "1000"})["article"]
    payment = ask(server, NEW_INVOICE, articleId=article["id"], expiresIn=expires_in_s)["payment"]
    return Bill(id=payment["id"], payment_request=payment["paymentRequest"], checkout_url=payment["checkoutUrl"])


def advance(server: RunningServer, *, seconds: int) -> httpx.Response:
    return httpx.post(f"{server.url}/sandbox/clock", json={"advanceSeconds": seconds}, timeout=20.0)


async def decode(open_page: Open, png: bytes) -> str:
    """Read the QR code in a picture, as a wallet's camera would."""
    blank = await open_page()
    image = await blank.page.evaluate(GREY, base64.b64encode(png).decode())
    pixels = memoryview(bytes(image["grey"])).cast("B", (image["height"], image["width"]))
    (found,) = zxingcpp.read_barcodes(pixels, formats=zxingcpp.barcode_formats_from_str("QRCode"))
    return found.text


async def run_tab(page: Page, number: int) -> None:
    await page.locator(".graphiql-tab-button").nth(number - 1).click()
    await page.locator(".graphiql-execute-button").click()


async def result(page: Page, *, holding: str) -> dict[str, Any]:
    """Wait until the editor shows a result with ``holding`` in it."""
    await page.wait_for_function(f"(text) => ({RESULT})().includes(text)", arg=holding)
    return dict(json.loads(await page.evaluate(RESULT)))


async def test_playground_tells_the_story_within_its_own_origin(server: RunningServer, open_page: Open) -> None:
    for_sale = server.post(documents.ARTICLES).json()
    visit = await open_page()
    page = visit.page
    tabs = page.locator(".graphiql-tab-button")

    await page.goto(f"{server.url}/graphql")
    await expect(tabs).to_have_text(["Articles", "GenerateInvoice", "PaymentSettled", "SettledArticle"])
    await run_tab(page, 1)
    offered = await result(page, holding="edges")
    await run_tab(page, 2)
    invoiced = (await result(page, holding="clientSecret"))["data"]["generateInvoice"]
    await run_tab(page, 3)
    await expect(page.get_by_role("button", name="Stop query")).to_be_visible()
    await page.get_by_role("button", name="Pay as alice").click()
    await expect(page.locator("#pay-result")).to_have_text(re.compile(r"^Paid\. Preimage [0-9a-f]{12}…$"))
    settled = (await result(page, holding=invoiced["payment"]["id"]))["data"]["paymentSettled"]
    await tabs.nth(3).click()
    await expect(page.locator(".graphiql-editor-tool")).to_contain_text(invoiced["clientSecret"])
    await page.locator(".graphiql-execute-button").click()
    bought = (await result(page, holding="content"))["data"]["payment"]
    await visit.keep("playground.png")

    assert offered == for_sale
    assert invoiced["payment"]["status"] == "PENDING_PAYMENT"
    assert settled["payment"]["status"] == "COMPLETE"
    assert settled["payment"]["received"] == invoiced["payment"]["amount"]
    assert bought["status"] == "COMPLETE"
    assert bought["article"]["title"] == settled["payment"]["article"]["title"]
    assert bought["article"]["content"].startswith("A quittance is the document that proves a debt paid.")
    assert await page.locator("#checkout-link").get_attribute("href") == invoiced["payment"]["checkoutUrl"]
    assert visit.hosts == {urlsplit(server.url).netloc}
    assert visit.complaints == []


async def test_checkout_shows_a_phone_all_it_needs_to_pay(server: RunningServer, open_page: Open) -> None:
    made = bill(server)
    visit = await open_page(viewport=PHONE, device_scale_factor=2)
    page = visit.page

    await page.goto(made.checkout_url)
    await expect(page.get_by_role("status").first).to_contain_text("Waiting for payment")
    await expect(page.locator("#countdown")).to_have_text(re.compile(r"^in 59:\d\d$"))
    await visit.keep("checkout.png")
    code = await page.locator(".qr").screenshot(scale="css")

    assert await page.title() == f"Pay 1,000 sat · {TITLE}"
    assert await page.locator(".amount").inner_text() == "1,000 sat"
    assert await page.locator("#payment-request").input_value() == made.payment_request
    assert await page.locator("#wallet").get_attribute("href") == f"lightning:{made.payment_request}"
    assert await decode(open_page, code) == made.payment_request.upper()
    assert CONTENT not in await page.content()
    assert visit.hosts == {urlsplit(server.url).netloc}
    assert visit.complaints == []


async def test_checkout_says_paid_by_itself_and_shows_the_article(server: RunningServer, open_page: Open) -> None:
    made = bill(server)
    visit = await open_page(viewport=PHONE)
    page = visit.page
    await page.goto(made.checkout_url)
    await expect(page.locator("#article")).to_be_hidden()

    paid = server.pay(made.payment_request)
    await expect(page.locator("#article-content")).to_have_text(CONTENT)

    assert paid.status_code == httpx.codes.OK
    await expect(page.get_by_role("heading", name="Paid", exact=True)).to_be_visible()
    await expect(page.locator("#received")).to_have_text("We received 1,000 sat.")
    await expect(page.locator(".invoice")).to_be_hidden()
    assert await page.title() == f"Paid · {TITLE}"
    assert visit.documents == [made.checkout_url]
    assert visit.complaints == []


async def test_countdown_runs_and_at_its_end_asks_not_to_pay_but_takes_the_money(
    server: RunningServer, open_page: Open
) -> None:
    made = bill(server)
    page = (await open_page(viewport=PHONE)).page
    await page.clock.install()
    await page.goto(made.checkout_url)
    countdown = page.locator("#countdown")
    await expect(countdown).to_have_text(re.compile(r"^in (1:00:00|59:\d\d)$"))
    first = await countdown.inner_text()

    await expect(countdown).not_to_have_text(first)
    await page.clock.fast_forward(HOUR_S * 1_000)
    await expect(page.get_by_role("heading", name="The time is up")).to_be_visible()
    await expect(page.locator(".invoice")).to_be_hidden()
    server.pay(made.payment_request)

    await expect(page.get_by_role("heading", name="Paid", exact=True)).to_be_visible()


async def test_keyboard_alone_reaches_the_wallet_and_copies_the_invoice(server: RunningServer, open_page: Open) -> None:
    made = bill(server)
    page = (await open_page(viewport=PHONE, permissions=["clipboard-read", "clipboard-write"])).page
    await page.goto(made.checkout_url)
    await expect(page.locator("#copy")).to_be_visible()

    reached = []
    for _ in range(3):
        await page.keyboard.press("Tab")
        reached.append(await page.evaluate("document.activeElement.id"))
    outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    await page.keyboard.press("Enter")
    await expect(page.locator("#copied")).to_have_text("Invoice copied")

    assert reached == ["wallet", "payment-request", "copy"]
    assert outline == "solid"
    assert await page.evaluate("navigator.clipboard.readText()") == made.payment_request


@pytest.mark.parametrize("query", ["", "?client_secret=", "?client_secret=wrong", "?client_secret=another's"])
async def test_checkout_without_its_client_secret_tells_nothing(
    server: RunningServer, open_page: Open, query: str
) -> None:
    made, other = bill(server), bill(server)
    page = (await open_page(viewport=PHONE)).page

    answer = await page.goto(
        made.checkout_url.partition("?")[0]
        + query.replace("another's", urlsplit(other.checkout_url).query.partition("=")[2])
    )
    html = await page.content()

    assert answer is not None
    assert answer.status == httpx.codes.NOT_FOUND
    await expect(page.get_by_role("heading")).to_have_text("This link does not open a payment")
    assert [
        said for said in (made.id, made.payment_request, TITLE, CONTENT, "1,000", "lightning:") if said in html
    ] == []


async def test_checkout_says_expired_by_itself(new_server: Callable[[], RunningServer], open_page: Open) -> None:
    server = new_server()
    server.start()
    made = bill(server)
    visit = await open_page(viewport=PHONE)
    page = visit.page
    await page.goto(made.checkout_url)
    await expect(page.get_by_role("heading", name="Waiting for payment")).to_be_visible()

    moved = advance(server, seconds=2 * HOUR_S)
    await expect(page.get_by_role("heading", name="This invoice has expired")).to_be_visible()

    assert moved.status_code == httpx.codes.OK
    await expect(page.locator(".invoice")).to_be_hidden()
    await expect(page.locator("#article")).to_be_hidden()
    assert visit.documents == [made.checkout_url]


async def test_checkout_finds_the_payment_where_no_socket_opens(server: RunningServer, open_page: Open) -> None:
    made = bill(server)
    visit = await open_page(viewport=PHONE)
    page = visit.page
    refused: list[str] = []

    async def refuse(socket: WebSocketRoute) -> None:
        refused.append(socket.url)
        await socket.close()

    await page.route_web_socket("**/graphql", refuse)
    await page.clock.install()
    await page.goto(made.checkout_url)
    await expect(page.get_by_role("heading", name="Waiting for payment")).to_be_visible()

    server.pay(made.payment_request)
    await page.clock.fast_forward(POLL_MS_MAX)

    await expect(page.locator("#article-content")).to_have_text(CONTENT)
    assert refused != []
    assert visit.documents == [made.checkout_url]


async def test_checkout_reads_well_without_scripts(server: RunningServer, open_page: Open) -> None:
    made = bill(server)
    page = (await open_page(viewport=PHONE, java_script_enabled=False)).page

    await page.goto(made.checkout_url)
    await expect(page.locator("#wallet")).to_have_attribute("href", f"lightning:{made.payment_request}")
    server.pay(made.payment_request)
    witness = (await open_page()).page
    await witness.goto(made.checkout_url)
    await expect(witness.get_by_role("heading", name="Paid", exact=True)).to_be_visible()
    await page.reload()

    await expect(page.get_by_role("heading", name="Paid", exact=True)).to_be_visible()
    await expect(page.locator("#article-content")).to_have_text(CONTENT)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_pages_fit_a_narrow_screen(
    server: RunningServer, open_page: Open, scheme: Literal["light", "dark"]
) -> None:
    made = bill(server)
    page = (await open_page(viewport=NARROW, scheme=scheme)).page
    overhanging: dict[str, object] = {}

    await page.goto(made.checkout_url)
    await expect(page.locator("#countdown")).to_be_visible()
    overhanging["waiting"] = await page.evaluate(OVERHANG)
    ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    server.pay(made.payment_request)
    await expect(page.locator("#article")).to_be_visible()
    overhanging["paid"] = await page.evaluate(OVERHANG)
    await page.goto(f"{server.url}/pay/nothing")
    overhanging["nothing"] = await page.evaluate(OVERHANG)
    await page.goto(f"{server.url}/graphql")
    await expect(page.locator(".graphiql-execute-button")).to_be_visible()
    overhanging["playground"] = await page.evaluate(OVERHANG)

    assert overhanging == {"waiting": [], "paid": [], "nothing": [], "playground": []}
    assert ground == {"light": "rgb(238, 241, 240)", "dark": "rgb(14, 20, 18)"}[scheme]
