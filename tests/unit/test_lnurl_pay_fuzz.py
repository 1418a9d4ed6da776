"""Nothing that a stranger says makes anything but our own errors."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.unit.test_lnurl_pay import AES, CALLBACK, URL, first, payee, terms

from quittance.domain.errors import QuittanceError
from quittance.domain.lnurl_pay import (
    NotAnAnswer,
    bare_invoice,
    callback_url,
    check_invoice,
    read_json,
    read_pay_answer,
    read_payee,
    read_success_action,
)
from quittance.domain.outgoing_errors import PayeeInvoiceMismatch
from quittance.providers.lightning import signer

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)


def _answers(base: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Good answers in which anything stands at some places."""
    return st.dictionaries(st.sampled_from([*base, "status", "reason", "payerData"]), JSON).map(
        lambda some: base | some
    )


def _ends_typed(act: Callable[[], object]) -> None:
    said = ""
    try:
        act()
    except QuittanceError as error:
        said = error.message
    assert said.isprintable()


@given(_answers(first()), st.integers(min_value=-1, max_value=2**70), st.text(max_size=40))
def test_no_first_answer_raises_anything_else(answer: dict[str, Any], amount_msat: int, comment: str) -> None:
    _ends_typed(lambda: callback_url(read_payee(answer, url=URL), amount_msat=amount_msat, comment=comment))


@given(JSON | st.text())
def test_no_metadata_raises_anything_else(metadata: object) -> None:
    said = metadata if isinstance(metadata, str) else json.dumps(metadata)

    _ends_typed(lambda: payee(metadata=said))


@given(
    _answers({"pr": "lnbc1x", "verify": CALLBACK, "successAction": {"tag": "message", "message": "x"}}),
    st.sampled_from(["message", "url", "aes"]),
    st.dictionaries(st.sampled_from(["message", "description", "url", "iv", "ciphertext"]), JSON),
)
def test_no_second_answer_raises_anything_else(answer: dict[str, Any], tag: str, action: dict[str, Any]) -> None:
    _ends_typed(lambda: read_pay_answer(answer, callback=CALLBACK))
    _ends_typed(lambda: read_success_action({"tag": tag} | action, callback=CALLBACK))
    _ends_typed(lambda: read_success_action(AES | action, callback=CALLBACK))


@given(st.text() | st.text(alphabet="qpzry9x8gf2tvdw0s3jn54khce6mua7l1bcrtlightning:").map("lnbcrt1".__add__))
def test_no_invoice_raises_anything_else(text: str) -> None:
    with pytest.raises(PayeeInvoiceMismatch):
        check_invoice(bare_invoice(text), terms=terms(), recover=signer)


@given(st.binary())
@example(b"\xff")
@example(b"[" * 100_000)
@example(b"1" * 10_000)
@example(b"\xef\xbb\xbf{}")
def test_no_bytes_raise_anything_else(body: bytes) -> None:
    try:
        answer = read_json(body)
    except NotAnAnswer:
        return
    _ends_typed(lambda: read_payee(answer, url=URL))
