"""Being paid by address: any wallet pays a merchant or buys an article, and it is booked like any other payment."""

import asyncio
import base64
import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from tests.integration.payee_doors import SET, PayeeDoors

from quittance.domain import bolt11
from quittance.domain.access import ANONYMOUS, Scope
from quittance.domain.errors import AmountOutOfBounds, PayeeRefused
from quittance.domain.lnurl import decode
from quittance.domain.lnurl_pay import MessageAction, UrlAction
from quittance.domain.payment import PaymentPurpose, PaymentStatus
from quittance.providers.signatures import recover
from quittance.resolvers.lightning_addresses import COMMENT_CHARACTERS_MAX
from quittance.resolvers.services import Services
from quittance.sandbox.clock import SandboxClock

WRONG_PATHS = [
    "/.well-known/lnurlp/nobody",
    "/.well-known/lnurlp/",
    "/.well-known/lnurlp/shop/",
    "/.well-known/lnurlp/shop/more",
    "/.well-known/lnurlp/%00",
    "/.well-known/lnurlp/%ED%A0%80",
    "/.well-known/lnurlp/art_" + "0" * 32,
    "/.well-known/lnurlp/mer_" + "0" * 32,
    "/lnurl/pay/nobody?amount=5000",
    "/lnurl/pay/shop",
    "/lnurl/pay/shop?amount=",
    "/lnurl/pay/shop?amount=999",
    "/lnurl/pay/shop?amount=0",
    "/lnurl/pay/shop?amount=-5000",
    "/lnurl/pay/shop?amount=5000.0",
    "/lnurl/pay/shop?amount=5e3",
    "/lnurl/pay/shop?amount=%D9%A5000",
    "/lnurl/pay/shop?amount=100000000001",
    "/lnurl/pay/shop?amount=" + "9" * 5_000,
    "/lnurl/pay/shop?amount=5000&comment=" + "x" * (COMMENT_CHARACTERS_MAX + 1),
    "/lnurl/pay/shop?amount=5000&comment=%00",
    "/lnurl/verify",
]
WRONG_NAMES = [
    "", " ", "a b", "-a", "a-", ".a", "a..b", "a@b", "ä", "a/b", "a+b", "x" * 65, "art_" + "0" * 32, "mer_" + "a" * 32,
    "\x00", "\ud800", "a\x7f",
]  # fmt: skip


async def test_alice_pays_a_merchant_by_its_name_and_it_is_booked_once(payees: PayeeDoors) -> None:
    merchant = (await payees.named("shop"))["merchant"]
    address = f"shop@{payees.root.removeprefix('http://')}"

    invoice = await payees.ask(address, comment="two coffees, please")
    before = await payees.directory.proof(invoice)
    preimage = await payees.paid(invoice)

    payment = await payees.payment_of(invoice)
    assert merchant["lightningAddress"] == address
    assert before is None
    assert await payees.directory.proof(invoice) == preimage
    assert (payment.status, payment.purpose) == (PaymentStatus.COMPLETE, PaymentPurpose.ORDER)
    assert (payment.amount.value, payment.description) == (12_345, "two coffees, please")
    assert payment.merchant_id == merchant["id"]
    assert invoice.success_action == MessageAction(message="Thank you! Shop has your payment.")
    assert await payees.till.balances() == {"PROVIDER": 12_345, "MERCHANT": -12_345}
    assert len(await payees.till.rows("settlement")) == 1
    assert await payees.till.events(payment.id) == [
        ("payment.updated", "PENDING_INVOICE"),
        ("payment.updated", "PENDING_PAYMENT"),
        ("payment.settled", "COMPLETE"),
    ]


async def test_the_invoice_is_bound_to_exactly_the_metadata_that_was_offered(payees: PayeeDoors) -> None:
    await payees.named("shop")
    offer = await payees.told("/.well-known/lnurlp/shop")

    answer = await payees.told("/lnurl/pay/shop", amount=5_000)

    invoice = bolt11.decode(answer["pr"], recover=recover)
    address = f"shop@{payees.root.removeprefix('http://')}"
    assert json.loads(offer["metadata"]) == [["text/plain", "Pay Shop"], ["text/identifier", address]]
    assert {name: offer[name] for name in ("tag", "callback", "minSendable", "maxSendable", "commentAllowed")} == {
        "tag": "payRequest",
        "callback": f"{payees.root}/lnurl/pay/shop",
        "minSendable": 1_000,
        "maxSendable": 100_000_000_000,
        "commentAllowed": COMMENT_CHARACTERS_MAX,
    }
    assert invoice.description_hash == sha256(offer["metadata"].encode()).hexdigest()
    assert (invoice.description, invoice.amount_msat, invoice.expiry_s) == (None, 5_000, 600)
    assert (answer["routes"], answer["disposable"]) == ([], False)
    (row,) = await payees.till.rows("payment")
    assert row["described_by"] == offer["metadata"]


async def test_an_article_is_bought_by_address_and_read_where_the_payment_leads(payees: PayeeDoors) -> None:
    article = await payees.article(title="On waiting")
    offer = await payees.told(f"/.well-known/lnurlp/{article['id']}")
    invoice = await payees.ask(article["lightningAddress"], amount_msat=7_000)
    action = invoice.success_action
    assert isinstance(action, UrlAction)
    unpaid = await payees.http.get(action.url)

    await payees.paid(invoice, node="bob")

    payment = await payees.payment_of(invoice)
    page = await payees.http.get(action.url)
    assert (offer["minSendable"], offer["maxSendable"]) == (7_000, 7_000)
    assert action.description == "Read On waiting"
    assert "Once upon a time." not in unpaid.text
    assert "Once upon a time." in page.text
    assert (payment.status, payment.purpose) == (PaymentStatus.COMPLETE, PaymentPurpose.VIEW)
    assert (payment.article_id, payment.description) == (article["id"], "On waiting")
    read = "query ($id: ID!) { article(id: $id) { content views } }"
    assert await payees.till.shop.run(read, {"id": article["id"]}, as_=ANONYMOUS) == {
        "article": {"content": None, "views": 1}
    }
    stranger = await payees.http.get(f"/pay/{payment.id}")
    assert (stranger.status_code, "Once upon a time." in stranger.text) == (404, False)


async def test_an_article_costs_its_price_and_nothing_else(payees: PayeeDoors) -> None:
    article = await payees.article()

    for amount_msat in (6_999, 7_001, 1, 70_000):
        with pytest.raises(AmountOutOfBounds):
            await payees.ask(article["lightningAddress"], amount_msat=amount_msat)
        told = await payees.told(f"/lnurl/pay/{article['id']}", amount=amount_msat)
        assert told["status"] == "ERROR"

    assert await payees.till.rows("payment") == []


async def test_what_is_shown_to_scan_leads_to_the_same_offers(payees: PayeeDoors) -> None:
    merchant = (await payees.named("Shop.1"))["merchant"]
    article = await payees.article()

    by_merchant = await payees.directory.resolve(merchant["lnurl"])
    by_article = await payees.directory.resolve(article["lnurl"])

    assert merchant["lnurl"].isupper()
    assert decode(merchant["lnurl"]) == f"{payees.root}/.well-known/lnurlp/shop.1"
    assert by_merchant == await payees.directory.resolve(merchant["lightningAddress"])
    assert by_article == await payees.directory.resolve(article["lightningAddress"])
    strangers = await payees.till.shop.run(
        "query ($id: ID!) { article(id: $id) { lnurl lnurlQrCode } }", {"id": article["id"]}, as_=ANONYMOUS
    )
    assert strangers == {"article": {"lnurl": article["lnurl"], "lnurlQrCode": None}}
    for shown in (merchant, article):
        kind, _, content = shown["lnurlQrCode"].partition(",")
        assert (kind, base64.b64decode(content)[:4]) == ("data:image/svg+xml;base64", b"<svg")


async def test_each_call_makes_a_payment_of_its_own(payees: PayeeDoors) -> None:
    await payees.named("shop")

    first, second = await payees.ask("shop@" + payees.root[7:]), await payees.ask("shop@" + payees.root[7:])
    await payees.paid(second)

    assert (await payees.payment_of(first)).status is PaymentStatus.PENDING_PAYMENT
    assert (await payees.payment_of(second)).status is PaymentStatus.COMPLETE
    assert await payees.directory.proof(first) is None
    assert await payees.till.balances() == {"PROVIDER": 12_345, "MERCHANT": -12_345}


async def test_a_preimage_is_shown_once_the_invoice_was_paid_and_to_whom_it_was_given(payees: PayeeDoors) -> None:
    await payees.named("shop")
    answer = await payees.told("/lnurl/pay/shop", amount=5_000)
    token = answer["verify"].partition("token=")[2]
    (option,) = await payees.till.rows("payment_option")
    preimage = payees.services.derive.preimage(option["id"])

    before = await payees.told("/lnurl/verify", token=token)
    payment_id = option["payment_id"]
    await payees.till.report(await payees.till.pay(payment_id))
    after = await payees.told("/lnurl/verify", token=token)

    assert before == {"status": "OK", "settled": False, "preimage": None, "pr": answer["pr"]}
    assert after == {"status": "OK", "settled": True, "preimage": preimage.hex(), "pr": answer["pr"]}
    assert sha256(preimage).hexdigest() == option["reference"]
    client_secret = payees.services.derive.client_secret(payment_id)
    forged = [
        token[:-1] + ("0" if token[-1] != "0" else "1"),
        option["id"],
        f"{option['id']}_verify_",
        f"{option['id']}_verify_é",
        client_secret,
        token.replace(option["id"], "opt_" + "0" * 32),
        "",
        "\x00",
    ]
    for one in forged:
        assert (await payees.told("/lnurl/verify", token=one))["status"] == "ERROR"
    assert payees.services.derive.payment_opened_by(token) is None


async def test_an_expired_invoice_is_not_shown_as_paid(payees: PayeeDoors, clock: SandboxClock) -> None:
    await payees.named("shop")
    invoice = await payees.ask("shop@" + payees.root[7:])

    clock.advance(700)
    await payees.till.reconcile()

    assert (await payees.payment_of(invoice)).status is PaymentStatus.EXPIRED
    assert await payees.directory.proof(invoice) is None


async def test_what_cannot_be_is_an_error_with_status_200_and_makes_nothing(payees: PayeeDoors) -> None:
    await payees.named("shop")

    for path in WRONG_PATHS:
        told = await payees.told(path)
        assert told.keys() == {"status", "reason"}, path
        assert (told["status"], told["reason"].isprintable()) == ("ERROR", True), path

    assert await payees.till.rows("payment") == []


async def test_a_comment_is_kept_as_one_printable_line(payees: PayeeDoors) -> None:
    await payees.named("shop")
    told = await payees.told("/lnurl/pay/shop", amount=5_000, comment=" a\r\nb\u202e <b>☕</b> ")
    nothing = await payees.told("/lnurl/pay/shop", amount=5_000, comment=" \n ")
    longest = await payees.told("/lnurl/pay/shop", amount=5_000, comment="\U0001f600" * COMMENT_CHARACTERS_MAX)

    rows = await payees.till.rows("payment")
    assert all("pr" in one for one in (told, nothing, longest))
    assert {row["description"] for row in rows} == {
        "a b <b>☕</b>", "Pay Shop", "\U0001f600" * COMMENT_CHARACTERS_MAX
    }  # fmt: skip


async def test_names_and_titles_of_the_longest_kind_can_be_paid(payees: PayeeDoors) -> None:
    article = await payees.article(title="\U0001f4d6" * 191)

    invoice = await payees.ask(article["lightningAddress"], amount_msat=7_000)

    assert isinstance(invoice.success_action, UrlAction)
    assert len(invoice.success_action.description) == 144


async def test_a_hidden_article_cannot_be_bought_and_says_no_address(payees: PayeeDoors) -> None:
    article = await payees.article()
    await payees.till.shop.run("mutation ($id: ID!) { hideArticle(id: $id) { __typename } }", {"id": article["id"]})

    shown = await payees.till.shop.run(
        "query ($id: ID!) { article(id: $id) { lnurl lnurlQrCode lightningAddress } }", {"id": article["id"]}
    )
    told = [
        await payees.told(f"/.well-known/lnurlp/{article['id']}"),
        await payees.told(f"/lnurl/pay/{article['id']}", amount=7_000),
    ]

    assert shown == {"article": {"lnurl": None, "lnurlQrCode": None, "lightningAddress": None}}
    assert [one["status"] for one in told] == ["ERROR", "ERROR"]
    assert await payees.till.rows("payment") == []


async def test_only_a_get_asks_for_an_invoice(payees: PayeeDoors) -> None:
    await payees.named("shop")

    answers = [
        await payees.http.request(method, "/lnurl/pay/shop?amount=5000")
        for method in ("HEAD", "POST", "PUT", "OPTIONS")
    ]

    assert [answer.status_code for answer in answers] == [405] * 4
    assert await payees.till.rows("payment") == []


async def test_callers_are_counted(payees: PayeeDoors) -> None:
    await payees.named("shop")
    limiter: Any = payees.services.limiter

    limiter.left = 2  # for the call itself, and the caller's invoices; none for the payee's
    refused = await payees.told("/lnurl/pay/shop", amount=5_000)
    limiter.left = 0
    others = [await payees.told(path) for path in ("/.well-known/lnurlp/shop", "/lnurl/verify", "/lnurl/pay/shop")]

    for one in (refused, *others):
        assert one == {"status": "ERROR", "reason": "too many requests; try again in 60 s"}
    assert await payees.till.rows("payment") == []


async def test_a_node_that_is_away_is_an_error_that_tells_nothing_of_it(payees: PayeeDoors) -> None:
    await payees.named("shop")
    await payees.till.rails.faults.arm("lnd", "unavailable", calls=50)

    told = await payees.told("/lnurl/pay/shop", amount=5_000)

    assert told == {"status": "ERROR", "reason": "no invoice can be made just now; try again later"}


async def test_a_payment_by_address_that_is_made_again_stays_bound_to_what_was_offered(payees: PayeeDoors) -> None:
    await payees.named("shop")
    metadata = (await payees.told("/.well-known/lnurlp/shop"))["metadata"]
    answer = await payees.told("/lnurl/pay/shop", amount=5_000)
    (row,) = await payees.till.rows("payment")
    await payees.named("market")  # what is offered from now on is another
    payees.till.clock.advance(700)
    await payees.till.reconcile()

    retried = await payees.till.shop.run(
        "mutation ($id: ID!) { retryPayment(id: $id) { ... on RetryPaymentSuccess { payment { paymentRequest } } } }",
        {"id": row["id"]},
    )

    again = bolt11.decode(retried["retryPayment"]["payment"]["paymentRequest"], recover=recover)
    assert again.payment_hash != bolt11.decode(answer["pr"], recover=recover).payment_hash
    assert again.description_hash == sha256(metadata.encode()).hexdigest()


async def test_a_name_is_its_first_merchants_for_ever(payees: PayeeDoors, other_shop: Any) -> None:
    other = {"id": other_shop.principal.merchant_id, "as_": other_shop.principal}
    await payees.named("shop")
    taken = await payees.named("SHOP ", **other)
    renamed = await payees.named("market")
    still_taken = await payees.named("shop", **other)
    theirs = await payees.named("bazaar", **other)
    back = await payees.named("shop")
    gone = await payees.named(None)
    still_theirs = await payees.told("/.well-known/lnurlp/bazaar")

    assert taken == {"__typename": "LightningNameTakenError", "code": "LIGHTNING_NAME_TAKEN", "name": "shop"}
    assert still_taken == taken
    assert renamed["merchant"]["lightningAddress"].startswith("market@")
    assert theirs["merchant"]["lightningAddress"].startswith("bazaar@")
    assert back["merchant"]["lightningAddress"].startswith("shop@")
    assert (gone["merchant"]["lightningAddress"], gone["merchant"]["lnurl"], gone["merchant"]["lnurlQrCode"]) == (
        None, None, None
    )  # fmt: skip
    assert still_theirs["tag"] == "payRequest"
    for name in ("shop", "market"):
        assert (await payees.told(f"/.well-known/lnurlp/{name}"))["status"] == "ERROR"
    log = await payees.till.rows("audit_entry")
    assert [row["detail"] for row in log if "lightningName" in (row["detail"] or "")] == [
        "lightningName: none -> shop",
        "lightningName: shop -> market",
        "lightningName: none -> bazaar",
        "lightningName: market -> shop",
        "lightningName: shop -> none",
    ]


async def test_of_two_merchants_that_take_a_name_together_one_has_it(
    payees: PayeeDoors, other_shop: Any, new_services: Callable[[], Services]
) -> None:
    shops = [payees.till.shop, other_shop.with_services(new_services())]

    answers = await asyncio.gather(
        *(
            shops[n % 2].mutate(
                "setLightningAddress", SET, {"input": {"id": shops[n % 2].principal.merchant_id, "name": "shop"}}
            )
            for n in range(8)
        )
    )

    kinds = [{answer["__typename"] for answer in answers[n::2]} for n in (0, 1)]
    assert sorted(kinds, key=repr) == [{"LightningNameTakenError"}, {"SetLightningAddressSuccess"}]
    (row,) = await payees.till.rows("lightning_name")
    assert row["in_use"] == 1


async def test_what_cannot_be_a_name_is_refused(payees: PayeeDoors) -> None:
    refused = {"__typename": "InvalidInputError", "code": "INVALID_INPUT", "field": "name"}

    assert [await payees.named(name) for name in WRONG_NAMES] == [refused] * len(WRONG_NAMES)


async def test_a_name_must_be_said(payees: PayeeDoors) -> None:
    await payees.named("shop")
    document = "mutation ($input: SetLightningAddressInput!) { setLightningAddress(input: $input) { __typename } }"

    answer = await payees.till.shop.run(document, {"input": {"id": payees.till.shop.principal.merchant_id}})

    assert answer == {"setLightningAddress": {"__typename": "InvalidInputError"}}
    assert (await payees.told("/.well-known/lnurlp/shop"))["tag"] == "payRequest"


async def test_only_admins_of_the_merchant_and_the_operator_set_its_name(payees: PayeeDoors, other_shop: Any) -> None:
    shop = payees.till.shop
    clerk = replace(shop.principal, scopes=frozenset({Scope.PAYMENTS_WRITE, Scope.ARTICLES_WRITE}))

    answers = [
        await payees.named("shop", as_=clerk),
        await payees.named("shop", as_=ANONYMOUS),
        await payees.named("shop", as_=other_shop.principal),
        await payees.named("shop", id="mer_" + "f" * 32),
        await payees.named("theirs", id=other_shop.principal.merchant_id),
    ]

    assert [answer["__typename"] for answer in answers] == [
        "PermissionDeniedError",
        "PermissionDeniedError",
        "MerchantNotFoundError",
        "MerchantNotFoundError",
        "SetLightningAddressSuccess",
    ]
    assert (await payees.told("/.well-known/lnurlp/shop"))["status"] == "ERROR"


async def test_an_address_is_said_only_where_wallets_find_it(payees: PayeeDoors) -> None:
    for public_url, address in (
        ("https://pay.example.com", "shop@pay.example.com"),
        ("https://pay.example.com:8443", "shop@pay.example.com:8443"),
        ("https://example.com/pay", None),
        ("http://localhost:8000", None),
    ):
        payees.services.public_url = public_url
        merchant = (await payees.named("shop"))["merchant"]
        assert merchant["lightningAddress"] == address
        assert decode(merchant["lnurl"]) == f"{public_url}/.well-known/lnurlp/shop"


async def test_s1_neither_tables_nor_reprs_hold_the_token_or_the_preimage(payees: PayeeDoors) -> None:
    await payees.named("shop")
    answer = await payees.told("/lnurl/pay/shop", amount=5_000)
    token = answer["verify"].rpartition("_")[2]
    (option,) = await payees.till.rows("payment_option")
    await payees.till.report(await payees.till.pay(option["payment_id"]))

    tables = ("payment", "payment_option", "settlement", "event", "job", "lightning_name", "audit_entry")
    dump = repr([await payees.till.rows(table) for table in tables])

    assert answer["pr"] in dump
    assert token not in dump
    assert payees.services.derive.preimage(option["id"]).hex() not in dump


async def test_a_payer_of_another_server_is_refused_in_words(payees: PayeeDoors) -> None:
    with pytest.raises(PayeeRefused) as refused:
        await payees.directory.resolve("nobody@" + payees.root[7:])

    assert refused.value.reason == "there is nothing to be paid under this address"
