"""LNURLs, Lightning Addresses and links: what they stand for, and what is refused."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quittance.domain import bech32
from quittance.domain.lnurl import decode, encode, is_same_site, payee_url
from quittance.domain.outgoing_errors import InvalidPayee

URL = "https://service.com/api?q=3fc3645b439ce8e7f2553a69e5267081d96dcd340693afabe04be7b0ccd178df"
LNURL = (
    "LNURL1DP68GURN8GHJ7UM9WFMXJCM99E3K7MF0V9CXJ0M385EKVCENXC6R2C35XVUKXEFCV5MKVV34X5EKZD3EV56NYD3HXQURZEPEXEJXXEPNXSCRV"
    "WFNV9NXZCN9XQ6XYEFHVGCXXCMYXYMNSERXFQ5FNS"
)


def test_the_vector_reads_and_writes() -> None:
    assert encode(URL) == LNURL
    assert decode(LNURL) == URL
    assert decode(LNURL.lower()) == URL


@given(st.text(max_size=300))
def test_whatever_is_written_reads_back(text: str) -> None:
    url = "https://" + text.encode(errors="replace").decode()

    assert decode(encode(url)) == url
    assert encode(url) == encode(url).upper()


@pytest.mark.parametrize(
    ("payee", "url"),
    [
        ("alice@example.com", "https://example.com/.well-known/lnurlp/alice"),
        (" Alice@Example.COM ", "https://example.com/.well-known/lnurlp/alice"),
        ("alice+tips@pay.example.com:8443", "https://pay.example.com:8443/.well-known/lnurlp/alice+tips"),
        ("lightning:alice@example.com", "https://example.com/.well-known/lnurlp/alice"),
        ("bob@127.0.0.1:4000", "http://127.0.0.1:4000/.well-known/lnurlp/bob"),
        ("bob@abcdefgh.onion", "http://abcdefgh.onion/.well-known/lnurlp/bob"),
        (LNURL, URL),
        (LNURL.lower(), URL),
        (f"lightning:{LNURL}", URL),
        (f"LIGHTNING:{LNURL}", URL),
        (f"https://shop.example/pay?item=1&lightning={LNURL}", URL),
        ("lnurlp://example.com/pay/7?a=1", "https://example.com/pay/7?a=1"),
        ("LNURLP://example.com/pay", "https://example.com/pay"),
        ("lnurlp://abc.onion/pay", "http://abc.onion/pay"),
        ("lnurlp://abc.onion:81/pay", "http://abc.onion:81/pay"),
        ("lnurlp://127.0.0.1:4000/pay", "http://127.0.0.1:4000/pay"),
        ("lnurlp://localhost:4000/pay", "http://localhost:4000/pay"),
        ("lnurlp://127.0.0.1.example.com/pay", "https://127.0.0.1.example.com/pay"),
        (encode("https://example.com/x?tag=payRequest"), "https://example.com/x?tag=payRequest"),
    ],
)
def test_a_payee_stands_for_an_address(payee: str, url: str) -> None:
    assert payee_url(payee) == url


@pytest.mark.parametrize(
    "payee",
    [
        "",
        "alice",
        "alice@example",
        "@example.com",
        "alice@",
        "al ice@example.com",
        "alice@bob@example.com",
        "alice@exämple.com",
        "alice@example.com/path",
        "alice@example.com?x",
        "alice\n@example.com",
        LNURL[:-1] + "Q",
        LNURL[:20] + LNURL[20:].lower(),
        LNURL[:-1],
        "lnurl1",
        "lnbc1qqqqqq",
        "https://example.com/",
        "https://example.com/?lightning=nothing",
        "lnurlw://example.com/x",
        "keyauth://example.com/x",
        "lnurlp://",
        "lnurlp://user:secret@example.com/x",
        "lnurlp://exa mple.com/x",
        "lnurlp://[::1/x",
        "ftp://example.com/x",
        "javascript:alert(1)",
        encode("ftp://example.com/x"),
        encode("file:///etc/passwd"),
        encode("example.com"),
        encode("https://example.com/?tag=login&k1=00"),
        encode("https://example.com/?tag=withdrawRequest"),
        encode("https://example.com/a b"),
        encode("https://example.com/\n"),
        encode("https://user@example.com/"),
        "lnurlp://example.com/" + "a" * 5_000,
    ],
)
def test_what_is_no_payee_is_refused(payee: str) -> None:
    with pytest.raises(InvalidPayee) as refused:
        payee_url(payee)

    assert refused.value.code == "INVALID_PAYEE"
    assert refused.value.message.isprintable()


def test_bits_that_fill_the_last_symbol_are_zero_and_too_few_for_a_symbol() -> None:
    good = bech32.decode(encode("https://a.example/").lower())[1]
    assert len(good) * 5 % 8 > 0

    for symbols in (good[:-1] + bytes([good[-1] | 1]), good + b"\x00"):
        with pytest.raises(InvalidPayee):
            decode(bech32.encode("lnurl", symbols))


def test_an_lnurl_of_other_bytes_than_text_is_refused() -> None:
    with pytest.raises(InvalidPayee):
        decode(bech32.encode("lnurl", bech32.symbols_from_int(0xFF << 2, count=2)))


@given(st.text(max_size=200) | st.from_regex(r"(?i)(lightning:|lnurlp://|https://|lnurl1)?[ -~]{0,80}@?[ -~]{0,80}"))
@example("lnurlp://[")
@example("https://[?lightning=x")
@example("https://x/?lightning=" + "&" * 200)
@example("\ud800@example.com")
@example(encode("https://x/?" + "&" * 200))
@example(encode("http://[v1.x]/"))
def test_no_text_raises_anything_else(payee: str) -> None:
    try:
        url = payee_url(payee)
    except InvalidPayee:
        return
    assert url.startswith(("https://", "http://"))


@pytest.mark.parametrize(
    ("url", "other", "same"),
    [
        ("https://a.example/x", "https://A.example:8443/y", True),
        ("https://a.example/x", "https://b.example/x", False),
        ("https://a.example/x", "https://b.a.example/x", False),
        ("https://a.example/x", "https://a.example@b.example/", False),
        ("https://a.example/x", "https://b.example\\@a.example/", False),
        ("https://a.example/x", "https://b.example#@a.example/", False),
        ("https://a.example/x", "https:///x", False),
        ("https://a.example/x", "https://[", False),
        ("https:///", "https:///", False),
    ],
)
def test_only_one_host_is_the_same_site(url: str, other: str, same: bool) -> None:
    assert is_same_site(url, other) is same
