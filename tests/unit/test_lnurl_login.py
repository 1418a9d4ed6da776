"""Signatures of wallets: the published vector, and everything that must not pass for one."""

import random

import coincurve
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quittance.domain import lnurl
from quittance.domain.errors import InvalidSignature
from quittance.resolvers.wallet_keys import check_signature
from quittance.sandbox import wallet

K1 = bytes.fromhex("e2af6254a8df433264fa23f67eb8188635d15ce883e8fc020989d5f82ae6f11e")
KEY = bytes.fromhex("02c3b844b8104f0c1b15c507774c9ba7fc609f58f343b9b149122e944dd20c9362")
SIGNATURE = bytes.fromhex(
    "304402203767faf494f110b139293d9bab3c50e07b3bf33c463d4aa767256cd09132dc5102205821f8efacdb5c595b92ada255876d92"
    "01e126e2f31a140d44561cc1f7e9e43d"
)
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
URL = "https://service.com/api?q=3fc3645b439ce8e7f2553a69e5267081d96dcd340693afabe04be7b0ccd178df"
LNURL = (
    "LNURL1DP68GURN8GHJ7UM9WFMXJCM99E3K7MF0V9CXJ0M385EKVCENXC6R2C35XVUKXEFCV5MKVV34X5EKZD3EV56NYD3HXQURZEPEXEJXXEPN"
    "XSCRVWFNV9NXZCN9XQ6XYEFHVGCXXCMYXYMNSERXFQ5FNS"
)


def high_s() -> bytes:
    """Return the vector's other signature, which some wallets make: S counted from the order."""
    r, s = int.from_bytes(SIGNATURE[4:36]), int.from_bytes(SIGNATURE[38:70])
    other = ORDER - s
    body = b"\x02\x20" + r.to_bytes(32) + b"\x02\x21\x00" + other.to_bytes(32)
    return b"\x30" + bytes([len(body)]) + body


def refused(challenge: bytes, signature: bytes, key: bytes) -> bool:
    try:
        check_signature(challenge, signature=signature, key=key)
    except InvalidSignature:
        return True
    return False


def test_the_vector_of_lud_04_is_a_signature_in_both_forms_of_s() -> None:
    assert not refused(K1, SIGNATURE, KEY)
    assert not refused(K1, high_s(), KEY)


def test_the_challenge_is_signed_as_it_is_and_not_its_hash() -> None:
    key = coincurve.PrivateKey(b"\x01" * 32)

    assert not refused(K1, key.sign(K1, hasher=None), key.public_key.format())
    assert refused(K1, key.sign(K1), key.public_key.format())


def test_no_byte_of_key_or_challenge_and_no_number_of_the_signature_can_be_another() -> None:
    numbers = [*range(4, 36), *range(38, 70)]
    for place in range(32):
        assert refused(bytes([*K1[:place], K1[place] ^ 1, *K1[place + 1 :]]), SIGNATURE, KEY)
    for place in range(33):
        assert refused(K1, SIGNATURE, bytes([*KEY[:place], KEY[place] ^ 1, *KEY[place + 1 :]]))
    for place in numbers:
        assert refused(K1, bytes([*SIGNATURE[:place], SIGNATURE[place] ^ 1, *SIGNATURE[place + 1 :]]), KEY)


@pytest.mark.parametrize("key", [b"", b"\x00", KEY[1:], KEY + b"\x00", b"\x04" + KEY[1:], b"\x02" + b"\xff" * 32])
def test_what_is_no_compressed_key_is_refused(key: bytes) -> None:
    assert refused(K1, SIGNATURE, key)


def test_an_uncompressed_key_is_refused_although_it_would_verify() -> None:
    assert refused(K1, SIGNATURE, coincurve.PublicKey(KEY).format(compressed=False))


@given(st.binary(max_size=80), st.binary(max_size=40))
def test_garbage_is_refused_and_raises_nothing_else(signature: bytes, key: bytes) -> None:
    assert refused(K1, signature, KEY)
    assert refused(K1, SIGNATURE, key)


@given(st.integers(0, 2**32))
def test_a_signature_that_was_cut_or_patched_is_refused(seed: int) -> None:
    chance = random.Random(seed)
    patched = bytearray(SIGNATURE)
    for _ in range(chance.randint(1, 4)):
        patched[chance.randrange(4, len(patched))] ^= chance.randrange(1, 256)
    cut = SIGNATURE[: chance.randrange(len(SIGNATURE))]

    assert refused(K1, bytes(patched), KEY) or bytes(patched) == SIGNATURE
    assert refused(K1, cut, KEY)


def test_the_vector_of_lud_01_is_written_and_read() -> None:
    assert lnurl.encode(URL) == LNURL
    assert lnurl.decode(LNURL) == lnurl.decode(LNURL.lower()) == URL


@given(st.text(st.characters(codec="utf-8")))
def test_every_text_comes_back(text: str) -> None:
    assert lnurl.decode(lnurl.encode(text)) == text


def test_a_wallet_has_another_key_for_each_domain_name() -> None:
    keys = {wallet.linking_key(b"s" * 32, host=host).public_key.format() for host in ("a.test", "b.test", "www.a.test")}

    assert len(keys) == 3
    assert coincurve.PrivateKey(b"s" * 32).public_key.format() not in keys


@pytest.mark.parametrize(
    "url",
    [
        f"http://shop.test/lnurl/auth?tag=login&k1={'00' * 32}",
        f"https://127.0.0.1/lnurl/auth?tag=login&k1={'00' * 32}",
        f"http://127.0.0.1/lnurl/auth?tag=payRequest&k1={'00' * 32}",
        "http://127.0.0.1/lnurl/auth?tag=login&k1=0011",
        "http://127.0.0.1/lnurl/auth?tag=login&k1=zz",
        "http://127.0.0.1/",
    ],
)
def test_the_sandbox_signs_logins_of_this_machine_alone(url: str) -> None:
    with pytest.raises(ValueError):
        wallet.read_login(lnurl.encode(url))
