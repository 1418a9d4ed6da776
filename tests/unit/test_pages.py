"""Pages load nothing from elsewhere and take no markup from anyone."""

import base64
import gzip
import hashlib
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from graphql import build_schema, parse, validate
from starlette.applications import Starlette

from quittance.domain.payment import PaymentStatus
from quittance.server.http.pages import asset_routes
from quittance.web import documents
from quittance.web.assets import asset, asset_url, assets_version
from quittance.web.pages import (
    CheckoutView,
    PlaygroundView,
    checkout_csp,
    playground_csp,
    render_checkout,
    render_message,
    render_playground,
)

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
INVOICE = "lnbcrt25u1p5hdxz4pp5q9hyj8rcaqa8kefd29r8nq2wvvlhunuxjtkwyxjj5ypl6ke5mnusdqqcqzpgxqyz5vqsp5w6tyd2g2k"
HOSTILE = """</script><script>alert(1)</script><img src=x onerror=alert(2)>'"&\u2028"""
CHECKOUT = CheckoutView(
    payment_id="pay_1",
    client_secret="sec_1",
    status=PaymentStatus.PENDING_PAYMENT,
    title="An article",
    amount_formatted="2,500 sat",
    payment_request=INVOICE,
    expires_at=NOW + timedelta(minutes=15),
    server_now=NOW,
)
PLAYGROUND = PlaygroundView(sandbox=True, api_key="key_secret", article_id="art_1")

# SHA-384 of the vendored files: the integrity hashes published for them.
VENDORED = {
    "graphiql/react.production.min.js": "tMH8h3BGESGckSAVGZ82T9n90ztNXxvdwvdM6UoR56cYcf+0iGXBliJ29D+wZ/x8",
    "graphiql/react-dom.production.min.js": "bm7MnzvK++ykSwVJ2tynSE5TRdN+xL418osEVF2DE/L/gfWHj91J2Sphe582B1Bh",
    "graphiql/graphiql.min.css": "Mq3vbRBY71jfjQAt/DcjxUIYY33ksal4cgdRt9U/hNPvHBCaT2JfJ/PTRiPKf0aM",
    "graphiql/explorer.css": "5DFJlDPW2tSATRbM8kzoP1j194jexLswuNmClWoRr2Q0x7R68JIQzPHZ02Faktwi",
    "graphiql/graphiql.min.js": "HbRVEFG0JGJZeAHCJ9Xm2+tpknBQ7QZmNlO/DgZtkZ0aJSypT96YYGRNod99l9Ie",
    "graphiql/explorer.umd.js": "2oonKe47vfHIZnmB6ZZ10vl7T0Y+qrHQF2cmNTaFDuPshpKqpUMGMc9jgj9MLDZ9",
}


class Page(HTMLParser):
    """Elements, addresses, visible text and data of one page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.data = ""
        self._in_data = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._in_data = tag == "script" and ("type", "application/json") in attrs

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002  # the parent names it
        self._in_data = False

    def handle_data(self, data: str) -> None:
        if self._in_data:
            self.data += data
        else:
            self.text += data

    @property
    def addresses(self) -> list[str]:
        return [
            value for _, attrs in self.elements for name, value in attrs.items() if name in {"src", "href"} and value
        ]

    def inline(self) -> list[str]:
        """Return what a strict policy would refuse: inline scripts, styles and handlers."""
        return [
            tag
            for tag, attrs in self.elements
            if tag == "style"
            or any(name == "style" or name.startswith("on") for name in attrs)
            or (tag == "script" and "src" not in attrs and attrs.get("type") != "application/json")
        ]

    def visible(self, state: str) -> bool:
        return any(attrs.get("data-for") == state and "hidden" not in attrs for _, attrs in self.elements)


@pytest.mark.parametrize(
    "html",
    [
        render_playground(PLAYGROUND, nonce="n0nce"),
        render_playground(PlaygroundView(sandbox=False), nonce="n0nce"),
        render_checkout(CHECKOUT),
        render_checkout(replace(CHECKOUT, status=PaymentStatus.COMPLETE, article_content="text", article_title="t")),
        render_message("Not found", "No such payment.", 404),
    ],
)
def test_a_page_loads_listed_files_of_this_origin_and_holds_nothing_inline(html: str) -> None:
    page = Page(html)

    assert page.inline() == []
    loaded = [address for address in page.addresses if not address.startswith("lightning:")]
    assert loaded
    for address in loaded:
        prefix = f"/assets/{assets_version()}/"
        assert address.startswith(prefix)
        assert asset(address.removeprefix(prefix)) is not None


def test_hostile_words_stay_words_on_the_checkout() -> None:
    view = replace(
        CHECKOUT,
        status=PaymentStatus.COMPLETE,
        payment_id=HOSTILE,
        client_secret=HOSTILE,
        title=HOSTILE,
        description=f"{HOSTILE} 2",
        article_title=f"{HOSTILE} 3",
        article_content=HOSTILE,
        amount_formatted=HOSTILE,
        received_formatted=HOSTILE,
        payment_request='lnbc1"><script>',
    )

    page = Page(render_checkout(view))

    assert page.inline() == []
    assert [tag for tag, _ in page.elements].count("script") == 2
    assert "img" not in [tag for tag, _ in page.elements]
    assert page.text.count(HOSTILE) == 9
    assert json.loads(page.data)["clientSecret"] == HOSTILE


def test_the_data_of_a_page_cannot_end_its_script() -> None:
    html = render_playground(PlaygroundView(sandbox=True, api_key=HOSTILE, article_id="<!--<script>"), nonce="n0nce")
    data = Page(html).data

    assert not re.search(r"[<>&'\u2028\u2029]", data)
    assert json.loads(data)["headers"] == {"Authorization": f"Bearer {HOSTILE}"}
    assert json.loads(data)["tabs"][1]["variables"] == {"input": {"articleId": "<!--<script>"}}


def test_the_playground_offers_key_article_and_purse_in_sandbox_mode_only() -> None:
    sandbox = render_playground(PLAYGROUND, nonce="n0nce")
    production = render_playground(replace(PLAYGROUND, sandbox=False), nonce="n0nce")

    assert "Pay as alice" in sandbox
    assert json.loads(Page(sandbox).data)["headers"] == {"Authorization": "Bearer key_secret"}
    assert "Pay as alice" not in production
    assert "key_secret" not in production
    assert "art_1" not in production
    assert "/sandbox/pay" not in production


@pytest.mark.parametrize(
    ("status", "state", "payable"),
    [
        (PaymentStatus.PENDING_INVOICE, "preparing", False),
        (PaymentStatus.PENDING_PAYMENT, "waiting", True),
        (PaymentStatus.HELD, "held", False),
        (PaymentStatus.COMPLETE, "paid", False),
        (PaymentStatus.EXPIRED, "expired", False),
        (PaymentStatus.CANCELED, "canceled", False),
        (PaymentStatus.ERROR, "error", False),
    ],
)
def test_every_status_shows_one_state_and_an_invoice_only_while_it_may_be_paid(
    status: PaymentStatus, state: str, payable: bool
) -> None:
    states = ["preparing", "waiting", "checking", "held", "paid", "expired", "canceled", "error"]

    page = Page(render_checkout(replace(CHECKOUT, status=status)))

    assert [each for each in states if page.visible(each)] == [state]
    assert (INVOICE in page.text) is payable
    assert (f"lightning:{INVOICE}" in page.addresses) is payable


def test_an_article_is_shown_only_once_it_is_paid() -> None:
    unpaid = render_checkout(replace(CHECKOUT, article_title="A", article_content="the bought words"))
    paid = render_checkout(
        replace(CHECKOUT, status=PaymentStatus.COMPLETE, article_title="A", article_content="the bought words")
    )

    assert "the bought words" not in unpaid
    assert "the bought words" in paid


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "//evil.example", "http://[", "/relative"])
def test_only_a_web_page_is_a_way_back(url: str) -> None:
    back = Page(render_checkout(replace(CHECKOUT, return_url="https://shop.example/thanks?a=1&b=2")))

    assert "https://shop.example/thanks?a=1&b=2" in back.addresses
    assert url not in Page(render_checkout(replace(CHECKOUT, return_url=url))).addresses


def test_a_message_says_what_happened() -> None:
    page = Page(render_message("Not found", f"No such payment. {HOSTILE}", 404))

    assert "404" in page.text
    assert HOSTILE in page.text
    assert page.inline() == []


@pytest.mark.parametrize("policy", [checkout_csp(), playground_csp("n0nce")])
def test_a_policy_allows_this_origin_alone(policy: str) -> None:
    assert policy.startswith("default-src 'none'; script-src 'self'")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "*" not in policy
    for directive in ("frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "connect-src 'self'"):
        assert directive in policy


def test_the_nonce_is_in_the_policy_and_on_the_scripts() -> None:
    scripts = [attrs for tag, attrs in Page(render_playground(PLAYGROUND, nonce="n0nce")).elements if tag == "script"]

    assert "'nonce-n0nce'" in playground_csp("n0nce")
    assert [attrs.get("nonce") for attrs in scripts if "src" in attrs] == ["n0nce"] * 5


@pytest.mark.parametrize(("path", "digest"), VENDORED.items())
def test_a_vendored_file_is_what_was_published(path: str, digest: str) -> None:
    found = asset(path)

    assert found is not None
    assert base64.b64encode(hashlib.sha384(found.body).digest()).decode() == digest


@pytest.mark.parametrize(
    "path",
    ["", ".", "../pages.py", "graphiql", "graphiql/", "graphiql/../checkout.js", "graphiql/LICENSE.react.txt",
     "/etc/passwd", "checkout.js\x00", "CHECKOUT.JS", "..\\pages.py", "graphiql//graphiql.min.js"],
)  # fmt: skip
def test_what_is_not_listed_is_not_there(path: str) -> None:
    assert asset(path) is None
    with pytest.raises(KeyError):
        asset_url(path)


def test_each_encoding_has_its_own_tag_and_the_same_words() -> None:
    plain, packed = asset("checkout.js"), asset("checkout.js", accepts_gzip=True)

    assert plain is not None
    assert packed is not None
    assert (plain.encoding, packed.encoding) == (None, "gzip")
    assert plain.etag != packed.etag
    assert gzip.decompress(packed.body) == plain.body
    assert plain.content_type == "text/javascript; charset=utf-8"


async def test_the_route_keeps_current_files_for_ever_and_answers_304() -> None:
    transport = httpx.ASGITransport(app=Starlette(routes=list(asset_routes())))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        first = await client.get(asset_url("checkout.css"), headers={"Accept-Encoding": "gzip"})
        again = await client.get(
            asset_url("checkout.css"),
            headers={"Accept-Encoding": "gzip", "If-None-Match": f'"x", W/{first.headers["etag"]}'},
        )
        plain = await client.get(asset_url("checkout.css"), headers={"Accept-Encoding": "gzip;q=0, identity"})
        older = await client.get("/assets/0123456789abcdef/checkout.css")
        outside = await client.get("/assets/x/%2e%2e/%2e%2e/pages.py")

    assert first.status_code == 200
    assert first.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert first.headers["content-encoding"] == "gzip"
    assert first.headers["vary"] == "Accept-Encoding"
    assert first.headers["x-content-type-options"] == "nosniff"
    assert (again.status_code, again.content) == (304, b"")
    assert "content-encoding" not in plain.headers
    assert plain.content == first.content
    assert older.headers["cache-control"] == "no-cache"
    assert outside.status_code == 404


@pytest.mark.parametrize("name", [name for name in dir(documents) if name.isupper()])
def test_every_document_fits_the_contract(name: str) -> None:
    contract = build_schema((Path(__file__).parents[2] / "schema.graphql").read_text())

    assert validate(contract, parse(getattr(documents, name))) == []


def test_checkout_names_the_coin_of_the_wallet_where_it_is_not_bitcoin() -> None:
    litecoin = replace(CHECKOUT, amount_formatted="0.000025 LTC", coin="Litecoin")

    said, of_bitcoin = Page(render_checkout(litecoin)).text, Page(render_checkout(CHECKOUT)).text

    assert "Scan the code with a Lightning wallet for Litecoin, or open one on this device." in said
    assert "Lightning invoice for Litecoin" in said
    assert "Scan the code with a Lightning wallet, or open one on this device." in of_bitcoin
    assert "Litecoin" not in of_bitcoin
