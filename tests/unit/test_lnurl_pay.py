"""The two answers of LNURL-pay: what is read, what is refused, and which invoices may be paid."""

from typing import Any

import pytest

from quittance.domain.bolt11 import UnsignedInvoice, encode
from quittance.domain.errors import InvalidInput
from quittance.domain.lnurl_pay import (
    ACTION_CHARACTERS_MAX,
    AesAction,
    InvoiceFlaw,
    InvoiceTerms,
    MessageAction,
    Payee,
    UrlAction,
    bare_invoice,
    callback_url,
    check_invoice,
    metadata_hash,
    printable,
    read_pay_answer,
    read_payee,
    read_success_action,
)
from quittance.domain.outgoing_errors import AmountOutOfBounds, InvalidPayee, PayeeInvoiceMismatch, PayeeRefused
from quittance.providers.lightning import signer
from quittance.sandbox.lnd.keys import NodeKey

URL = "https://example.com/.well-known/lnurlp/alice"
CALLBACK = "https://example.com/pay"
METADATA = '[["text/plain","Pay alice"],["text/identifier","alice@example.com"]]'
NOW_S = 1_700_000_000
REGTEST_VECTOR = (
    "lnbcrt10u1pj48ugqpp5ve584t0cv27hwmy0cx9ca8uwyqyfw9y9dm3r8vus9fv36r2l9yjshp5ftfar7296hkd3kcnek8hja83uvadyc5vvhm"
    "t6u88g66t74swc2gssp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygscqzzsxqzjckps923clask2vy3wyhj352f0lz0h"
    "qz6xg7k4rddled2hw9kzvftxrhm2q9nt2apq4hd7eljrc52gyxl9tdfjlmsf6rqug0mnmjx6utsqf040l9"
)


AES = {"tag": "aes", "description": "key", "ciphertext": "qEKI4TOS5+n33nsm28HHWA==", "iv": "AAECAwQFBgcICQoLDA0ODw=="}


def first(**changes: object) -> dict[str, Any]:
    answer = {
        "tag": "payRequest",
        "callback": CALLBACK,
        "minSendable": 1_000,
        "maxSendable": 5_000,
        "metadata": METADATA,
        "commentAllowed": 20,
    } | changes
    return {name: value for name, value in answer.items() if value is not ...}


def payee(**changes: object) -> Payee:
    return read_payee(first(**changes), url=URL)


def terms(**changes: Any) -> InvoiceTerms:
    said: dict[str, Any] = {"amount_msat": 5_000, "metadata": METADATA, "prefix": "bcrt", "now_s": NOW_S}
    return InvoiceTerms(**said | changes)


def invoice(**changes: Any) -> str:
    said: dict[str, Any] = {
        "prefix": "bcrt",
        "amount_msat": 5_000,
        "timestamp": NOW_S,
        "payment_hash": bytes(32),
        "payment_secret": bytes(32),
        "description": None,
        "description_hash": bytes.fromhex(metadata_hash(METADATA)),
        "expiry_s": 60,
    }
    return encode(UnsignedInvoice(**said | changes), sign=NodeKey(b"\x01" * 32).sign)


@pytest.mark.parametrize(
    ("metadata", "digest"),
    [
        (
            '[["text/plain", "lorem ipsum blah blah"]]',
            "f7d6f565d86b0065d2d2af771106de4f8477f1f14b4cca4c009c0d53bb9be25f",
        ),
        (METADATA, "4ad3d1f945d5ecd8db13cd8f7974f1e33ad2628c65f6bd70e746b4bf560ec291"),
    ],
)
def test_metadata_is_hashed_exactly_as_it_was_sent(metadata: str, digest: str) -> None:
    assert metadata_hash(metadata) == digest


def test_an_offer_is_read() -> None:
    assert payee() == Payee(
        url=URL,
        callback=CALLBACK,
        amount_msat_min=1_000,
        amount_msat_max=5_000,
        metadata=METADATA,
        description="Pay alice",
        identifier="alice@example.com",
        comment_characters_max=20,
    )


@pytest.mark.parametrize("allowed", [..., None, 0, -5, 1.5, True, "12", [1]])
def test_without_a_number_of_characters_no_comment_is_taken(allowed: object) -> None:
    assert payee(commentAllowed=allowed).comment_characters_max == 0


def test_bounds_beyond_all_money_are_cut_to_it() -> None:
    assert payee(maxSendable=10**30).amount_msat_max == 2**63 - 1


@pytest.mark.parametrize(
    "changes",
    [
        {"tag": ...},
        {"tag": "withdrawRequest"},
        {"tag": ["payRequest"]},
        {"callback": ...},
        {"callback": None},
        {"callback": {}},
        {"minSendable": ...},
        {"minSendable": 0},
        {"minSendable": -1},
        {"minSendable": 5_001},
        {"minSendable": 1_000.0},
        {"minSendable": "1000"},
        {"minSendable": True},
        {"maxSendable": ...},
        {"maxSendable": 999},
        {"minSendable": 2**63, "maxSendable": 2**63},
        {"metadata": ...},
        {"metadata": [["text/plain", "Pay alice"]]},
        {"metadata": ""},
        {"metadata": "[]"},
        {"metadata": "{}"},
        {"metadata": "[[]]"},
        {"metadata": "[1]"},
        {"metadata": '[["text/plain"]]'},
        {"metadata": '[["text/plain",1]]'},
        {"metadata": '[["text/plain","a"],["text/plain","b"]]'},
        {"metadata": '[["text/plain","a"],["text/plain",1]]'},
        {"metadata": '[["text/identifier","a@b.c"]]'},
        {"metadata": '[["text/plain","\ud800"]]'},
        {"metadata": "[" * 100_000},
    ],
)
def test_what_offers_no_payment_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidPayee):
        payee(**changes)


def test_unknown_entries_of_metadata_and_their_types_do_not_matter() -> None:
    metadata = '[["text/plain","a"],["x",{"y":1}],[["z"]],["image/png;base64","AAAA"],["text/email","a@b.example"]]'

    read = payee(metadata=metadata)

    assert (read.description, read.identifier, read.metadata) == ("a", "a@b.example", metadata)


@pytest.mark.parametrize("status", ["ERROR", "error", "Error"])
def test_an_error_is_told_with_its_reason(status: str) -> None:
    with pytest.raises(PayeeRefused) as refused:
        payee(status=status, reason="no such\nname\u202e")

    assert refused.value.reason == "no such name"
    assert not refused.value.retryable


@pytest.mark.parametrize("reason", [..., None, 1, "", "\n\t"])
def test_an_error_without_a_reason_is_an_error(reason: object) -> None:
    with pytest.raises(PayeeRefused) as refused:
        payee(status="ERROR", reason=reason)

    assert refused.value.reason == "it gives no reason"


def test_a_long_reason_is_cut() -> None:
    with pytest.raises(PayeeRefused) as refused:
        payee(status="ERROR", reason="x" * 100_000)

    assert refused.value.reason == "x" * 199 + "…"


def test_who_must_know_the_payer_is_not_paid() -> None:
    assert payee(payerData={"name": {"mandatory": False}}).description == "Pay alice"

    with pytest.raises(PayeeRefused):
        payee(payerData={"name": {"mandatory": False}, "email": {"mandatory": True}})


@pytest.mark.parametrize(
    ("callback", "url"),
    [
        (CALLBACK, f"{CALLBACK}?amount=1000&comment=caf%C3%A9+%26+more"),
        (f"{CALLBACK}?id=1", f"{CALLBACK}?id=1&amount=1000&comment=caf%C3%A9+%26+more"),
    ],
)
def test_amount_and_comment_are_appended(callback: str, url: str) -> None:
    assert callback_url(payee(callback=callback), amount_msat=1_000, comment="café & more") == url


def test_no_comment_leaves_none() -> None:
    assert callback_url(payee(commentAllowed=0), amount_msat=5_000, comment="") == f"{CALLBACK}?amount=5000"


@pytest.mark.parametrize("amount_msat", [-1, 0, 999, 5_001])
def test_amounts_outside_the_bounds_are_not_asked_for(amount_msat: int) -> None:
    with pytest.raises(AmountOutOfBounds) as refused:
        callback_url(payee(), amount_msat=amount_msat, comment=None)

    assert (refused.value.amount_msat_min, refused.value.amount_msat_max) == (1_000, 5_000)


@pytest.mark.parametrize("comment", ["x" * 21, "\ud800"])
def test_comments_that_the_payee_does_not_take_are_not_sent(comment: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        callback_url(payee(), amount_msat=1_000, comment=comment)

    assert refused.value.field == "comment"


def test_a_comment_that_makes_the_address_too_long_is_not_sent() -> None:
    with pytest.raises(InvalidInput):
        callback_url(payee(commentAllowed=1_000), amount_msat=1_000, comment="\U0001f600" * 200)


def test_the_second_answer_is_read() -> None:
    read = read_pay_answer({"pr": " LIGHTNING:LNBC1X ", "routes": [], "verify": f"{CALLBACK}/v"}, callback=CALLBACK)

    assert (read.payment_request, read.success_action, read.verify_url) == ("lnbc1x", None, f"{CALLBACK}/v")


@pytest.mark.parametrize("said", [{}, {"pr": ""}, {"pr": None}, {"pr": 5}])
def test_an_answer_without_an_invoice_is_refused(said: dict[str, object]) -> None:
    with pytest.raises(PayeeInvoiceMismatch) as refused:
        read_pay_answer(said, callback=CALLBACK)

    assert refused.value.flaw == InvoiceFlaw.MISSING


def test_success_actions_are_read() -> None:
    assert read_success_action({"tag": "message", "message": "Thanks\n!"}, callback=CALLBACK) == MessageAction(
        message="Thanks !"
    )
    assert read_success_action(
        {"tag": "url", "description": "Order", "url": "https://EXAMPLE.com/o/1#s"}, callback=CALLBACK
    ) == UrlAction(description="Order", url="https://EXAMPLE.com/o/1#s")
    assert read_success_action(AES, callback=CALLBACK) == AesAction(
        description="key", ciphertext=bytes.fromhex("a84288e13392e7e9f7de7b26dbc1c758"), iv=bytes(range(16))
    )


@pytest.mark.parametrize(
    "said",
    [
        "thanks",
        [],
        {},
        {"tag": "noop"},
        {"tag": ["message"], "message": "x"},
        {"tag": "message"},
        {"tag": "message", "message": 1},
        {"tag": "message", "message": "x" * (ACTION_CHARACTERS_MAX + 1)},
        {"tag": "url", "description": "x"},
        {"tag": "url", "url": CALLBACK},
        {"tag": "url", "description": "x" * 145, "url": CALLBACK},
        {"tag": "url", "description": "x", "url": "https://evil.example/"},
        {"tag": "url", "description": "x", "url": "https://example.com@evil.example/"},
        {"tag": "url", "description": "x", "url": "http://example.com/"},
        {"tag": "url", "description": "x", "url": "javascript://example.com/%0aalert(1)"},
        {"tag": "url", "description": "x", "url": "https://example.com/" + "x" * 3_000},
        {"tag": "url", "description": "x", "url": 1},
        AES | {"description": None},
        AES | {"iv": "AAECAwQFBgcICQoLDA0O"},
        AES | {"iv": "AAECAwQFBgcICQoLDA0ODw==AAAA"},
        AES | {"iv": "*"},
        AES | {"ciphertext": ""},
        AES | {"ciphertext": "qEKI4TOS5+n33nsm28HH"},
        AES | {"ciphertext": "é"},
        AES | {"ciphertext": "A" * 4_100},
    ],
)
def test_what_cannot_be_kept_after_payment_is_refused_before_it(said: object) -> None:
    with pytest.raises(PayeeInvoiceMismatch) as refused:
        read_pay_answer({"pr": "lnbc1x", "successAction": said}, callback=CALLBACK)

    assert refused.value.flaw == InvoiceFlaw.SUCCESS_ACTION


def test_the_invoice_that_was_asked_for_is_accepted_until_its_last_second() -> None:
    assert check_invoice(invoice(), terms=terms(now_s=NOW_S + 59), recover=signer).amount_msat == 5_000
    vector = terms(amount_msat=1_000_000)
    assert check_invoice(REGTEST_VECTOR, terms=vector, recover=signer).expiry_s == 600


@pytest.mark.parametrize(
    ("changes", "flaw"),
    [
        ({"prefix": "bc"}, InvoiceFlaw.NETWORK),
        ({"prefix": "tb"}, InvoiceFlaw.NETWORK),
        ({"amount_msat": 5_001}, InvoiceFlaw.AMOUNT),
        ({"amount_msat": 4_999}, InvoiceFlaw.AMOUNT),
        ({"amount_msat": None}, InvoiceFlaw.AMOUNT),
        ({"description_hash": bytes(32)}, InvoiceFlaw.DESCRIPTION),
        ({"description": "Pay alice", "description_hash": None}, InvoiceFlaw.DESCRIPTION),
        ({"timestamp": NOW_S - 60}, InvoiceFlaw.EXPIRED),
    ],
)
def test_any_other_invoice_is_refused_and_the_flaw_named(changes: dict[str, object], flaw: InvoiceFlaw) -> None:
    with pytest.raises(PayeeInvoiceMismatch) as refused:
        check_invoice(invoice(**changes), terms=terms(), recover=signer)

    assert refused.value.flaw == flaw


def test_a_lenient_payer_takes_a_description_and_nothing_else() -> None:
    described = {"description": "anything", "description_hash": None}
    lenient = terms(strict=False)

    assert check_invoice(invoice(**described), terms=lenient, recover=signer).description == "anything"
    assert check_invoice(invoice(), terms=lenient, recover=signer).description is None
    for changes, flaw in (
        ({"description_hash": bytes(32)}, InvoiceFlaw.DESCRIPTION),
        (described | {"amount_msat": 5_001}, InvoiceFlaw.AMOUNT),
        (described | {"prefix": "bc"}, InvoiceFlaw.NETWORK),
        (described | {"timestamp": NOW_S - 60}, InvoiceFlaw.EXPIRED),
    ):
        with pytest.raises(PayeeInvoiceMismatch) as refused:
            check_invoice(invoice(**changes), terms=lenient, recover=signer)
        assert refused.value.flaw == flaw


def test_one_changed_character_spoils_an_invoice() -> None:
    good = invoice()
    other = "q" if good[60] != "q" else "p"

    with pytest.raises(PayeeInvoiceMismatch) as refused:
        check_invoice(good[:60] + other + good[61:], terms=terms(), recover=signer)

    assert refused.value.flaw == InvoiceFlaw.MALFORMED


@pytest.mark.parametrize(
    ("said", "bare"),
    [
        ("lnbc1x", "lnbc1x"),
        ("LNBC1X", "lnbc1x"),
        ("lightning:lnbc1x", "lnbc1x"),
        ("Lightning:LNBC1X\n", "lnbc1x"),
        ("lnBc1x", "lnBc1x"),
    ],
)
def test_invoices_are_compared_bare(said: str, bare: str) -> None:
    assert bare_invoice(said) == bare


def test_texts_of_strangers_are_one_printable_line() -> None:
    assert printable("a\x00b\r\n c\u202e\ud800d\u200b", characters_max=20) == "a b c d"
    assert printable("x" * 30, characters_max=10) == "x" * 9 + "…"
