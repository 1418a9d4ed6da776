"""A server of Lightning Addresses: the payers' nodes can be paid by name, or be made to deceive who pays them."""

import asyncio
import os
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from quittance.domain import bolt11
from quittance.domain.lnurl_pay import PAY_TAG, metadata_hash, metadata_text
from quittance.providers.lnd._proto import lnrpc_pb2 as ln
from quittance.sandbox.faults import FaultKind, Faults
from quittance.sandbox.lnd.invoices import InvoiceOrder
from quittance.sandbox.lnd.network import Network
from quittance.sandbox.lnd.node import SandboxNode
from quittance.sandbox.lnd.records import InvoiceRecord
from quittance.sandbox.lnd.refusals import Refused

RAIL: Final = "payees"
AMOUNT_MSAT_MIN: Final = 1_000
AMOUNT_MSAT_MAX: Final = 100_000_000_000
COMMENT_CHARACTERS_MAX: Final = 140
_AMOUNT_DIGITS_MAX: Final = 19
_EXPIRY_S: Final = 3_600
_FOREIGN_PREFIX: Final = "bc"
_OFFER, _INVOICE, _VERIFY = "offer", "invoice", "verify"
METHODS: Final = frozenset({_OFFER, _INVOICE, _VERIFY})

_Answer = Callable[[Request, str], Awaitable[Response]]


def _kind(name: str, description: str, *methods: str, seconds: float | None = None) -> FaultKind:
    return FaultKind(rail=RAIL, name=name, description=description, methods=frozenset(methods), seconds=seconds)


KINDS: Final = (
    _kind("out_of_bounds", "The offer takes 1 to 2 millisatoshi only.", _OFFER),
    _kind("private_callback", "The offer's callback lies in a private network.", _OFFER),
    _kind("payer_data", "The offer asks who pays.", _OFFER),
    _kind("wrong_hash", "The invoice is bound to other metadata.", _INVOICE),
    _kind("plain_description", "The invoice has a description, and is bound to no metadata.", _INVOICE),
    _kind("wrong_amount", "The invoice asks for one millisatoshi more.", _INVOICE),
    _kind("other_network", "The invoice is one of the main network.", _INVOICE),
    _kind("expired", "The invoice has expired.", _INVOICE),
    _kind("unknown_action", "What follows the payment is of a kind that nobody knows.", _INVOICE),
    _kind("foreign_link", "The link that follows the payment leads to another site.", _INVOICE),
    _kind("claim", "It says settled, and shows no preimage.", _VERIFY),
    _kind("error", "The answer is an error with a reason."),
    _kind("html", "The answer is a page."),
    _kind("unavailable", "The answer is 503."),
    _kind("redirect", "The answer leads elsewhere."),
    _kind("delay", "The answer comes after `seconds`.", seconds=1.0),
    _kind("hang", "The answer does not come for an hour.", seconds=3_600.0),
)
_IN_PLACE: Final[Mapping[str, Callable[[], Response]]] = {
    "error": lambda: _error("the payee is out for lunch"),
    "html": lambda: Response("<!doctype html><title>One moment</title>", media_type="text/html"),
    "unavailable": lambda: Response("Service Unavailable", status_code=503),
    "redirect": lambda: RedirectResponse("http://127.0.0.1:9/", status_code=302),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ask:
    """One payee, asked through one name of this server."""

    node: SandboxNode
    root: str
    fault: str

    @property
    def metadata(self) -> str:
        address = f"{self.node.name}@{self.root.partition('://')[2]}"
        return metadata_text(f"Pay {self.node.name}", identifier=address)


class PayeeServer:
    """Answers LNURL-pay (LUD-06, 09, 10, 12, 16 and 21) for the nodes of payers."""

    def __init__(self, *, network: Network, faults: Faults) -> None:
        self._network = network
        self._faults = faults
        self._names = network.chain.payers

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/lnurlp/{name}", self._faulty(_OFFER, self._offer)),
                Route("/lnurlp/{name}/callback", self._faulty(_INVOICE, self._invoice)),
                Route("/lnurlp/{name}/verify/{secret}", self._faulty(_VERIFY, self._verify)),
                Route("/thanks", _thank),
            ]
        )

    def address_of(self, node: str, *, port: int) -> str | None:
        """Return the Lightning Address of a node; None where it has none."""
        return f"{node}@127.0.0.1:{port}" if node in self._names else None

    def _faulty(self, method: str, answer: _Answer) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            armed = self._faults.take(RAIL, *(kind.name for kind in KINDS), method=method)
            fault = armed.kind.name if armed is not None else ""
            if armed is not None and fault in ("delay", "hang"):
                await asyncio.sleep(armed.seconds)
            return _IN_PLACE[fault]() if fault in _IN_PLACE else await answer(request, fault)

        return endpoint

    def _asked(self, request: Request, fault: str) -> _Ask | None:
        name = request.path_params["name"]
        root = f"http://{request.url.netloc}"
        return _Ask(node=self._network.nodes[name], root=root, fault=fault) if name in self._names else None

    async def _offer(self, request: Request, fault: str) -> Response:
        ask = self._asked(request, fault)
        if ask is None:
            return _error("no such payee")
        callback = f"{ask.root}/lnurlp/{ask.node.name}/callback"
        return _json(
            {
                "tag": PAY_TAG,
                "callback": "http://10.0.0.1/callback" if fault == "private_callback" else callback,
                "minSendable": 1 if fault == "out_of_bounds" else AMOUNT_MSAT_MIN,
                "maxSendable": 2 if fault == "out_of_bounds" else AMOUNT_MSAT_MAX,
                "metadata": ask.metadata,
                "commentAllowed": COMMENT_CHARACTERS_MAX,
                **({"payerData": {"name": {"mandatory": True}}} if fault == "payer_data" else {}),
            }
        )

    async def _invoice(self, request: Request, fault: str) -> Response:
        ask = self._asked(request, fault)
        said, comment = request.query_params.get("amount", ""), request.query_params.get("comment", "")
        if ask is None:
            return _error("no such payee")
        if not (said.isascii() and said.isdigit() and len(said) <= _AMOUNT_DIGITS_MAX):
            return _error("amount is a number of millisatoshi")
        amount_msat = int(said)
        if not AMOUNT_MSAT_MIN <= amount_msat <= AMOUNT_MSAT_MAX:
            return _error(f"amount lies between {AMOUNT_MSAT_MIN} and {AMOUNT_MSAT_MAX}")
        if len(comment) > COMMENT_CHARACTERS_MAX:
            return _error(f"a comment has at most {COMMENT_CHARACTERS_MAX} characters")
        try:
            record, payment_request = self._made(ask, amount_msat=amount_msat, comment=comment)
        except Refused as refusal:
            return _error(refusal.text)
        verify = f"{ask.root}/lnurlp/{ask.node.name}/verify/{record.payment_addr.hex()}"
        action = _success_action(ask, record)
        return _json(
            {"pr": payment_request, "routes": [], "disposable": False, "successAction": action, "verify": verify}
        )

    def _made(self, ask: _Ask, *, amount_msat: int, comment: str) -> tuple[InvoiceRecord, str]:
        """Make the node's invoice, and return it with the text to answer, which a fault makes another.

        Raises:
            Refused: the node would not.
        """
        preimage = os.urandom(32)
        bound = sha256(b"other") if ask.fault == "wrong_hash" else sha256(ask.metadata.encode())
        plain = ask.fault == "plain_description"
        order = InvoiceOrder(
            memo=f"Pay {ask.node.name}" if plain else comment,
            value=0,
            value_msat=amount_msat + (ask.fault == "wrong_amount"),
            description_hash=b"" if plain else bound.digest(),
            expiry_s=_EXPIRY_S,
            cltv_expiry=0,
            private=False,
            payment_hash=sha256(preimage).digest(),
            preimage=preimage,
        )
        if ask.fault == "expired":
            stale = ask.node.invoices.make(order, now_s=self._network.now_s() - _EXPIRY_S)
            return stale, stale.payment_request
        record = self._network.add_invoice(ask.node, order)
        foreign = ask.fault == "other_network"
        return record, _on_main_network(ask, record) if foreign else record.payment_request

    async def _verify(self, request: Request, fault: str) -> Response:
        ask = self._asked(request, fault)
        try:
            record = ask.node.invoices.find_by_addr(bytes.fromhex(request.path_params["secret"])) if ask else None
        except (Refused, ValueError):
            record = None
        if record is None:
            return _error("Not found")
        settled = record.state == ln.Invoice.SETTLED
        shown = record.preimage.hex() if settled and fault != "claim" else None
        return _json(
            {
                "status": "OK",
                "settled": settled or fault == "claim",
                "preimage": shown,
                "pr": record.payment_request,
            }
        )


async def _thank(_: Request) -> Response:
    return Response("Thank you!", media_type="text/plain")


def _success_action(ask: _Ask, record: InvoiceRecord) -> Mapping[str, str]:
    """Return what follows the payment: a text of alice's, a link of bob's, a sealed text of carol's."""
    name = ask.node.name
    if ask.fault == "unknown_action":
        return {"tag": "noop"}
    if ask.fault == "foreign_link":
        return {"tag": "url", "description": f"Thank you from {name}", "url": "https://elsewhere.example/"}
    if name == "bob":
        return {"tag": "url", "description": "Thank you from bob", "url": f"{ask.root}/thanks"}
    if name == "carol":
        return {"tag": "aes", "description": "Thank you from carol", **_sealed("carol's secret", key=record.preimage)}
    return {"tag": "message", "message": f"Thank you from {name}"}


def _sealed(text: str, *, key: bytes) -> Mapping[str, str]:
    iv = os.urandom(16)
    padder, encryptor = PKCS7(128).padder(), Cipher(AES(key), CBC(iv)).encryptor()
    ciphertext = encryptor.update(padder.update(text.encode()) + padder.finalize()) + encryptor.finalize()
    return {"ciphertext": b64encode(ciphertext).decode(), "iv": b64encode(iv).decode()}


def _on_main_network(ask: _Ask, record: InvoiceRecord) -> str:
    """Return the same invoice as of the main network, well signed."""
    unsigned = bolt11.UnsignedInvoice(
        prefix=_FOREIGN_PREFIX,
        amount_msat=record.value_msat,
        timestamp=record.created_at_s,
        payment_hash=record.payment_hash,
        payment_secret=record.payment_addr,
        description=None,
        description_hash=bytes.fromhex(metadata_hash(ask.metadata)),
        expiry_s=record.expiry_s,
        min_final_cltv_delta=record.cltv_expiry,
    )
    return bolt11.encode(unsigned, sign=ask.node.key.sign)


def _json(body: Mapping[str, object]) -> Response:
    return JSONResponse(body, headers={"Access-Control-Allow-Origin": "*", "Cache-Control": "no-store"})


def _error(reason: str) -> Response:
    return _json({"status": "ERROR", "reason": reason})
