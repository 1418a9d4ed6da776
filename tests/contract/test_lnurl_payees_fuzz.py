"""Whatever a payee's server says, and with whatever status: our errors, and no others."""

import asyncio
import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from tests.contract.payee_server import METADATA, NOW_S, PAYMENT_HASH, PREIMAGE, invoice
from tests.contract.test_lnurl_payees import Saying, now

from quittance.domain.errors import QuittanceError
from quittance.domain.ids import PaymentHash, Preimage
from quittance.domain.lnurl_pay import AesAction, Payee
from quittance.domain.money import msat
from quittance.providers.lnurl.aes import opened
from quittance.providers.lnurl.directory import LnurlDirectory
from quittance.providers.payees import PayeeInvoice

OFFER = Payee(
    url="http://127.0.0.1/",
    callback="http://127.0.0.1/pay",
    amount_msat_min=1,
    amount_msat_max=10_000,
    metadata=METADATA,
    description="",
    identifier=None,
    comment_characters_max=0,
)
INVOICE = PayeeInvoice(
    payment_request=invoice(),
    payment_hash=PaymentHash(PAYMENT_HASH.hex()),
    amount=msat(5_000),
    payee_key="",
    expires_at=datetime.fromtimestamp(NOW_S + 60, UTC),
    success_action=None,
    verify_url="http://127.0.0.1/verify",
)
MEMBERS = {
    "tag": st.sampled_from(["payRequest", "x", 1]),
    "callback": st.text() | st.just("http://127.0.0.1/pay"),
    "minSendable": st.integers() | st.just(1),
    "maxSendable": st.integers() | st.just(10_000),
    "metadata": st.text() | st.just(METADATA),
    "pr": st.text() | st.just(invoice()),
    "successAction": st.none() | st.dictionaries(st.sampled_from(["tag", "message", "url", "iv"]), st.text()),
    "verify": st.none() | st.text(),
    "status": st.sampled_from(["OK", "ERROR", None]),
    "settled": st.sampled_from([True, False, 1]),
    "preimage": st.text() | st.just(PREIMAGE.hex()) | st.none(),
}
BODIES = st.binary() | st.fixed_dictionaries({}, optional=MEMBERS).map(lambda said: json.dumps(said).encode())


@given(BODIES, st.integers(min_value=100, max_value=599), st.booleans(), st.text())
def test_nothing_that_a_server_says_raises_anything_but_our_errors(
    body: bytes, status_code: int, is_whole: bool, payee: str
) -> None:
    saying = Saying(status_code=status_code, body=body, is_whole=is_whole)
    directory = LnurlDirectory(saying, prefix="bcrt", now=now)

    async def every_question() -> tuple[object, object, object, object]:
        return await asyncio.gather(
            directory.resolve(payee),
            directory.resolve("alice@127.0.0.1"),
            directory.request_invoice(OFFER, amount=msat(5_000)),
            directory.proof(INVOICE),
            return_exceptions=True,
        )

    found, offered, given_, proved = asyncio.run(every_question())

    assert isinstance(found, Payee | QuittanceError), found
    assert isinstance(offered, Payee | QuittanceError), offered
    assert isinstance(given_, PayeeInvoice | QuittanceError), given_
    assert proved in (None, PREIMAGE) or isinstance(proved, QuittanceError), proved


@given(st.binary(min_size=1, max_size=20).map(lambda seed: seed * 16), st.binary(min_size=16, max_size=16), st.binary())
def test_no_sealed_text_raises_anything(ciphertext: bytes, iv: bytes, preimage: bytes) -> None:
    text = opened(AesAction(description="", ciphertext=ciphertext, iv=iv), Preimage(preimage))

    assert text is None or text.isprintable()
