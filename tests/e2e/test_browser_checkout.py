"""The checkout page in a real browser, against the running server."""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.async_api import WebSocketRoute, expect
from tests.e2e.visits import CONTENT, HOUR_S, NEW_INVOICE, PHONE, TITLE, Open, RunningServer, ask, bill, decode

pytestmark = pytest.mark.asyncio(loop_scope="module")

POLL_MS_MAX = 15_000  # as checkout.js has it


def advance(server: RunningServer, *, seconds: int) -> httpx.Response:
    return httpx.post(f"{server.url}/sandbox/clock", json={"advanceSeconds": seconds}, timeout=20.0)


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


async def test_checkout_in_litecoin_says_so_from_the_code_to_the_receipt(
    server: RunningServer, open_page: Open
) -> None:
    price = {"asset": {"assetCode": "LTC", "assetScale": 8, "value": "2500"}}
    made = ask(server, NEW_INVOICE, amount=price, provider="lnd-ltc", description="A cup")["payment"]
    visit = await open_page(viewport=PHONE, device_scale_factor=2)
    page = visit.page

    await page.goto(made["checkoutUrl"])
    await expect(page.get_by_role("status").first).to_contain_text("with a Lightning wallet for Litecoin, or open")
    code = await page.locator(".qr").screenshot(scale="css")
    before = await page.inner_text("main")
    server.pay(made["paymentRequest"])
    await expect(page.get_by_role("heading", name="Paid", exact=True)).to_be_visible()

    assert made["paymentRequest"].startswith("lnrltc25u1")
    assert await page.locator(".amount").inner_text() == "0.000025 LTC"
    assert await page.locator("#wallet").get_attribute("href") == f"lightning:{made['paymentRequest']}"
    assert await decode(open_page, code) == made["paymentRequest"].upper()
    await expect(page.locator("#received")).to_have_text("We received 0.000025 LTC.")
    assert re.findall(r"\bsats?\b|bitcoin", before + await page.inner_text("main"), re.IGNORECASE) == []
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
