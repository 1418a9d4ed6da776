"""zbase32, and the signatures that are written in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quittance.domain import zbase32
from quittance.sandbox.lnd.keys import NodeKey, recover_signer


@given(st.binary(max_size=80))
def test_what_is_written_is_read(content: bytes) -> None:
    assert zbase32.decode(zbase32.encode(content)) == content


@pytest.mark.parametrize("text", ["0", "y", "yb", "L", "é", "yyyyyyyyy"[:6]])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="symbol"):
        zbase32.decode(text)


@pytest.mark.parametrize(
    ("message", "signature", "key"),
    [
        (
            b"is this compatible?",
            "rbgfioj114mh48d8egqx8o9qxqw4fmhe8jbeeabdioxnjk8z3t1ma1hu1fiswpakgucwwzwo6ofycffbsqusqdimugbh41n1g698hr9t",
            "02b80cabdf82638aac86948e4c06e82064f547768dcef977677b9ea931ea75bab5",
        ),
        (
            b"hi",
            "rnrphcjswusbacjnmmmrynh9pqip7sy5cx695h6mfu64iac6qmcmsd8xnsyczwmpqp9shqkth3h4jmkgyqu5z47jfn1q7gpxtaqpx4xg",
            "02de60d194e1ca5947b59fe8e2efd6aadeabfb67f2e89e13ae1a799c1e08e4a43b",
        ),
        (
            b"hi",
            "ry8bbsopmduhxy3dr5d9ekfeabdpimfx95kagdem7914wtca79jwamtbw4rxh69hg7n6x9ty8cqk33knbxaqftgxsfsaeprxkn1k48p3",
            "022b8ece90ee891cbcdac0c1cc6af46b73c47212d8defbce80265ac81a6b794931",
        ),
    ],
)
def test_recorded_signatures_name_their_signers(message: bytes, signature: str, key: str) -> None:
    signer = recover_signer(message, signature)

    assert signer is not None
    assert signer.hex() == key


def test_the_recorded_key_signs_as_recorded() -> None:
    key = NodeKey(bytes.fromhex("e126f68f7eafcc8b74f54d269fe206be715000f94dac067d1c04a8ca3b2db734"))

    signature = key.sign_message(b"login challenge 0001")

    assert key.public.hex() == "03e7156ae33b0a208d0744199163177e909e80176e55d97a2f221ede0f934dd9ad"
    assert signature == (
        "rd3wf1nfo4444xmiicy3j9tcpzr39pacjkcidz7q7izajczzf53kwci1s5deefo3hy7x7g1uxd9wfqx4asasnyceeoufxeso1p8gpk1h"
    )


def test_a_single_hash_does_not_verify() -> None:
    key = NodeKey(b"\x01" * 32)

    assert recover_signer(b"x", key.sign_message(b"x", single_hash=True)) != key.public
    assert recover_signer(b"x", key.sign_message(b"x")) == key.public
