"""BOLT11 against the standard's own examples, another implementation, and whatever text there may be."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import bolt11 as oracle
import pytest
from coincurve import PrivateKey, PublicKey
from hypothesis import given
from hypothesis import strategies as st

from quittance.domain import bech32
from quittance.domain.bolt11 import Bolt11, MalformedInvoice, UnsignedInvoice, decode, encode

KEY = PrivateKey(bytes.fromhex("e126f68f7eafcc8b74f54d269fe206be715000f94dac067d1c04a8ca3b2db734"))
PAYEE = "03e7156ae33b0a208d0744199163177e909e80176e55d97a2f221ede0f934dd9ad"
VECTORS = json.loads((Path(__file__).parent / "bolt11_vectors.json").read_text())
SIGNATURE_SYMBOLS = 104


def recover(digest: bytes, signature: bytes) -> bytes:
    return PublicKey.from_signature_and_message(signature, digest, hasher=None).format()


sign = partial(KEY.sign_recoverable, hasher=None)
read = partial(decode, recover=recover)

COFFEE = UnsignedInvoice(
    prefix="bcrt",
    amount_msat=250_000_000,
    timestamp=1_700_000_000,
    payment_hash=bytes(range(32)),
    payment_secret=b"\x11" * 32,
    description="1 cup coffee",
)


def plain(invoice: Bolt11) -> dict[str, object]:
    fields = asdict(invoice)
    fields["features"] = sorted(invoice.features)
    fields["route_hints"] = [
        [[hop.node, hop.channel, hop.fee_base_msat, hop.fee_ppm, hop.cltv_delta] for hop in hint]
        for hint in invoice.route_hints
    ]
    fields["fallbacks"] = [[address.version, address.payload.hex()] for address in invoice.fallbacks]
    fields["metadata"] = invoice.metadata and invoice.metadata.hex()
    return fields


def assembled(prefix: str, *fields: tuple[int, bytes], key: PrivateKey = KEY) -> str:
    """Return an invoice with exactly these fields, which need not make sense."""
    body = bech32.symbols_from_int(COFFEE.timestamp, count=7)
    for tag, symbols in fields:
        body += bytes([tag, len(symbols) >> 5, len(symbols) & 31]) + symbols
    value, size = bech32.int_from_symbols(body), (len(body) * 5 + 7) // 8
    digest = sha256(prefix.encode() + (value << size * 8 - len(body) * 5).to_bytes(size)).digest()
    signature = key.sign_recoverable(digest, hasher=None)
    return bech32.encode(prefix, body + bech32.symbols_from_int(int.from_bytes(signature), count=SIGNATURE_SYMBOLS))


HASH, SECRET = (1, bytes(52)), (16, bytes(52))
TEXT = (13, b"")
HASHED_TEXT = (23, bytes(52))


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["name"])
def test_a_valid_example_is_read_completely(vector: dict[str, Any]) -> None:
    expected = {"fallbacks": [], "route_hints": [], "metadata": None} | vector["fields"]

    assert plain(read(vector["invoice"])) == expected


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda vector: vector["name"])
def test_an_invalid_example_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(MalformedInvoice) as refused:
        read(vector["invoice"])

    assert refused.value.code == "INVALID_INVOICE"
    assert refused.value.reason in refused.value.message


@pytest.mark.parametrize("vector", VECTORS["without_secret"], ids=lambda vector: vector["name"])
def test_an_old_litecoin_invoice_is_read_only_when_no_secret_is_required(vector: dict[str, Any]) -> None:
    invoice = read(vector["invoice"], require_secret=False)

    assert (invoice.prefix, invoice.amount_msat, invoice.payee) == (vector["prefix"], 2_400_000_000_000, PAYEE)
    with pytest.raises(MalformedInvoice):
        read(vector["invoice"])


@pytest.mark.parametrize("prefix", ["bc", "tb", "tbs", "bcrt", "sb", "ltc", "tltc", "rltc"])
@pytest.mark.parametrize("amount_msat", [None, 1, 21_000, 10**11, 25 * 10**11])
def test_a_prefix_is_read_whole_with_an_amount_and_without(prefix: str, amount_msat: int | None) -> None:
    text = encode(replace(COFFEE, prefix=prefix, amount_msat=amount_msat), sign=sign)

    assert text.startswith(f"ln{prefix}")
    assert (read(text).prefix, read(text).amount_msat) == (prefix, amount_msat)


@pytest.mark.parametrize("scheme", ["lightning:", "LIGHTNING:", "Lightning:"])
@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_scheme_and_case_do_not_matter(scheme: str, case: Callable[[str], str]) -> None:
    text = encode(COFFEE, sign=sign)

    assert read(scheme + case(text)) == read(text)


@pytest.mark.parametrize(
    ("amount_msat", "written"),
    [
        (1, "10p"),
        (21, "210p"),
        (1_000, "10n"),
        (123_456, "1234560p"),
        (250_000_000, "2500u"),
        (100_000_000_000, "1"),
        (2_100_000_000_000_000_000, "21000000"),
        (None, ""),
    ],
)
def test_an_amount_is_written_in_its_shortest_form_and_read_back(amount_msat: int | None, written: str) -> None:
    text = encode(replace(COFFEE, amount_msat=amount_msat), sign=sign)

    assert text.startswith(f"lnbcrt{written}1pj48ugq")
    assert read(text).amount_msat == amount_msat


@pytest.mark.parametrize(
    ("written", "amount_msat"), [("1000n", 100_000), ("2500000u", 250_000_000_000), ("010u", 10**6)]
)
def test_longer_forms_of_an_amount_are_read(written: str, amount_msat: int) -> None:
    assert read(assembled(f"lnbc{written}", HASH, SECRET, TEXT)).amount_msat == amount_msat


@pytest.mark.parametrize("prefix", ["lnbc1p", "lnbc0u", "lnbc99999999999999999999", "lnbc1²", "lnxx1u", "bc", "lnbcu"])
def test_a_prefix_that_names_no_payable_amount_is_refused(prefix: str) -> None:
    with pytest.raises(MalformedInvoice):
        read(assembled(prefix, HASH, SECRET, TEXT))


@pytest.mark.parametrize(
    "fields",
    [
        (HASH, SECRET),
        (HASH, SECRET, TEXT, HASHED_TEXT),
        (SECRET, TEXT),
        (HASH, TEXT),
        (HASH, HASH, SECRET, TEXT),
        (HASH, SECRET, SECRET, TEXT),
        (HASH, SECRET, TEXT, TEXT),
        (HASH, SECRET, (13, b"\x1f\x1f\x1f")),
        (HASH, SECRET, TEXT, (3, b"\x01" * 10)),
        (HASH, SECRET, TEXT, (6, b"\x01" + bytes(7))),
        (HASH, SECRET, TEXT, (24, b"\x01" * 1000)),
        (HASH, SECRET, TEXT, (5, b"\x01")),
        (HASH, SECRET, TEXT, (19, bytes(53))),
    ],
    ids=[
        "no description", "two descriptions", "no hash", "no secret", "hash twice", "secret twice", "description twice",
        "not UTF-8", "part of a hop", "endless expiry", "endless delta", "feature 0", "another payee",
    ],
)  # fmt: skip
def test_a_signed_invoice_that_breaks_a_rule_is_refused(fields: tuple[tuple[int, bytes], ...]) -> None:
    assert read(assembled("lnbc", HASH, SECRET, TEXT)).payee == PAYEE

    with pytest.raises(MalformedInvoice):
        read(assembled("lnbc", *fields))


def test_a_named_payee_must_have_signed() -> None:
    named = (19, bech32.symbols_from_int(int(PAYEE, 16) << 1, count=53))

    assert read(assembled("lnbc", HASH, SECRET, TEXT, named)).payee == PAYEE
    with pytest.raises(MalformedInvoice, match="not the payee's"):
        read(assembled("lnbc", HASH, SECRET, TEXT, named, key=PrivateKey(b"\x02" * 32)))


@pytest.mark.parametrize(
    "change",
    [
        {"prefix": "xx"},
        {"amount_msat": 0},
        {"amount_msat": -1},
        {"timestamp": 2**35},
        {"payment_hash": b"short"},
        {"payment_secret": b"short"},
        {"description": None},
        {"description_hash": bytes(32)},
        {"description": "x" * 640},
        {"expiry_s": -1},
    ],
)
def test_what_does_not_fit_is_not_written(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        encode(replace(COFFEE, **change), sign=sign)


def test_a_description_may_fill_its_field() -> None:
    text = encode(replace(COFFEE, description="é" * 319 + "x"), sign=sign)

    assert read(text).description == "é" * 319 + "x"


def test_an_invoice_without_features_has_no_such_field() -> None:
    text = encode(replace(COFFEE, features=frozenset()), sign=sign)

    assert read(text).features == frozenset()
    assert "9qqq" not in text


@given(st.data())
def test_what_is_written_is_read_back_and_another_reader_agrees(data: st.DataObject) -> None:
    text, digest = st.text(max_size=150), st.binary(min_size=32, max_size=32)
    described = data.draw(st.one_of(st.tuples(text, st.none()), st.tuples(st.none(), digest)))
    unsigned = UnsignedInvoice(
        prefix=data.draw(st.sampled_from(["bc", "tb", "tbs", "bcrt"])),
        amount_msat=data.draw(st.none() | st.integers(1, 2_100_000_000_000_000_000)),
        timestamp=data.draw(st.integers(0, 2**35 - 1)),
        payment_hash=data.draw(digest),
        payment_secret=data.draw(digest),
        description=described[0],
        description_hash=described[1],
        expiry_s=data.draw(st.integers(1, 2**35 - 1)),
        min_final_cltv_delta=data.draw(st.integers(1, 65_535)),
        features=data.draw(
            st.sets(st.sampled_from([8, 9, 14, 15, 16, 17, 48, 49, 99, 263]), min_size=1).map(frozenset)
        ),
    )

    written = encode(unsigned, sign=sign)
    invoice, other = read(written), oracle.decode(written)

    assert {name: getattr(invoice, name) for name in ("payee", "description", "features", "amount_msat")} == {
        "payee": PAYEE,
        "description": unsigned.description,
        "features": unsigned.features,
        "amount_msat": unsigned.amount_msat,
    }
    assert bytes.fromhex(invoice.payment_hash) == unsigned.payment_hash
    assert bytes.fromhex(invoice.payment_secret or "") == unsigned.payment_secret
    assert (invoice.description_hash or "") == (unsigned.description_hash or b"").hex()
    assert (invoice.prefix, invoice.timestamp) == (unsigned.prefix, unsigned.timestamp)
    assert (invoice.expiry_s, invoice.min_final_cltv_delta) == (unsigned.expiry_s, unsigned.min_final_cltv_delta)
    assert invoice.expires_at_s == unsigned.timestamp + unsigned.expiry_s
    assert (other.currency, other.amount_msat, other.payment_hash) == (
        invoice.prefix, invoice.amount_msat, invoice.payment_hash,
    )  # fmt: skip
    assert (other.payment_secret, other.description, other.description_hash, other.payee) == (
        invoice.payment_secret, invoice.description, invoice.description_hash, invoice.payee,
    )  # fmt: skip
    assert (other.expiry, other.min_final_cltv_expiry, other.date) == (
        invoice.expiry_s, invoice.min_final_cltv_delta, invoice.timestamp,
    )  # fmt: skip


def _never_raises_anything_else(text: str) -> None:
    try:
        invoice = read(text, require_secret=False)
    except MalformedInvoice:
        return
    assert invoice.payee


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    _never_raises_anything_else(text)
    _never_raises_anything_else("lightning:" + text)


@given(
    st.sampled_from(["lnbc", "lnbcrt10u", "lntb1p", "lnbc²", "ln"]),
    st.lists(st.tuples(st.integers(0, 31), st.binary(max_size=60).map(lambda raw: bytes(b & 31 for b in raw)))),
)
def test_any_signed_fields_are_read_or_refused(prefix: str, fields: list[tuple[int, bytes]]) -> None:
    _never_raises_anything_else(assembled(prefix, *fields))
    _never_raises_anything_else(assembled(prefix, HASH, SECRET, TEXT, *fields))


@given(st.binary(max_size=300).map(lambda raw: bytes(byte & 31 for byte in raw)))
def test_any_symbols_with_a_right_checksum_are_read_or_refused(symbols: bytes) -> None:
    _never_raises_anything_else(bech32.encode("lnbc", symbols))


@given(st.integers(0, 270), st.sampled_from("qpzry9x8gf2tvdw0s3jn54khce6mua7l1"))
def test_one_wrong_character_is_always_noticed(place: int, character: str) -> None:
    text = encode(COFFEE, sign=sign)
    place %= len(text)
    changed = text[:place] + character + text[place + 1 :]

    if changed == text:
        return
    with pytest.raises(MalformedInvoice):
        read(changed)
