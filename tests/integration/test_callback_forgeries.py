"""H1: callbacks that prove nothing, or say nothing, are refused, do nothing and learn nothing."""

from collections.abc import Callable, Mapping
from datetime import datetime

from structlog.testing import capture_logs
from tests.integration.callback_door import EFFECTS, CallbackDoor, NewDoor, hint, paid

from quittance.domain.payment import PaymentStatus
from quittance.providers.callbacks import ProviderCallback

NOTHING = dict.fromkeys(EFFECTS, 0)
HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


async def assert_nothing_came(door: CallbackDoor, payment_id: str) -> None:
    await door.work()
    assert await door.effects() == NOTHING
    assert (await door.till.payment(payment_id)).status is PaymentStatus.PENDING_PAYMENT


async def test_h1_every_flipped_byte_of_body_and_headers_is_refused_and_does_nothing(door: CallbackDoor) -> None:
    payment_id, reference = await paid(door)
    body = hint(reference)
    headers = door.signed(body)
    forged = [(_flipped(body, place), headers) for place in range(len(body))]
    for name in HEADERS:
        value = headers[name].encode()
        forged += [(body, headers | {name: _flipped(value, place).decode()}) for place in range(len(value))]

    answers = [await door.send(content, shown) for content, shown in forged]

    assert len(answers) > 200
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].json()["errors"] == [
        {"message": "the callback is not accepted", "extensions": {"code": "UNAUTHENTICATED"}}
    ]
    await assert_nothing_came(door, payment_id)
    assert door.counted("REFUSED") == len(answers)
    assert (await door.send(body, headers)).status_code == 202


def _flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


Forge = Callable[[CallbackDoor, bytes], dict[str, str]]
FORGED: dict[str, Forge] = {
    "nothing": lambda *_: {},
    "an old time": lambda door, body: door.signed(body, late_s=301),
    "a time to come": lambda door, body: door.signed(body, late_s=-302),
    "no time": lambda door, body: door.signed(body) | {"webhook-timestamp": "yesterday"},
    "another secret": lambda door, body: door.signed(body, secret=bytes(32)),
    "another body's": lambda door, body: door.signed(body + b" "),
    "another id": lambda door, body: door.signed(body) | {"webhook-id": "msg_2"},
    "an empty signature": lambda door, body: door.signed(body) | {"webhook-signature": "v1,"},
    "another version": lambda door, body: _resigned(door, body, lambda signature: signature.replace("v1,", "v2,")),
    "a cut signature": lambda door, body: _resigned(door, body, lambda signature: signature[:-1]),
    "a bare signature": lambda door, body: _resigned(door, body, lambda signature: signature.removeprefix("v1,")),
    "an unsigned id": lambda door, body: door.signed(body, event_id="msg") | {"webhook-id": "msg.1"},
}


def _resigned(door: CallbackDoor, body: bytes, change: Callable[[str], str]) -> dict[str, str]:
    headers = door.signed(body)
    return headers | {"webhook-signature": change(headers["webhook-signature"])}


async def test_h1_what_proves_nothing_is_refused_and_does_nothing(door: CallbackDoor) -> None:
    payment_id, reference = await paid(door)
    body = hint(reference)
    forged = {name: forge(door, body) for name, forge in FORGED.items()}
    for name in HEADERS:
        forged[f"without {name}"] = {other: value for other, value in door.signed(body).items() if other != name}
        forged[f"an empty {name}"] = door.signed(body) | {name: ""}

    answers = {what: await door.send(body, headers) for what, headers in forged.items()}

    assert {what: answer.status_code for what, answer in answers.items()} == dict.fromkeys(forged, 401)
    assert {answer.headers["www-authenticate"] for answer in answers.values()} == {'Signature realm="quittance"'}
    assert len({answer.content for answer in answers.values()}) == 1
    await assert_nothing_came(door, payment_id)


async def test_h1_what_is_signed_and_says_nothing_is_refused_and_does_nothing(door: CallbackDoor) -> None:
    payment_id, _ = await paid(door)
    bodies = (
        b"", b"\xff", b"[]", b"null", b"{}", b'{"type": 1}', b'{"type": ""}', b'{"type": "\\u0000"}',
        b'{"type": "\\ud800"}', b'{"type": "' + b"t" * 256 + b'"}', b"[" * 4_000, b"9" * 4_000,
    )  # fmt: skip

    answers = {body: (await door.send(body, door.signed(body))).status_code for body in bodies}

    assert answers == dict.fromkeys(bodies, 401)
    await assert_nothing_came(door, payment_id)


class BrokenReader:
    """Fails as no reader should."""

    def read_callback(self, *, headers: Mapping[str, str], body: bytes, at: datetime) -> ProviderCallback:
        del headers, body, at
        raise LookupError("a secret of ours")


async def test_h1_a_reader_that_breaks_refuses_everything_and_is_logged_once(new_door: NewDoor) -> None:
    door = new_door(readers={"lnd": BrokenReader()})
    payment_id, reference = await paid(door)

    with capture_logs() as logs:
        answer = await door.hear(reference)

    assert answer.status_code == 401
    assert "secret of ours" not in answer.text
    assert [line["event"] for line in logs] == ["unexpected error"]
    assert "LookupError" in logs[0]["exception"]
    await assert_nothing_came(door, payment_id)


class UnstorableReader:
    """Accepts everything, and says what no table holds."""

    def __init__(self, said: ProviderCallback) -> None:
        self._said = said

    def read_callback(self, *, headers: Mapping[str, str], body: bytes, at: datetime) -> ProviderCallback:
        del headers, body, at
        return self._said


async def test_h1_an_event_id_that_cannot_be_stored_is_refused(new_door: NewDoor) -> None:
    names = ("", "\x00", "\ud800", "e" * 256)
    said = [ProviderCallback(event_id=name, kind="a.type", reference=None) for name in names]
    door = new_door(readers={str(number): UnstorableReader(one) for number, one in enumerate(said)})

    answers = [await door.send(b"{}", {}, provider=str(number)) for number in range(len(said))]

    assert [answer.status_code for answer in answers] == [401] * len(names)
    assert await door.effects() == NOTHING
