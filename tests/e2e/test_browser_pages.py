"""The playground in a real browser, and every page on a narrow screen."""

import json
import re
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Page, ViewportSize, expect
from tests.e2e.visits import Open, RunningServer, bill

from quittance.web import documents

pytestmark = pytest.mark.asyncio(loop_scope="module")

NARROW = ViewportSize(width=360, height=740)

RESULT = "() => document.querySelector('.result-window .CodeMirror').CodeMirror.getValue()"
OVERHANG = """() => [document.documentElement, ...document.querySelectorAll('body, body *')]
  .filter((each) => !each.closest('.visually-hidden') && each.checkVisibility())
  .filter((each) => !each.parentElement?.closest('#graphiql'))
  .filter((each) => each.getBoundingClientRect().right > innerWidth + 0.5 || each.getBoundingClientRect().left < -0.5)
  .map((each) => each.outerHTML.slice(0, 80))"""


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
