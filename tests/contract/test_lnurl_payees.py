"""Payees at Lightning Addresses over real sockets: what is asked, what is paid, and what never is."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from tests.contract.outgoing_receivers import (
    AT_HOME,
    OUTER_ONLY,
    STRICT,
    Receiver,
    connections_of_this_process,
    dripping,
    resetting,
    sending,
    silent,
)
from tests.contract.payee_server import METADATA, NOW_S, PAYMENT_HASH, PREIMAGE, PayeeServer, answer, invoice

from quittance.domain.errors import ForbiddenAddress, InvalidAmount, InvalidInput
from quittance.domain.ids import PaymentHash, Preimage
from quittance.domain.lnurl import encode
from quittance.domain.lnurl_pay import AesAction, InvoiceFlaw, MessageAction
from quittance.domain.money import BTC_SAT, Asset, Money, msat
from quittance.domain.outgoing_errors import (
    AmountOutOfBounds,
    InvalidPayee,
    PayeeInvoiceMismatch,
    PayeeRefused,
    PayeeUnavailable,
)
from quittance.providers.base import OutgoingAnswer
from quittance.providers.lnurl.directory import BODY_BYTES_MAX, LnurlDirectory
from quittance.providers.outgoing import OutgoingClient, check_url
from quittance.providers.payees import PayeeDirectory, PayeeInvoice


def now() -> datetime:
    return datetime.fromtimestamp(NOW_S, UTC)


@pytest.fixture
async def directory() -> AsyncIterator[PayeeDirectory]:
    async with OutgoingClient(AT_HOME) as outgoing:
        yield LnurlDirectory(outgoing, prefix="bcrt", now=now, timeout_s=1.0)


@pytest.fixture
def alice(receiver: Receiver) -> PayeeServer:
    return PayeeServer(receiver)


async def ask(directory: PayeeDirectory, alice: PayeeServer, *, strict: bool = True) -> PayeeInvoice:
    payee = await directory.resolve(alice.address)
    return await directory.request_invoice(payee, amount=msat(5_000), strict=strict)


async def test_an_address_gives_an_invoice_to_pay(directory: PayeeDirectory, alice: PayeeServer) -> None:
    alice.pays_with(successAction={"tag": "message", "message": "Thanks"}, verify=f"{alice.root}/verify/1")

    payee = await directory.resolve(alice.address)
    found = await directory.request_invoice(payee, amount=Money(5, BTC_SAT), comment="a & b")

    assert (payee.description, payee.identifier) == ("Pay alice", "alice@127.0.0.1")
    assert (payee.amount_msat_min, payee.amount_msat_max, payee.comment_characters_max) == (1_000, 10_000, 20)
    assert payee.metadata == METADATA
    assert found == PayeeInvoice(
        payment_request=invoice(),
        payment_hash=PaymentHash(PAYMENT_HASH.hex()),
        amount=msat(5_000),
        payee_key="031b84c5567b126440995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078f",
        expires_at=datetime.fromtimestamp(NOW_S + 60, UTC),
        success_action=MessageAction(message="Thanks"),
        verify_url=f"{alice.root}/verify/1",
    )
    assert alice.asked == ["/.well-known/lnurlp/alice", "/pay?amount=5000&comment=a+%26+b"]


async def test_an_lnurl_and_a_scheme_lead_to_the_same_payee(directory: PayeeDirectory, alice: PayeeServer) -> None:
    by_address = await directory.resolve(alice.address)
    by_lnurl = await directory.resolve(encode(f"{alice.root}/.well-known/lnurlp/alice"))
    by_scheme = await directory.resolve(f"lnurlp://127.0.0.1:{alice.port}/.well-known/lnurlp/alice")

    assert by_address == by_lnurl == by_scheme


@pytest.mark.parametrize("status", ["500 Internal Server Error", "404 Not Found", "302 Found", "200 OK"])
async def test_a_status_says_nothing_about_json(directory: PayeeDirectory, alice: PayeeServer, status: str) -> None:
    alice.said["/.well-known/lnurlp/alice"] = alice.json(alice.offer(), status=status)
    alice.said["/pay"] = alice.json({"status": "ERROR", "reason": "closed\r\ntoday"}, status=status)

    payee = await directory.resolve(alice.address)
    with pytest.raises(PayeeRefused) as refused:
        await directory.request_invoice(payee, amount=msat(5_000))

    assert refused.value.reason == "closed today"


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        ("200 OK", False),
        ("404 Not Found", False),
        ("302 Found", False),
        ("429 Too Many Requests", True),
        ("500 Internal Server Error", True),
        ("503 Service Unavailable", True),
    ],
)
@pytest.mark.parametrize(
    "body", [b"<!doctype html><title>Hello</title>", b"", b"[]", b'"x"', b"\xff\xfe{}", b"[" * 99_999]
)
async def test_what_is_no_json_object_is_no_payee_or_a_server_in_trouble(
    directory: PayeeDirectory, alice: PayeeServer, status: str, retryable: bool, body: bytes
) -> None:
    alice.said["/.well-known/lnurlp/alice"] = answer(body, status=status)

    with pytest.raises(PayeeUnavailable if retryable else InvalidPayee) as refused:
        await directory.resolve(alice.address)

    assert refused.value.retryable is retryable


async def test_a_body_of_400_kilobytes_is_not_read_to_its_end(directory: PayeeDirectory, alice: PayeeServer) -> None:
    padded = json.dumps(alice.offer()).encode()
    alice.said["/.well-known/lnurlp/alice"] = answer(padded + b" " * (BODY_BYTES_MAX - len(padded)))
    assert (await directory.resolve(alice.address)).description == "Pay alice"

    alice.said["/.well-known/lnurlp/alice"] = answer(padded + b" " * (400_000 - len(padded)))
    with pytest.raises(InvalidPayee):
        await directory.resolve(alice.address)


@pytest.mark.parametrize(
    "behaviour",
    [
        silent,
        dripping(b"HTTP/1.1 200 OK\r\n\r\n", b" "),
        resetting(after=b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"),
    ],
    ids=["silent", "slow body", "broken off"],
)
async def test_a_server_that_does_not_answer_is_unavailable(
    directory: PayeeDirectory, receiver: Receiver, behaviour: object
) -> None:
    receiver.answer = behaviour  # type: ignore[assignment]
    began_s = asyncio.get_running_loop().time()

    with pytest.raises(PayeeUnavailable) as refused:
        await directory.resolve(f"alice@127.0.0.1:{receiver.port}")

    assert refused.value.retryable
    assert asyncio.get_running_loop().time() - began_s < 4


async def test_nobody_there_is_unavailable(directory: PayeeDirectory, receiver: Receiver) -> None:
    await receiver.close()

    with pytest.raises(PayeeUnavailable):
        await directory.resolve(f"alice@127.0.0.1:{receiver.port}")


@pytest.mark.parametrize(
    "payee",
    [
        "alice@127.0.0.1",
        "alice@10.0.0.1",
        "alice@169.254.169.254",
        "lnurlp://[::1]/pay",
        "lnurlp://2130706433/pay",
        encode("http://192.168.1.1/pay"),
        encode("https://192.168.1.1/pay"),
        encode("http://8.8.8.8/pay"),
        encode("https://8.8.8.8:25/pay"),
    ],
)
async def test_no_address_inside_is_called(payee: str) -> None:
    async with OutgoingClient(STRICT) as outgoing:
        directory = LnurlDirectory(outgoing, prefix="bcrt", now=now)
        with connections_of_this_process() as connections, pytest.raises(ForbiddenAddress):
            await directory.resolve(payee)

    assert connections == []


async def test_a_redirect_inward_is_not_followed(outer: Receiver, inner: Receiver) -> None:
    outer.answer = sending(
        f"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{inner.port}/x\r\ncontent-length: 0\r\n\r\n".encode()
    )

    async with OutgoingClient(OUTER_ONLY) as outgoing:
        directory = LnurlDirectory(outgoing, prefix="bcrt", now=now)
        with pytest.raises(InvalidPayee):
            await directory.resolve(f"alice@127.0.0.2:{outer.port}")

    assert (outer.connections, inner.connections) == (1, 0)


async def test_a_callback_that_leads_inward_is_not_called(outer: Receiver, inner: Receiver) -> None:
    offer = {
        "tag": "payRequest",
        "callback": f"http://127.0.0.1:{inner.port}/pay",
        "minSendable": 1,
        "maxSendable": 10_000,
        "metadata": METADATA,
    }
    outer.answer = sending(answer(json.dumps(offer).encode()))

    async with OutgoingClient(OUTER_ONLY) as outgoing:
        directory = LnurlDirectory(outgoing, prefix="bcrt", now=now)
        with pytest.raises(ForbiddenAddress):
            await directory.resolve(f"alice@127.0.0.2:{outer.port}")

    assert inner.connections == 0


@pytest.mark.parametrize(
    ("said", "flaw"),
    [
        ({"description_hash": bytes(32)}, InvoiceFlaw.DESCRIPTION),
        ({"description_hash": None, "description": "Pay alice"}, InvoiceFlaw.DESCRIPTION),
        ({"amount_msat": 5_001}, InvoiceFlaw.AMOUNT),
        ({"amount_msat": 4_999}, InvoiceFlaw.AMOUNT),
        ({"amount_msat": None}, InvoiceFlaw.AMOUNT),
        ({"prefix": "bc"}, InvoiceFlaw.NETWORK),
        ({"timestamp": NOW_S - 60}, InvoiceFlaw.EXPIRED),
    ],
)
async def test_another_invoice_than_asked_for_is_not_paid(
    directory: PayeeDirectory, alice: PayeeServer, said: dict[str, object], flaw: InvoiceFlaw
) -> None:
    alice.pays_with(pr=invoice(**said))

    with pytest.raises(PayeeInvoiceMismatch) as refused:
        await ask(directory, alice)

    assert refused.value.flaw == flaw
    assert not refused.value.retryable


async def test_a_lenient_payer_takes_an_invoice_with_a_description(
    directory: PayeeDirectory, alice: PayeeServer
) -> None:
    alice.pays_with(pr=invoice(description_hash=None, description="Pay alice"))

    assert (await ask(directory, alice, strict=False)).amount == msat(5_000)
    with pytest.raises(PayeeInvoiceMismatch):
        await ask(directory, alice)


async def test_an_unknown_success_action_stops_the_payment(directory: PayeeDirectory, alice: PayeeServer) -> None:
    alice.pays_with(successAction={"tag": "noop"})

    with pytest.raises(PayeeInvoiceMismatch) as refused:
        await ask(directory, alice)

    assert refused.value.flaw == InvoiceFlaw.SUCCESS_ACTION


async def test_what_the_payee_does_not_take_is_not_even_asked_for(
    directory: PayeeDirectory, alice: PayeeServer
) -> None:
    payee = await directory.resolve(alice.address)

    with pytest.raises(AmountOutOfBounds) as refused:
        await directory.request_invoice(payee, amount=msat(10_001))
    with pytest.raises(InvalidInput):
        await directory.request_invoice(payee, amount=msat(5_000), comment="x" * 21)
    with pytest.raises(InvalidAmount):
        await directory.request_invoice(payee, amount=Money(50_001, Asset("BTC", 12)))

    assert (refused.value.amount_msat_min, refused.value.amount_msat_max) == (1_000, 10_000)
    assert alice.asked == ["/.well-known/lnurlp/alice"]


async def test_a_paid_invoice_is_proved_by_its_preimage(directory: PayeeDirectory, alice: PayeeServer) -> None:
    alice.pays_with(verify=f"{alice.root}/verify")
    found = await ask(directory, alice)

    alice.said["/verify"] = alice.json({"status": "OK", "settled": False, "preimage": None, "pr": invoice()})
    assert await directory.proof(found) is None
    alice.said["/verify"] = alice.json({"status": "OK", "settled": True, "preimage": None, "pr": invoice()})
    assert await directory.proof(found) is None
    alice.said["/verify"] = alice.json({"settled": True, "preimage": PREIMAGE.hex(), "pr": invoice().upper()})
    assert await directory.proof(found) == PREIMAGE


@pytest.mark.parametrize(
    "said",
    [
        {"settled": True, "preimage": PREIMAGE.hex(), "pr": invoice(timestamp=NOW_S + 1)},
        {"settled": True, "preimage": PREIMAGE.hex()},
        {"settled": True, "preimage": "00" * 32, "pr": invoice()},
    ],
)
async def test_a_proof_of_something_else_is_refused(
    directory: PayeeDirectory, alice: PayeeServer, said: dict[str, object]
) -> None:
    alice.pays_with(verify=f"{alice.root}/verify")
    found = await ask(directory, alice)
    alice.said["/verify"] = alice.json({"status": "OK"} | said)

    with pytest.raises(PayeeInvoiceMismatch) as refused:
        await directory.proof(found)

    assert refused.value.flaw == InvoiceFlaw.PROOF


@pytest.mark.parametrize("preimage", [1, "zz" * 32, "00", PREIMAGE.hex() + "00", ["a"]])
async def test_a_claim_without_a_preimage_proves_nothing(
    directory: PayeeDirectory, alice: PayeeServer, preimage: object
) -> None:
    alice.pays_with(verify=f"{alice.root}/verify")
    found = await ask(directory, alice)
    alice.said["/verify"] = alice.json({"settled": True, "preimage": preimage, "pr": invoice()})

    assert await directory.proof(found) is None


async def test_a_server_that_knows_no_such_invoice_or_tells_of_none(
    directory: PayeeDirectory, alice: PayeeServer
) -> None:
    assert await directory.proof(await ask(directory, alice)) is None

    alice.pays_with(verify=f"{alice.root}/verify")
    alice.said["/verify"] = alice.json({"status": "ERROR", "reason": "Not found"})
    with pytest.raises(PayeeRefused):
        await directory.proof(await ask(directory, alice))


async def test_the_preimage_opens_what_was_promised(directory: PayeeDirectory) -> None:
    sealed = AesAction(
        description="key", ciphertext=bytes.fromhex("a84288e13392e7e9f7de7b26dbc1c758"), iv=bytes(range(16))
    )

    assert directory.reveal(sealed, Preimage(bytes(range(32)))) == "Secret data"
    assert directory.reveal(sealed, Preimage(bytes(32))) is None
    assert directory.reveal(sealed, Preimage(b"short")) is None


class Saying:
    """A caller of addresses whom every server answers the same."""

    def __init__(self, *, status_code: int, body: bytes, is_whole: bool) -> None:
        self._answer = OutgoingAnswer(
            status_code=status_code, headers={}, body_excerpt=body, is_whole=is_whole, took_s=0.0
        )

    def check(self, url: str) -> None:
        check_url(url, rules=AT_HOME)

    async def get(self, url: str, *, headers: object, body_bytes_max: int | None = None) -> OutgoingAnswer:
        del headers, body_bytes_max
        self.check(url)
        return self._answer

    async def post(self, url: str, *, body: bytes, headers: object) -> OutgoingAnswer:
        raise AssertionError(f"payees are only asked: {url} {body!r} {headers}")
