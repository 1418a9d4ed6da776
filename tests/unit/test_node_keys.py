"""Who signed: recorded signatures of real nodes, and texts that no key signed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quittance.domain import zbase32
from quittance.domain.errors import InvalidSignature
from quittance.resolvers.node_keys import read_signer
from quittance.sandbox.lnd.keys import NodeKey

RECORDED = [
    (
        "is this compatible?",
        "rbgfioj114mh48d8egqx8o9qxqw4fmhe8jbeeabdioxnjk8z3t1ma1hu1fiswpakgucwwzwo6ofycffbsqusqdimugbh41n1g698hr9t",
        "02b80cabdf82638aac86948e4c06e82064f547768dcef977677b9ea931ea75bab5",
    ),
    (
        "hi",
        "rnrphcjswusbacjnmmmrynh9pqip7sy5cx695h6mfu64iac6qmcmsd8xnsyczwmpqp9shqkth3h4jmkgyqu5z47jfn1q7gpxtaqpx4xg",
        "02de60d194e1ca5947b59fe8e2efd6aadeabfb67f2e89e13ae1a799c1e08e4a43b",
    ),
    (
        "hi",
        "ry8bbsopmduhxy3dr5d9ekfeabdpimfx95kagdem7914wtca79jwamtbw4rxh69hg7n6x9ty8cqk33knbxaqftgxsfsaeprxkn1k48p3",
        "022b8ece90ee891cbcdac0c1cc6af46b73c47212d8defbce80265ac81a6b794931",
    ),
    (
        "login challenge 0001",
        "rd3wf1nfo4444xmiicy3j9tcpzr39pacjkcidz7q7izajczzf53kwci1s5deefo3hy7x7g1uxd9wfqx4asasnyceeoufxeso1p8gpk1h",
        "03e7156ae33b0a208d0744199163177e909e80176e55d97a2f221ede0f934dd9ad",
    ),
]
SIGNATURE = RECORDED[0][1]
RAW = zbase32.decode(SIGNATURE)


@pytest.mark.parametrize(("message", "signature", "key"), RECORDED)
def test_a_recorded_signature_names_its_node(message: str, signature: str, key: str) -> None:
    assert read_signer(message, f" {signature}\n") == key
    assert read_signer(f"{message}.", signature) != key


@given(st.binary(min_size=32, max_size=32).filter(lambda secret: 0 < int.from_bytes(secret) < 2**255), st.text())
def test_what_a_node_signs_names_it(secret: bytes, message: str) -> None:
    text = message.encode(errors="replace").decode()
    key = NodeKey(secret)

    assert read_signer(text, key.sign_message(text.encode())) == key.public.hex()
    assert read_signer(text, key.sign_message(text.encode(), single_hash=True)) != key.public.hex()


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "y",
        SIGNATURE[:-1],
        SIGNATURE + "y",
        SIGNATURE.upper(),
        SIGNATURE[:-1] + "l",
        "é" * 104,
        "\ud800" * 104,
        RAW.hex(),
        zbase32.encode(bytes(65)),
        zbase32.encode(bytes([30]) + RAW[1:]),  # an uncompressed key
        zbase32.encode(bytes([35]) + RAW[1:]),  # a fifth recovery id
        zbase32.encode(bytes([31]) + bytes(64)),  # R and S of nothing
        zbase32.encode(bytes([31]) + b"\xff" * 64),  # above the order of the curve
    ],
)
def test_a_text_that_no_key_signed_is_refused(signature: str) -> None:
    with pytest.raises(InvalidSignature):
        read_signer("is this compatible?", signature)


@given(st.binary(min_size=64, max_size=64), st.integers(0, 255))
def test_random_bytes_name_a_key_or_are_refused(rest: bytes, header: int) -> None:
    try:
        key = read_signer("x", zbase32.encode(bytes([header]) + rest))
    except InvalidSignature:
        return
    assert len(bytes.fromhex(key)) == 33
    assert 31 <= header <= 34
