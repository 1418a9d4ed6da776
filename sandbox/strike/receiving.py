"""Receive requests, and the money that comes for them (sheet 1.4)."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from quittance.sandbox.lnd.records import InvoiceRecord
from quittance.sandbox.strike import bolt11, moments
from quittance.sandbox.strike.account import Account
from quittance.sandbox.strike.calls import Answer, Call
from quittance.sandbox.strike.entities import Rail, Receive, ReceiveRequest, State
from quittance.sandbox.strike.filters import among, cut, values_of
from quittance.sandbox.strike.kinds import RAIL, SETTLEMENT
from quittance.sandbox.strike.money import (
    BTC,
    HELD,
    Money,
    btc_of_msat,
    check_amount,
    converted,
    msat_of_btc,
    plain,
    rate,
)
from quittance.sandbox.strike.reading import Given
from quittance.sandbox.strike.refusals import invalid_field, not_found, unprocessable

_EXPIRY_S: Final = 3_600
_DESCRIPTION_MAX: Final = 250


class Receiving:
    """What is credited in the currency that the request named; in bitcoin where it named none."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._book = account.book
        self._pending = {one.id for one in self._book.all(Receive) if one.state is State.PENDING}
        for request in self._book.all(ReceiveRequest):
            self._catch_up(request)

    def create(self, call: Call) -> Answer:
        """Make a BOLT11 invoice. There is no chain here: an address is refused."""
        given = call.given
        within, target = given.within("bolt11"), given.currency("targetCurrency")
        given.check()
        if target is not None and target not in HELD:
            raise unprocessable("CURRENCY_UNSUPPORTED", f"{target} is not supported.")
        if "onchain" in given:
            raise unprocessable("UNSUPPORTED_PAYMENT_METHOD", "The sandbox has no chain; leave onchain out.")
        if within is None:
            raise invalid_field("bolt11", "The request names no payment method.")
        request = self._made(within, target)
        self._account.commit(request)
        body = _shown(request) | {"created": moments.created(request.created)}
        return call.created(body, at=f"/v1/receive-requests/{request.id}")

    def listing(self, call: Call) -> Answer:
        hashes, invoices = values_of(call.query, "paymentHash"), values_of(call.query, "bolt11Invoice")
        addresses = values_of(call.query, "onchainAddress")
        found = [
            request
            for request in reversed(self._book.all(ReceiveRequest))
            if among(hashes, request.payment_hash) and among(invoices, request.bolt11) and among(addresses, None)
        ]
        return Answer(body=cut(found, call.query, shown=_shown))

    def find(self, call: Call) -> Answer:
        return Answer(body=_shown(self._found(call)))

    def receives(self, call: Call) -> Answer:
        return self._page(call, self._book.all(Receive))

    def receives_of_request(self, call: Call) -> Answer:
        request = self._found(call)
        return self._page(call, [one for one in self._book.all(Receive) if one.request_id == request.id])

    def settle(self, record: InvoiceRecord) -> None:
        """Hear of an invoice of the node: one that was paid may be of a request."""
        payment_hash = record.payment_hash.hex()
        request = self._book.keyed(ReceiveRequest, payment_hash)
        if request is None or bolt11.settled(self._account, payment_hash) is None:
            return
        if self._book.keyed(Receive, payment_hash) is None:
            self._receive(request, record)

    def sweep(self, *, release: bool = False) -> None:
        """Credit what was pending for long enough, or all of it."""
        now = self._account.now()
        for receive_id in tuple(self._pending):
            receive = self._book.find(Receive, receive_id)
            assert receive is not None, "it was saved"
            if release or receive.due is None or receive.due <= now:
                self._credit(receive)

    def _made(self, given: Given, target: str | None) -> ReceiveRequest:
        amount = given.money("amount")
        description = given.text("description", size_min=1, size_max=_DESCRIPTION_MAX)
        description_hash, expiry_s = given.hash("descriptionHash"), given.number("expiryInSeconds") or _EXPIRY_S
        given.check()
        now = self._account.now()
        if amount is not None:
            check_amount(amount, at=now)
        asked = converted(amount, BTC, at=now, up=True).value if amount is not None else None
        record = bolt11.make(
            self._account,
            amount_msat=msat_of_btc(asked) if asked is not None else None,
            expiry_s=expiry_s,
            description=description or "",
            description_hash=description_hash,
        )
        return ReceiveRequest(
            id=self._book.new_id(),
            created=now,
            payment_hash=record.payment_hash.hex(),
            bolt11=record.payment_request,
            requested=amount,
            btc_amount=asked,
            description=description,
            description_hash=description_hash,
            target_currency=target,
            expires=datetime.fromtimestamp(record.created_at_s + expiry_s, UTC),
        )

    def _receive(self, request: ReceiveRequest, record: InvoiceRecord) -> None:
        faults = self._account.network.faults
        internal = faults.take(RAIL, "p2p", method=SETTLEMENT) is not None
        pending = faults.take(RAIL, "invoice_pending", method=SETTLEMENT)
        receive = Receive(
            id=self._book.new_id(),
            created=datetime.fromtimestamp(record.settled_at_s, UTC),
            request_id=request.id,
            rail=Rail.P2P if internal else Rail.LIGHTNING,
            state=State.PENDING,
            received=Money(value=btc_of_msat(record.paid_msat, up=False), currency=BTC),
            payment_hash=record.payment_hash.hex(),
            preimage=record.preimage.hex(),
            payer_id=self._account.friend.id if internal else None,
            due=self._account.now() + timedelta(seconds=pending.seconds) if pending is not None else None,
        )
        if pending is None:
            self._credit(receive)
        else:
            happened = self._account.happened("receive-request.receive-pending", request.id, receive_id=receive.id)
            self._account.commit(receive, *happened)
            self._pending.add(receive.id)

    def _credit(self, receive: Receive) -> None:
        """Credit money at the price of the moment."""
        now, request = self._account.now(), self._request_of(receive)
        target = request.target_currency or BTC
        credited = converted(receive.received, target, at=now, up=False)
        done = replace(
            receive,
            state=State.COMPLETED,
            credited=credited,
            rate=rate(BTC, target, at=now) if target != BTC else None,
            completed=now,
            due=None,
        )
        owner = self._account.credited(self._account.owner, credited)
        happened = self._account.happened("receive-request.receive-completed", request.id, receive_id=receive.id)
        self._account.commit(done, owner, *happened)
        self._pending.discard(receive.id)

    def _catch_up(self, request: ReceiveRequest) -> None:
        """Do what a process that ended left undone."""
        record = bolt11.settled(self._account, request.payment_hash)
        if record is not None:
            self.settle(record)

    def _page(self, call: Call, receives: Sequence[Receive]) -> Answer:
        ids, requests = values_of(call.query, "receiveId"), values_of(call.query, "receiveRequestId")
        hashes = values_of(call.query, "paymentHash")
        found = [
            one
            for one in reversed(receives)
            if among(ids, one.id) and among(requests, one.request_id) and among(hashes, _shown_hash(one))
        ]
        return Answer(body=cut(found, call.query, shown=self._shown_receive))

    def _shown_receive(self, receive: Receive) -> dict[str, Any]:
        body: dict[str, Any] = {
            "receiveId": receive.id,
            "receiveRequestId": receive.request_id,
            "type": receive.rail.value,
            "state": receive.state.value,
            "amountReceived": receive.received.shown(),
            "created": moments.listed(receive.created),
        }
        if receive.credited is not None:
            body["amountCredited"] = receive.credited.shown()
        if receive.rate is not None:
            body["conversionRate"] = receive.rate.shown()
        if receive.completed is not None:
            body["completed"] = moments.listed(receive.completed)
        if receive.payer_id is not None:
            return body | {"p2p": {"payerAccountId": receive.payer_id}}
        return body | {"lightning": _lightning(receive, self._request_of(receive))}

    def _request_of(self, receive: Receive) -> ReceiveRequest:
        request = self._book.find(ReceiveRequest, receive.request_id)
        assert request is not None, "receives are of requests"
        return request

    def _found(self, call: Call) -> ReceiveRequest:
        request = self._book.find(ReceiveRequest, call.id("receiveRequestId"))
        if request is None:
            raise not_found()
        return request


def _shown_hash(receive: Receive) -> str | None:
    return receive.payment_hash if receive.rail is Rail.LIGHTNING else None


def _lightning(receive: Receive, request: ReceiveRequest) -> dict[str, str]:
    found = {"invoice": request.bolt11, "preimage": receive.preimage, "paymentHash": receive.payment_hash}
    return found | _described(request)


def _described(request: ReceiveRequest) -> dict[str, str]:
    found = {"description": request.description, "descriptionHash": request.description_hash}
    return {name: text for name, text in found.items() if text is not None}


def _shown(request: ReceiveRequest) -> dict[str, Any]:
    invoice: dict[str, Any] = {"invoice": request.bolt11, **_described(request), "paymentHash": request.payment_hash}
    if request.requested is not None:
        invoice |= {"requestedAmount": request.requested.shown(), "btcAmount": plain(request.btc_amount or Decimal(0))}
    invoice["expires"] = moments.expiring(request.expires)
    body: dict[str, Any] = {
        "receiveRequestId": request.id,
        "created": moments.listed(request.created),
        "bolt11": invoice,
    }
    return body | ({"targetCurrency": request.target_currency} if request.target_currency is not None else {})
