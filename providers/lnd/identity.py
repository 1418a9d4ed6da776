"""Which node this is, for macaroons that may ask it and for those that may not."""

from typing import Final

from quittance.domain.bolt11 import Bolt11
from quittance.domain.errors import ProviderMisconfigured
from quittance.providers.lightning import read_payment_request
from quittance.providers.lnd.node import Node

UNIDENTIFIED: Final = "unidentified"
_READ_MAX: Final = 20


async def node_identity(node: Node) -> str:
    """Return the node's public key: the name of the database that its indexes count in.

    A receive-only macaroon may not ask for it. Then the key that signed the newest invoice tells, for a node signs
    with its identity. A node without invoices is UNIDENTIFIED, which costs nothing: it has no settlement that a feed
    could skip, and the first key that shows is another source, so the feed begins again from the start.
    """
    facts = await node.facts()
    if facts is not None and facts.identity_pubkey:
        return facts.identity_pubkey
    newest = await newest_invoice(node)
    return UNIDENTIFIED if newest is None else newest.payee


async def newest_invoice(node: Node) -> Bolt11 | None:
    """Return the newest invoice that shows who signs, of a few: keysend has no signature, and blinding hides it."""
    async for page in node.pages(newest_first=True):
        for message in list(reversed(page))[:_READ_MAX]:
            if message.payment_request and not message.is_blinded:
                try:
                    return read_payment_request(message.payment_request, provider=node.name)
                except ProviderMisconfigured:
                    continue
        return None
    return None
