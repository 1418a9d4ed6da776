"""Visits to the pages in a real browser, and what is bought there.

The pictures of the documentation are taken on the way:
``TEST_SCREENSHOTS=docs/images uv run pytest tests/e2e -k browser``.
"""

import base64
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
import zxingcpp
from playwright.async_api import Browser, Page, ViewportSize, async_playwright, expect

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
DESK = ViewportSize(width=1400, height=900)
PHONE = ViewportSize(width=390, height=844)
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


async def decode(open_page: Open, png: bytes) -> str:
    """Read the QR code in a picture, as a wallet's camera would."""
    blank = await open_page()
    image = await blank.page.evaluate(GREY, base64.b64encode(png).decode())
    pixels = memoryview(bytes(image["grey"])).cast("B", (image["height"], image["width"]))
    (found,) = zxingcpp.read_barcodes(pixels, formats=zxingcpp.barcode_formats_from_str("QRCode"))
    return found.text
