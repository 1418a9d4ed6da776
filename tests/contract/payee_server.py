"""A payee's server on a real socket, whose answers are as a test wants them."""

import json
from collections.abc import Callable
from typing import Any

from tests.contract.outgoing_receivers import Receiver, sending

from quittance.domain.bolt11 import UnsignedInvoice, encode
from quittance.domain.lnurl_pay import metadata_hash
from quittance.sandbox.lnd.keys import NodeKey

METADATA = '[["text/plain", "Pay alice"], ["text/identifier", "alice@127.0.0.1"]]'
NOW_S = 1_700_000_000
PREIMAGE = bytes(range(32))
PAYMENT_HASH = bytes.fromhex("630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd")


def invoice(**changes: Any) -> str:
    said: dict[str, Any] = {
        "prefix": "bcrt",
        "amount_msat": 5_000,
        "timestamp": NOW_S,
        "payment_hash": PAYMENT_HASH,
        "payment_secret": bytes(32),
        "description": None,
        "description_hash": bytes.fromhex(metadata_hash(METADATA)),
        "expiry_s": 60,
    }
    return encode(UnsignedInvoice(**said | changes), sign=NodeKey(b"\x01" * 32).sign)


def answer(body: bytes, *, status: str = "200 OK", headers: bytes = b"content-type: application/json\r\n") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n".encode() + headers + b"\r\n" + body


class PayeeServer:
    """Answers each path with what stands under it, and remembers what was asked."""

    def __init__(self, receiver: Receiver) -> None:
        self.port = receiver.port
        self.said: dict[str, bytes] = {
            "/.well-known/lnurlp/alice": self.json(self.offer()),
            "/pay": self.json({"pr": invoice(), "routes": []}),
        }
        self._receiver = receiver
        receiver.answer = self._answer

    @property
    def address(self) -> str:
        return f"alice@127.0.0.1:{self.port}"

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def asked(self) -> list[str]:
        return [request.split(b" ")[1].decode() for request in self._receiver.requests]

    def offer(self, **changes: object) -> dict[str, object]:
        return {
            "tag": "payRequest",
            "callback": f"{self.root}/pay",
            "minSendable": 1_000,
            "maxSendable": 10_000,
            "metadata": METADATA,
            "commentAllowed": 20,
        } | changes

    def json(self, body: object, *, status: str = "200 OK") -> bytes:
        return answer(json.dumps(body).encode(), status=status)

    def offers(self, **changes: object) -> None:
        self.said["/.well-known/lnurlp/alice"] = self.json(self.offer(**changes))

    def pays_with(self, **changes: object) -> None:
        self.said["/pay"] = self.json({"pr": invoice(), "routes": []} | changes)

    async def _answer(self, reader: Any, writer: Any) -> None:
        path = self.asked[-1].partition("?")[0]
        await sending(self.said.get(path, answer(b"no such page", status="404 Not Found")))(reader, writer)


Change = Callable[[PayeeServer], None]
