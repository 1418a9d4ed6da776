"""The calls by which a Core Lightning node takes money."""

import asyncio
import itertools
import os
from collections.abc import Iterable
from hashlib import sha256
from typing import Any, Final

from quittance.domain.bolt11 import DESCRIPTION_BYTES_MAX
from quittance.sandbox.cln.labels import Labels, status_of
from quittance.sandbox.cln.parameters import Parameters, flag, hash_of, number, required, text
from quittance.sandbox.cln.records import LabelRecord
from quittance.sandbox.cln.refusals import (
    LABEL_EXISTS,
    NOT_FOUND,
    OTHER_STATUS,
    PREIMAGE_EXISTS,
    WAIT_TIMED_OUT,
    WRONG_PARAMETERS,
    Refused,
)
from quittance.sandbox.lnd import refusals
from quittance.sandbox.lnd.invoices import HASH_BYTES, InvoiceOrder
from quittance.sandbox.lnd.network import Network
from quittance.sandbox.lnd.node import SandboxNode

_EXPIRY_S: Final = 604_800
_CLTV: Final = 80
_WAIT_S_MAX: Final = 86_400

_ESCAPED_BY_NUMBER: Final = frozenset(chr(code) for code in range(32)) - frozenset("\b\t\n\f\r")

Answer = dict[str, Any]


class Receiving:
    """Invoices of one node."""

    def __init__(self, network: Network, node: SandboxNode) -> None:
        self._network = network
        self._node = node
        self.labels = Labels(network, node)

    def invoice(self, given: Parameters) -> Answer:
        """Make an invoice. Its label and its preimage must both be new."""
        label, description = text(given, "label"), text(given, "description")
        amount = required(given, "amount_msat")
        value_msat = 0 if amount == "any" else number(given, "amount_msat", default=0)
        if amount != "any" and value_msat == 0:
            raise Refused(WRONG_PARAMETERS, f"amount_msat: should be positive msat or 'any': invalid token '{amount}'")
        if any(code in description for code in _ESCAPED_BY_NUMBER):
            raise Refused(WRONG_PARAMETERS, "description: should be a string (without \\u): invalid token")
        hash_only = flag(given, "deschashonly")
        size = len(description.encode())
        if size > DESCRIPTION_BYTES_MAX and not hash_only:
            raise Refused(
                WRONG_PARAMETERS,
                f"Descriptions greater than {DESCRIPTION_BYTES_MAX} bytes not supported (description length {size})",
            )
        preimage = hash_of(given, "preimage") or os.urandom(HASH_BYTES)
        if self.labels.labelled(label) is not None:
            raise Refused(LABEL_EXISTS, f"Duplicate label '{label}'")
        if self.labels.hashed(sha256(preimage).digest()) is not None:
            raise Refused(PREIMAGE_EXISTS, "preimage already used")
        order = InvoiceOrder(
            memo=description,
            value=0,
            value_msat=value_msat,
            description_hash=sha256(description.encode()).digest() if hash_only else b"",
            expiry_s=number(given, "expiry", default=_EXPIRY_S),
            cltv_expiry=number(given, "cltv", default=_CLTV),
            private=False,
            payment_hash=sha256(preimage).digest(),
            preimage=preimage,
        )
        try:
            made = self._network.add_invoice(self._node, order)
        except refusals.Refused as refusal:
            raise Refused(WRONG_PARAMETERS, refusal.text) from refusal
        record = self.labels.add(label, made)
        return {
            "payment_hash": made.payment_hash.hex(),
            "expires_at": made.created_at_s + made.expiry_s,
            "bolt11": made.payment_request,
            "payment_secret": made.payment_addr.hex(),
            "created_index": record.created_index,
        }

    def listinvoices(self, given: Parameters) -> Answer:
        """List invoices: one by its label or hash, or pages by one of the two indexes."""
        payment_hash = hash_of(given, "payment_hash")
        if payment_hash is not None:
            found: Iterable[LabelRecord | None] = [self.labels.hashed(payment_hash)]
        elif given.get("label") is not None:
            found = [self.labels.labelled(text(given, "label"))]
        else:
            found = self._page(given)
        return {"invoices": [self._row(record) for record in found if record is not None]}

    def _page(self, given: Parameters) -> Iterable[LabelRecord]:
        index, start = given.get("index"), number(given, "start", default=0)
        if index is None and (start or given.get("limit") is not None):
            raise Refused(WRONG_PARAMETERS, "Can only specify {start} with {index}")
        limit = number(given, "limit", default=2**31 - 1)
        if index == "updated":
            records = sorted((one for one in self.labels), key=lambda one: one.updated_index)
            return itertools.islice((one for one in records if one.updated_index >= start), limit)
        if index not in {None, "created"}:
            raise Refused(WRONG_PARAMETERS, f"index: should be a known index: invalid token '{index}'")
        return itertools.islice((one for one in self.labels if one.created_index >= start), limit)

    def delinvoice(self, given: Parameters) -> Answer:
        """Delete an invoice that has the status which the caller believes it has."""
        record = self.labels.labelled(text(given, "label"))
        if record is None:
            raise Refused(NOT_FOUND, "Unknown invoice")
        expected, row = text(given, "status"), self._row(record)
        if row["status"] != expected:
            raise Refused(OTHER_STATUS, f"Invoice status is {row['status']} not {expected}")
        if expected == "unpaid":
            self._network.cancel(self._node, record.payment_hash)
        self.labels.delete(record)
        return row

    async def waitanyinvoice(self, given: Parameters) -> Answer:
        """Return the next payment after a number; number 0 stands before the first."""
        after = number(given, "lastpay_index", default=0)
        wait_s = number(given, "timeout", default=_WAIT_S_MAX)
        try:
            async with asyncio.timeout(wait_s):
                return self._row(await self.labels.paid_after(after))
        except TimeoutError:
            raise Refused(WAIT_TIMED_OUT, "Timed out while waiting for invoice to be paid") from None

    def _row(self, record: LabelRecord) -> Answer:
        invoice = self.labels.invoice(record)
        row: Answer = {
            "label": record.label,
            "bolt11": invoice.payment_request,
            "payment_hash": invoice.payment_hash.hex(),
            "status": status_of(invoice),
            "description": invoice.memo,
            "expires_at": invoice.created_at_s + invoice.expiry_s,
            "created_index": record.created_index,
        }
        if invoice.value_msat:
            row["amount_msat"] = invoice.value_msat
        if record.updated_index:
            row["updated_index"] = record.updated_index
        if row["status"] == "paid":
            row |= {
                "pay_index": invoice.settle_index,
                "amount_received_msat": invoice.paid_msat,
                "paid_at": invoice.settled_at_s,
                "payment_preimage": invoice.preimage.hex(),
            }
        return row
