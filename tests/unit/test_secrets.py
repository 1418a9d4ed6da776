"""Secrets derived from one key: equal for equal ids, unlike for unlike ones, and never shown."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quittance.domain.ids import OptionId, PaymentId
from quittance.domain.secrets import SecretDeriver

KEY = bytes(range(32))
DERIVE = SecretDeriver(KEY)
PAYMENT = PaymentId("pay_" + "0" * 31 + "1")
SECRET = DERIVE.client_secret(PAYMENT)


def test_a_client_secret_names_its_payment_and_opens_it() -> None:
    assert SECRET.startswith(f"{PAYMENT}_secret_")
    assert DERIVE.payment_opened_by(SECRET) == PAYMENT
    assert SecretDeriver(bytes(KEY)).payment_opened_by(SECRET) == PAYMENT


def test_no_single_character_of_a_client_secret_can_be_another() -> None:
    for place, character in enumerate(SECRET):
        for other in ("0", "1", "f", "_", "é", "\x00", ""):
            forged = SECRET[:place] + other + SECRET[place + 1 :]
            if other != character:
                assert DERIVE.payment_opened_by(forged) is None, (place, other)


@given(st.text(alphabet=st.characters(), max_size=200))
def test_no_stranger_s_text_opens_anything_or_crashes(text: str) -> None:
    assert DERIVE.payment_opened_by(text) is None
    assert DERIVE.payment_opened_by(SECRET + text + "x") is None
    assert DERIVE.payment_opened_by(f"{text}_secret_{text}") is None


@pytest.mark.parametrize(
    "text", ["", "_secret_", PAYMENT, f"{PAYMENT}_secret_", SECRET.upper(), SECRET + "0", "\ud800"]
)
def test_what_is_close_to_a_client_secret_opens_nothing(text: str) -> None:
    assert DERIVE.payment_opened_by(text) is None
    assert DERIVE.payment_opened_by(f"{text}_secret_\udfff") is None


def test_another_key_opens_nothing_and_derives_otherwise() -> None:
    other = SecretDeriver(KEY[::-1])

    assert other.payment_opened_by(SECRET) is None
    assert other.preimage(OptionId("opt_1")) != DERIVE.preimage(OptionId("opt_1"))
    assert other.fingerprint() != DERIVE.fingerprint()


def test_purposes_do_not_share_secrets() -> None:
    preimage = DERIVE.preimage(OptionId(PAYMENT))

    assert len(preimage) == 32
    assert preimage.hex() not in SECRET
    assert preimage == DERIVE.preimage(OptionId(PAYMENT))
    assert preimage != DERIVE.preimage(OptionId(PAYMENT + "0"))


def test_neither_repr_nor_fingerprint_shows_the_key() -> None:
    shown = f"{DERIVE!r} {DERIVE} {DERIVE.fingerprint()}"

    assert KEY.hex() not in shown
    assert repr(KEY)[2:20] not in shown
    assert DERIVE.fingerprint() not in {sha256(KEY).hexdigest()[:16], KEY.hex()[:16]}
    assert len(DERIVE.fingerprint()) == 16


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 32 bytes"):
        SecretDeriver(b"x" * 31)
