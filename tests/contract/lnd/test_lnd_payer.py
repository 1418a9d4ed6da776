"""Paying with an LND node that answers well, badly or not at all: when may we say that no money moved?"""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from hashlib import sha256
from typing import Any

import grpc
import grpc.aio
import pytest
import structlog
from coincurve import PrivateKey

from quittance.domain.bolt11 import UnsignedInvoice, encode
from quittance.domain.errors import ProviderMisconfigured, ProviderUnavailable, QuittanceError
from quittance.domain.ids import Preimage
from quittance.domain.money import BTC_MSAT, msat
from quittance.domain.outgoing_errors import SendRefused
from quittance.providers.base import (
    KeysendRequest,
    ProviderHealth,
    SendFailure,
    SendingProvider,
    SendRequest,
    SendsKeysend,
    SentPayment,
    SentStatus,
    TellsOfPaying,
)
from quittance.providers.lnd._proto import lnrpc_pb2, routerrpc_pb2
from quittance.providers.lnd.payer import LndPayer

PREIMAGE = Preimage(b"\x05" * 32)
REFERENCE = sha256(PREIMAGE).hexdigest()
PAYMENT = lnrpc_pb2.Payment
UNKNOWN, NOT_FOUND, UNAVAILABLE = grpc.StatusCode.UNKNOWN, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAVAILABLE
NOT_INITIATED = (NOT_FOUND, "payment isn't initiated")
IN_FLIGHT = PAYMENT(payment_hash=REFERENCE, status=PAYMENT.IN_FLIGHT)
PAID = PAYMENT(
    payment_hash=REFERENCE, status=PAYMENT.SUCCEEDED, payment_preimage=PREIMAGE.hex(), value_msat=21_000, fee_msat=7
)


def invoice() -> str:
    key = PrivateKey(b"\x07" * 32)
    unsigned = UnsignedInvoice(
        prefix="bcrt",
        amount_msat=21_000,
        timestamp=1_700_000_000,
        payment_hash=bytes.fromhex(REFERENCE),
        payment_secret=b"\x11" * 32,
        description="",
    )
    return encode(unsigned, sign=partial(key.sign_recoverable, hasher=None))


REQUEST = SendRequest(payment_request=invoice(), amount=None, fee_max=msat(5_000))


class TinyRouter:
    """A router that says what it is told to: messages, bytes, an error at the end, or nothing for ever."""

    def __init__(self) -> None:
        self.orders: list[Any] = []
        self.questions: list[Any] = []
        self.sending: list[Any] = []
        self.tracking: list[Any] = [NOT_INITIATED]
        self.left = asyncio.Event()

    async def SendPaymentV2(self, asked: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        self.orders.append(asked)
        async for message in self._said(self.sending, context):
            yield message

    async def TrackPaymentV2(self, asked: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        self.questions.append(asked)
        async for message in self._said(self.tracking, context):
            yield message

    async def _said(self, said: list[Any], context: Any) -> AsyncIterator[Any]:
        for word in said:
            match word:
                case (code, text):
                    await context.abort(code, text)
                case None:
                    try:
                        await asyncio.sleep(60)
                    finally:
                        self.left.set()
                case _:
                    yield word

    def serve_on(self, server: grpc.aio.Server) -> None:
        def handler(call: Callable[..., Any], question: Any) -> Any:
            def to_bytes(answer: Any) -> bytes:
                return answer if isinstance(answer, bytes) else bytes(answer.SerializeToString())

            return grpc.unary_stream_rpc_method_handler(call, question.FromString, to_bytes)

        handlers = {
            "SendPaymentV2": handler(self.SendPaymentV2, routerrpc_pb2.SendPaymentRequest),
            "TrackPaymentV2": handler(self.TrackPaymentV2, routerrpc_pb2.TrackPaymentRequest),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("routerrpc.Router", handlers),))


@pytest.fixture
def router() -> TinyRouter:
    return TinyRouter()


@pytest.fixture
async def payer(router: TinyRouter) -> AsyncIterator[LndPayer]:
    server = grpc.aio.server()
    router.serve_on(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    made = LndPayer(grpc.aio.insecure_channel(f"127.0.0.1:{port}"), network="regtest", timeout_s=0.5, wait_s=0.2)
    yield made
    await made.aclose()
    await server.stop(grace=None)


def test_the_payer_has_the_shape_of_its_ports(payer: LndPayer) -> None:
    paying: SendingProvider = payer

    assert (paying.name, paying.asset) == ("lnd", BTC_MSAT)
    assert isinstance(payer, SendsKeysend)
    assert isinstance(payer, TellsOfPaying)


async def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(ValueError, match="moonnet"):
        LndPayer(grpc.aio.insecure_channel("127.0.0.1:1"), network="moonnet")


async def test_an_order_says_its_limits(payer: LndPayer, router: TinyRouter) -> None:
    router.sending = [PAID]

    await payer.send(REQUEST)

    assert router.orders == [
        routerrpc_pb2.SendPaymentRequest(
            payment_request=REQUEST.payment_request,
            timeout_seconds=60,
            fee_limit_msat=5_000,
            no_inflight_updates=True,
            allow_self_payment=True,
        )
    ]


async def test_an_order_without_an_invoice_carries_its_preimage(payer: LndPayer, router: TinyRouter) -> None:
    router.sending = [PAID]

    await payer.keysend(KeysendRequest(destination="02" * 33, amount=msat(21_000), fee_max=msat(0), preimage=PREIMAGE))

    assert router.orders == [
        routerrpc_pb2.SendPaymentRequest(
            dest=b"\x02" * 33,
            amt_msat=21_000,
            payment_hash=bytes.fromhex(REFERENCE),
            dest_custom_records={5_482_373_484: PREIMAGE},
            dest_features=[lnrpc_pb2.TLV_ONION_OPT],
            max_parts=1,
            timeout_seconds=60,
            no_inflight_updates=True,
            allow_self_payment=True,
        )
    ]


@pytest.mark.parametrize(
    ("code", "text", "error"),
    [
        (UNKNOWN, "invoice expired. Valid until 2026-01-01 00:00:00 +0000 UTC", SendRefused),
        (UNKNOWN, "invoice not for current active network 'regtest'", SendRefused),
        (UNKNOWN, "amount must be specified when paying a zero amount invoice", SendRefused),
        (UNKNOWN, "amount must not be specified when paying a non-zero  amount invoice", SendRefused),
        (UNKNOWN, "self-payments not allowed", SendRefused),
        (UNKNOWN, "permission denied", ProviderMisconfigured),
        (UNKNOWN, "verification failed: signature mismatch after caveat verification", ProviderMisconfigured),
        (UNKNOWN, "cannot get macaroon: root key with id doesn't exist", ProviderMisconfigured),
        (UNKNOWN, "expected 1 macaroon, got 0", ProviderMisconfigured),
        (UNKNOWN, 'caveat "time-before x" not satisfied: macaroon has expired', ProviderMisconfigured),
        (grpc.StatusCode.UNIMPLEMENTED, "unknown service routerrpc.Router", ProviderMisconfigured),
        (grpc.StatusCode.UNIMPLEMENTED, "", ProviderUnavailable),
        (UNKNOWN, "wallet locked, unlock it to enable full RPC access", ProviderUnavailable),
        (UNKNOWN, "the RPC server is in the process of starting up", ProviderUnavailable),
        (UNKNOWN, "something that no version has said yet", ProviderUnavailable),
        (UNKNOWN, "expiry of 3 blocks", ProviderUnavailable),
        (UNKNOWN, "payment isn't initiated", ProviderUnavailable),
        (UNKNOWN, "", ProviderUnavailable),
        (UNAVAILABLE, "Socket closed", ProviderUnavailable),
        (UNAVAILABLE, "invoice expired", ProviderUnavailable),
        (UNAVAILABLE, "permission denied", ProviderUnavailable),
        (NOT_FOUND, "payment isn't initiated", ProviderUnavailable),
        (grpc.StatusCode.INVALID_ARGUMENT, "", ProviderUnavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "", ProviderUnavailable),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "received message larger than max", ProviderUnavailable),
        (grpc.StatusCode.INTERNAL, "internal server error", ProviderUnavailable),
        (grpc.StatusCode.CANCELLED, "", ProviderUnavailable),
    ],
)
async def test_only_what_is_known_to_come_before_the_start_says_that_nothing_moved(
    payer: LndPayer, router: TinyRouter, code: grpc.StatusCode, text: str, error: type[QuittanceError]
) -> None:
    router.sending = [(code, text)]

    with pytest.raises(error) as caught:
        await payer.send(REQUEST)

    assert isinstance(caught.value, SendRefused) is (error is SendRefused)
    assert len(router.orders) == 1


@pytest.mark.parametrize("text", ["invoice expired", "permission denied", "self-payments not allowed"])
async def test_after_the_first_news_no_error_says_that_nothing_moved(
    payer: LndPayer, router: TinyRouter, text: str
) -> None:
    router.sending = [IN_FLIGHT, (UNKNOWN, text)]

    with pytest.raises(ProviderUnavailable):
        await payer.send(REQUEST)


@pytest.mark.parametrize(
    "said",
    [
        [],
        [IN_FLIGHT],
        [PAYMENT(payment_hash=REFERENCE)],
        [PAYMENT(payment_hash=REFERENCE, status=9)],  # type: ignore[arg-type]
        [PAYMENT(payment_hash="22" * 32, status=PAYMENT.FAILED)],
        [PAYMENT(status=PAYMENT.FAILED)],
        [PAYMENT(payment_hash=REFERENCE, status=PAYMENT.SUCCEEDED, value_msat=0, payment_preimage=PREIMAGE.hex())],
        [b"\xff\xff\xff"],
    ],
    ids=["nothing", "no end", "no status", "a new status", "another payment", "no payment", "no amount", "no message"],
)
async def test_an_answer_that_makes_no_sense_leaves_the_outcome_unknown(
    payer: LndPayer, router: TinyRouter, said: list[Any]
) -> None:
    router.sending = said

    with pytest.raises(ProviderUnavailable):
        await payer.send(REQUEST)


@pytest.mark.parametrize("preimage", ["00" * 32, (b"\x06" * 32).hex(), "", "no hex"])
async def test_a_success_without_its_proof_is_unknown_and_shouted(
    payer: LndPayer, router: TinyRouter, preimage: str
) -> None:
    unproved = PAYMENT(
        payment_hash=REFERENCE, status=PAYMENT.SUCCEEDED, payment_preimage=preimage, value_msat=21_000, fee_msat=7
    )
    router.sending, router.tracking = [unproved], [unproved]

    with structlog.testing.capture_logs() as logs:
        with pytest.raises(ProviderUnavailable):
            await payer.send(REQUEST)
        with pytest.raises(ProviderMisconfigured, match="does not prove"):
            await payer.lookup_sent(REFERENCE)

    assert [(line["log_level"], line["event"], line["reference"]) for line in logs] == [
        ("critical", "payment_without_proof", REFERENCE)
    ] * 2
    assert not preimage or preimage not in str(logs)


@pytest.mark.parametrize("text", ["invoice is already paid", "payment is in transition", "payment already exists"])
@pytest.mark.parametrize("code", [grpc.StatusCode.ALREADY_EXISTS, UNKNOWN])  # the second is what 0.17 answers
@pytest.mark.parametrize(
    ("stands", "status"),
    [
        (PAID, SentStatus.SUCCEEDED),
        (IN_FLIGHT, SentStatus.IN_FLIGHT),
        (PAYMENT(payment_hash=REFERENCE, status=PAYMENT.INITIATED), SentStatus.IN_FLIGHT),
        (PAYMENT(payment_hash=REFERENCE, status=PAYMENT.FAILED), SentStatus.FAILED),
    ],
)
async def test_a_payment_that_exists_is_followed_and_never_a_failure(
    payer: LndPayer, router: TinyRouter, code: grpc.StatusCode, text: str, stands: Any, status: SentStatus
) -> None:
    router.sending, router.tracking = [(code, text)], [stands]

    assert (await payer.send(REQUEST)).status is status


@pytest.mark.parametrize(
    "said",
    [[NOT_INITIATED], [(UNKNOWN, "permission denied")], [(UNAVAILABLE, "")], [b"\xff"], [None], []],
    ids=["missing", "forbidden", "down", "no message", "silence", "nothing"],
)
@pytest.mark.parametrize("sending", [[(grpc.StatusCode.ALREADY_EXISTS, "payment is in transition")], [None]])
async def test_a_payment_that_cannot_be_followed_is_unknown(
    payer: LndPayer, router: TinyRouter, sending: list[Any], said: list[Any]
) -> None:
    router.sending, router.tracking = sending, said

    with pytest.raises(ProviderUnavailable):
        await payer.send(REQUEST)


async def test_a_silent_node_is_left_and_asked(payer: LndPayer, router: TinyRouter) -> None:
    router.sending, router.tracking = [None], [IN_FLIGHT, None]

    sent = await payer.send(REQUEST)

    assert sent == SentPayment(reference=REFERENCE, status=SentStatus.IN_FLIGHT)
    async with asyncio.timeout(2):
        await router.left.wait()
    assert not router.orders[0].cancelable


@pytest.mark.parametrize(
    ("reason", "failure"),
    [
        (lnrpc_pb2.FAILURE_REASON_NONE, SendFailure.OTHER),
        (lnrpc_pb2.FAILURE_REASON_TIMEOUT, SendFailure.TIMEOUT),
        (lnrpc_pb2.FAILURE_REASON_NO_ROUTE, SendFailure.NO_ROUTE),
        (lnrpc_pb2.FAILURE_REASON_ERROR, SendFailure.OTHER),
        (lnrpc_pb2.FAILURE_REASON_INCORRECT_PAYMENT_DETAILS, SendFailure.REFUSED_BY_PAYEE),
        (lnrpc_pb2.FAILURE_REASON_INSUFFICIENT_BALANCE, SendFailure.INSUFFICIENT_BALANCE),
        (lnrpc_pb2.FAILURE_REASON_CANCELED, SendFailure.CANCELED),
        (99, SendFailure.OTHER),
    ],
)
async def test_a_failure_says_why(payer: LndPayer, router: TinyRouter, reason: Any, failure: SendFailure) -> None:
    router.sending = [PAYMENT(payment_hash=REFERENCE, status=PAYMENT.FAILED, failure_reason=reason)]

    assert await payer.send(REQUEST) == SentPayment(reference=REFERENCE, status=SentStatus.FAILED, failure=failure)


@pytest.mark.parametrize(
    ("code", "text", "error"),
    [
        (UNKNOWN, "payment isn't initiated", ProviderMisconfigured),
        (NOT_FOUND, "", ProviderUnavailable),
        (NOT_FOUND, "unable to locate invoice", ProviderMisconfigured),
        (UNKNOWN, "permission denied", ProviderMisconfigured),
        (UNKNOWN, "expiry of 3 blocks", ProviderUnavailable),
        (UNAVAILABLE, "Socket closed", ProviderUnavailable),
    ],
)
async def test_only_code_and_text_together_say_that_a_payment_was_never_begun(
    payer: LndPayer, router: TinyRouter, code: grpc.StatusCode, text: str, error: type[QuittanceError]
) -> None:
    router.tracking = [(code, text)]

    with pytest.raises(error):
        await payer.lookup_sent(REFERENCE)


async def test_a_lookup_of_a_silent_node_ends(payer: LndPayer, router: TinyRouter) -> None:
    router.tracking = [None]

    with pytest.raises(ProviderUnavailable):
        await payer.lookup_sent(REFERENCE)


async def test_a_closed_payer_is_unavailable(payer: LndPayer) -> None:
    await payer.aclose()

    with pytest.raises(ProviderUnavailable):
        await payer.send(REQUEST)
    with pytest.raises(ProviderUnavailable):
        await payer.lookup_sent(REFERENCE)


async def test_health_of_paying_never_raises(payer: LndPayer, router: TinyRouter) -> None:
    router.tracking = [None]

    assert await payer.paying_health() == ProviderHealth(ready=False, detail="the node does not answer in time")
