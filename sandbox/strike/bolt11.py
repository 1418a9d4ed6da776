"""The BOLT11 invoices that Strike's node makes for what an account asks for."""

import os
from hashlib import sha256

from quittance.domain.bolt11 import DESCRIPTION_BYTES_MAX
from quittance.providers.lnd._proto import lnrpc_pb2 as ln
from quittance.sandbox.lnd import refusals
from quittance.sandbox.lnd.invoices import HASH_BYTES, InvoiceOrder
from quittance.sandbox.lnd.records import InvoiceRecord
from quittance.sandbox.strike.account import Account
from quittance.sandbox.strike.refusals import unprocessable


def make(
    account: Account, *, amount_msat: int | None, expiry_s: int, description: str, description_hash: str | None
) -> InvoiceRecord:
    """Return a new invoice; one without an amount leaves it to the payer. A long description loses its end.

    Raises:
        Refused: the node does not make such an invoice.
    """
    preimage = os.urandom(HASH_BYTES)
    order = InvoiceOrder(
        memo=description.encode()[:DESCRIPTION_BYTES_MAX].decode(errors="ignore"),
        value=0,
        value_msat=amount_msat or 0,
        description_hash=bytes.fromhex(description_hash or ""),
        expiry_s=expiry_s,
        cltv_expiry=0,
        private=False,
        payment_hash=sha256(preimage).digest(),
        preimage=preimage,
    )
    try:
        return account.network.add_invoice(account.node, order)
    except refusals.Refused as refusal:
        raise unprocessable("UNPROCESSABLE_ENTITY", refusal.text) from refusal


def settled(account: Account, payment_hash: str) -> InvoiceRecord | None:
    """Return an invoice that was paid."""
    record = account.node.invoices[bytes.fromhex(payment_hash)]
    return record if record.state == ln.Invoice.SETTLED else None


def withdraw(account: Account, payment_hash: str) -> None:
    """Let an invoice be paid no longer, unless it was paid."""
    if settled(account, payment_hash) is None:
        account.network.cancel(account.node, bytes.fromhex(payment_hash))
