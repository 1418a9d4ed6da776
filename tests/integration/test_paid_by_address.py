"""Being paid by address: any wallet pays a merchant or buys an article, and it is booked like any other payment."""

import base64
import json
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.integration.buying import article_of, claim
from tests.integration.payee_doors import PayeeDoors
from tests.integration.racing import Wrapped
from tests.integration.readers import caller, log_in

from quittance.domain import bolt11
from quittance.domain.access import ANONYMOUS
from quittance.domain.lnurl import decode
from quittance.domain.lnurl_pay import MessageAction, UrlAction
from quittance.domain.money import Asset
from quittance.domain.outgoing_errors import AmountOutOfBounds
from quittance.domain.payment import PaymentPurpose, PaymentStatus
from quittance.providers.lightning import signer as recover
from quittance.resolvers.lightning_addresses import COMMENT_CHARACTERS_MAX
from quittance.sandbox.clock import SandboxClock


async def test_alice_pays_a_merchant_by_its_name_and_it_is_booked_once(doors: PayeeDoors) -> None:
    merchant = (await doors.named("shop"))["merchant"]
    address = f"shop@{doors.root.removeprefix('http://')}"

    invoice = await doors.ask(address, comment="two coffees, please")
    before = await doors.directory.proof(invoice)
    preimage = await doors.paid(invoice)

    payment = await doors.payment_of(invoice)
    assert merchant["lightningAddress"] == address
    assert before is None
    assert await doors.directory.proof(invoice) == preimage
    assert (payment.status, payment.purpose) == (PaymentStatus.COMPLETE, PaymentPurpose.ORDER)
    assert (payment.amount.value, payment.description) == (12_345, "two coffees, please")
    assert payment.merchant_id == merchant["id"]
    assert invoice.success_action == MessageAction(message="Thank you! Shop has your payment.")
    assert await doors.till.balances() == {"PROVIDER": 12_345, "MERCHANT": -12_345}
    assert len(await doors.till.rows("settlement")) == 1
    assert await doors.till.events(payment.id) == [
        ("payment.updated", "PENDING_INVOICE"),
        ("payment.updated", "PENDING_PAYMENT"),
        ("payment.settled", "COMPLETE"),
    ]


async def test_the_invoice_is_bound_to_exactly_the_metadata_that_was_offered(doors: PayeeDoors) -> None:
    await doors.named("shop")
    offer = await doors.told("/.well-known/lnurlp/shop")

    answer = await doors.told("/lnurl/pay/shop", amount=5_000)

    invoice = bolt11.decode(answer["pr"], recover=recover)
    address = f"shop@{doors.root.removeprefix('http://')}"
    assert json.loads(offer["metadata"]) == [["text/plain", "Pay Shop"], ["text/identifier", address]]
    assert {name: offer[name] for name in ("tag", "callback", "minSendable", "maxSendable", "commentAllowed")} == {
        "tag": "payRequest",
        "callback": f"{doors.root}/lnurl/pay/shop",
        "minSendable": 1_000,
        "maxSendable": 100_000_000_000,
        "commentAllowed": COMMENT_CHARACTERS_MAX,
    }
    assert invoice.description_hash == sha256(offer["metadata"].encode()).hexdigest()
    assert (invoice.description, invoice.amount_msat, invoice.expiry_s) == (None, 5_000, 600)
    assert (answer["routes"], answer["disposable"]) == ([], False)
    (row,) = await doors.till.rows("payment")
    assert row["described_by"] == offer["metadata"]


async def test_an_article_is_bought_by_address_and_read_where_the_payment_leads(doors: PayeeDoors) -> None:
    article = await doors.article(title="On waiting")
    offer = await doors.told(f"/.well-known/lnurlp/{article['id']}")
    invoice = await doors.ask(article["lightningAddress"], amount_msat=7_000)
    action = invoice.success_action
    assert isinstance(action, UrlAction)
    unpaid = await doors.http.get(action.url)

    await doors.paid(invoice, node="bob")

    payment = await doors.payment_of(invoice)
    page = await doors.http.get(action.url)
    assert (offer["minSendable"], offer["maxSendable"]) == (7_000, 7_000)
    assert action.description == "Read On waiting"
    assert "Once upon a time." not in unpaid.text
    assert "Once upon a time." in page.text
    assert (payment.status, payment.purpose) == (PaymentStatus.COMPLETE, PaymentPurpose.VIEW)
    assert (payment.article_id, payment.description) == (article["id"], "On waiting")
    read = "query ($id: ID!) { article(id: $id) { content views } }"
    assert await doors.till.shop.run(read, {"id": article["id"]}, as_=ANONYMOUS) == {
        "article": {"content": None, "views": 1}
    }
    stranger = await doors.http.get(f"/pay/{payment.id}")
    assert (stranger.status_code, "Once upon a time." in stranger.text) == (404, False)


async def test_a_reader_claims_what_they_bought_at_an_article_s_address(doors: PayeeDoors) -> None:
    article = await doors.article(title="On waiting")
    invoice = await doors.ask(article["lightningAddress"], amount_msat=7_000)
    assert isinstance(invoice.success_action, UrlAction)
    secret = parse_qs(urlsplit(invoice.success_action.url).query)["client_secret"][0]
    await doors.paid(invoice, node="bob")
    alice = await caller(doors.till.shop, (await log_in(doors.till.shop))["token"])

    claimed = await claim(doors.till, secret, as_=alice)

    assert claimed["payment"]["status"] == "COMPLETE"
    assert (await article_of(doors.till, article["id"], as_=alice))["content"] == "Once upon a time."


async def test_an_article_costs_its_price_and_nothing_else(doors: PayeeDoors) -> None:
    article = await doors.article()

    for amount_msat in (6_999, 7_001, 1, 70_000):
        with pytest.raises(AmountOutOfBounds):
            await doors.ask(article["lightningAddress"], amount_msat=amount_msat)
        told = await doors.told(f"/lnurl/pay/{article['id']}", amount=amount_msat)
        assert told["status"] == "ERROR"

    assert await doors.till.rows("payment") == []


async def test_what_is_shown_to_scan_leads_to_the_same_offers(doors: PayeeDoors) -> None:
    merchant = (await doors.named("Shop.1"))["merchant"]
    article = await doors.article()

    by_merchant = await doors.directory.resolve(merchant["lnurl"])
    by_article = await doors.directory.resolve(article["lnurl"])

    assert merchant["lnurl"].isupper()
    assert decode(merchant["lnurl"]) == f"{doors.root}/.well-known/lnurlp/shop.1"
    assert by_merchant == await doors.directory.resolve(merchant["lightningAddress"])
    assert by_article == await doors.directory.resolve(article["lightningAddress"])
    strangers = await doors.till.shop.run(
        "query ($id: ID!) { article(id: $id) { lnurl lnurlQrCode } }", {"id": article["id"]}, as_=ANONYMOUS
    )
    assert strangers == {"article": {"lnurl": article["lnurl"], "lnurlQrCode": None}}
    for shown in (merchant, article):
        kind, _, content = shown["lnurlQrCode"].partition(",")
        assert (kind, base64.b64decode(content)[:4]) == ("data:image/svg+xml;base64", b"<svg")


async def test_each_call_makes_a_payment_of_its_own(doors: PayeeDoors) -> None:
    await doors.named("shop")

    first, second = await doors.ask("shop@" + doors.root[7:]), await doors.ask("shop@" + doors.root[7:])
    await doors.paid(second)

    assert (await doors.payment_of(first)).status is PaymentStatus.PENDING_PAYMENT
    assert (await doors.payment_of(second)).status is PaymentStatus.COMPLETE
    assert await doors.directory.proof(first) is None
    assert await doors.till.balances() == {"PROVIDER": 12_345, "MERCHANT": -12_345}


async def test_a_preimage_is_shown_once_the_invoice_was_paid_and_to_whom_it_was_given(doors: PayeeDoors) -> None:
    await doors.named("shop")
    answer = await doors.told("/lnurl/pay/shop", amount=5_000)
    token = answer["verify"].partition("token=")[2]
    (option,) = await doors.till.rows("payment_option")
    preimage = doors.services.derive.preimage(option["id"])

    before = await doors.told("/lnurl/verify", token=token)
    payment_id = option["payment_id"]
    await doors.till.report(await doors.till.pay(payment_id))
    after = await doors.told("/lnurl/verify", token=token)

    assert before == {"status": "OK", "settled": False, "preimage": None, "pr": answer["pr"]}
    assert after == {"status": "OK", "settled": True, "preimage": preimage.hex(), "pr": answer["pr"]}
    assert sha256(preimage).hexdigest() == option["reference"]
    client_secret = doors.services.derive.client_secret(payment_id)
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
        assert (await doors.told("/lnurl/verify", token=one))["status"] == "ERROR"
    assert doors.services.derive.payment_opened_by(token) is None


async def test_an_expired_invoice_is_not_shown_as_paid(doors: PayeeDoors, clock: SandboxClock) -> None:
    await doors.named("shop")
    invoice = await doors.ask("shop@" + doors.root[7:])

    clock.advance(700)
    await doors.till.reconcile()

    assert (await doors.payment_of(invoice)).status is PaymentStatus.EXPIRED
    assert await doors.directory.proof(invoice) is None


async def test_a_comment_is_kept_as_one_printable_line(doors: PayeeDoors) -> None:
    await doors.named("shop")
    told = await doors.told("/lnurl/pay/shop", amount=5_000, comment=" a\r\nb\u202e <b>☕</b> ")
    nothing = await doors.told("/lnurl/pay/shop", amount=5_000, comment=" \n ")
    longest = await doors.told("/lnurl/pay/shop", amount=5_000, comment="\U0001f600" * COMMENT_CHARACTERS_MAX)

    rows = await doors.till.rows("payment")
    assert all("pr" in one for one in (told, nothing, longest))
    assert {row["description"] for row in rows} == {
        "a b <b>☕</b>", "Pay Shop", "\U0001f600" * COMMENT_CHARACTERS_MAX
    }  # fmt: skip


async def test_names_and_titles_of_the_longest_kind_can_be_paid(doors: PayeeDoors) -> None:
    article = await doors.article(title="\U0001f4d6" * 191)

    invoice = await doors.ask(article["lightningAddress"], amount_msat=7_000)

    assert isinstance(invoice.success_action, UrlAction)
    assert len(invoice.success_action.description) == 144


async def test_a_hidden_article_cannot_be_bought_and_says_no_address(doors: PayeeDoors) -> None:
    article = await doors.article()
    await doors.till.shop.run("mutation ($id: ID!) { hideArticle(id: $id) { __typename } }", {"id": article["id"]})

    shown = await doors.till.shop.run(
        "query ($id: ID!) { article(id: $id) { lnurl lnurlQrCode lightningAddress } }", {"id": article["id"]}
    )
    told = [
        await doors.told(f"/.well-known/lnurlp/{article['id']}"),
        await doors.told(f"/lnurl/pay/{article['id']}", amount=7_000),
    ]

    assert shown == {"article": {"lnurl": None, "lnurlQrCode": None, "lightningAddress": None}}
    assert [one["status"] for one in told] == ["ERROR", "ERROR"]
    assert await doors.till.rows("payment") == []


async def test_a_merchant_whose_rail_moves_something_else_than_bitcoin_is_not_paid_by_address(
    doors: PayeeDoors, lnd: Any
) -> None:
    await doors.named("shop")
    litecoin: Any = Wrapped(lnd)
    litecoin.asset = Asset("LTC", 11)
    doors.services.rails = {"lnd": litecoin}

    told = [await doors.told(path) for path in ("/.well-known/lnurlp/shop", "/lnurl/pay/shop?amount=5000")]

    assert told == [{"status": "ERROR", "reason": "this is not paid in bitcoin over Lightning"}] * 2
    assert await doors.till.rows("payment") == []


async def test_an_article_with_a_price_in_something_else_than_bitcoin_has_no_address(
    doors: PayeeDoors, lnd: Any
) -> None:
    litecoin: Any = Wrapped(lnd)
    litecoin.asset, litecoin.name = Asset("LTC", 11), "lnd-ltc"
    doors.services.rails = {"lnd": lnd, "lnd-ltc": litecoin}

    article = await doors.article(price={"asset": {"assetCode": "LTC", "assetScale": 8, "value": "500"}})
    told = await doors.told(f"/.well-known/lnurlp/{article['id']}")

    assert (article["lightningAddress"], article["lnurl"], article["lnurlQrCode"]) == (None, None, None)
    assert told == {"status": "ERROR", "reason": "this is not paid in bitcoin over Lightning"}


async def test_a_payment_by_address_that_is_made_again_stays_bound_to_what_was_offered(doors: PayeeDoors) -> None:
    await doors.named("shop")
    metadata = (await doors.told("/.well-known/lnurlp/shop"))["metadata"]
    answer = await doors.told("/lnurl/pay/shop", amount=5_000)
    (row,) = await doors.till.rows("payment")
    await doors.named("market")  # what is offered from now on is another
    doors.till.clock.advance(700)
    await doors.till.reconcile()

    retried = await doors.till.shop.run(
        "mutation ($id: ID!) { retryPayment(id: $id) { ... on RetryPaymentSuccess { payment { paymentRequest } } } }",
        {"id": row["id"]},
    )

    again = bolt11.decode(retried["retryPayment"]["payment"]["paymentRequest"], recover=recover)
    assert again.payment_hash != bolt11.decode(answer["pr"], recover=recover).payment_hash
    assert again.description_hash == sha256(metadata.encode()).hexdigest()


async def test_an_address_is_said_only_where_wallets_find_it(doors: PayeeDoors) -> None:
    for public_url, address in (
        ("https://pay.example.com", "shop@pay.example.com"),
        ("https://pay.example.com:8443", "shop@pay.example.com:8443"),
        ("https://example.com/pay", None),
        ("http://localhost:8000", None),
    ):
        doors.services.public_url = public_url
        merchant = (await doors.named("shop"))["merchant"]
        assert merchant["lightningAddress"] == address
        assert decode(merchant["lnurl"]) == f"{public_url}/.well-known/lnurlp/shop"


async def test_s1_neither_tables_nor_reprs_hold_the_token_or_the_preimage(doors: PayeeDoors) -> None:
    await doors.named("shop")
    answer = await doors.told("/lnurl/pay/shop", amount=5_000)
    token = answer["verify"].rpartition("_")[2]
    (option,) = await doors.till.rows("payment_option")
    await doors.till.report(await doors.till.pay(option["payment_id"]))

    tables = ("payment", "payment_option", "settlement", "event", "job", "lightning_name", "audit_entry")
    dump = repr([await doors.till.rows(table) for table in tables])

    assert answer["pr"] in dump
    assert token not in dump
    assert doors.services.derive.preimage(option["id"]).hex() not in dump
