"""Who may call what: LND's permission of each method, and the macaroons of a node."""

from collections.abc import Mapping
from typing import Final

from quittance.sandbox.lnd.macaroons import Permission

NEEDED: Final[Mapping[str, Permission | None]] = {
    "/lnrpc.Lightning/AddInvoice": ("invoices", "write"),
    "/lnrpc.Lightning/LookupInvoice": ("invoices", "read"),
    "/lnrpc.Lightning/ListInvoices": ("invoices", "read"),
    "/lnrpc.Lightning/SubscribeInvoices": ("invoices", "read"),
    "/lnrpc.Lightning/DecodePayReq": ("offchain", "read"),
    "/lnrpc.Lightning/GetInfo": ("info", "read"),
    "/lnrpc.Lightning/SignMessage": ("message", "write"),
    "/lnrpc.Lightning/VerifyMessage": ("message", "read"),
    "/lnrpc.Lightning/ChannelBalance": ("offchain", "read"),
    "/lnrpc.State/GetState": None,  # answers at all times and asks for nothing
    "/invoicesrpc.Invoices/SubscribeSingleInvoice": ("invoices", "read"),
    "/invoicesrpc.Invoices/AddHoldInvoice": ("invoices", "write"),
    "/invoicesrpc.Invoices/SettleInvoice": ("invoices", "write"),
    "/invoicesrpc.Invoices/CancelInvoice": ("invoices", "write"),
    "/invoicesrpc.Invoices/LookupInvoiceV2": ("invoices", "write"),  # write, as in LND
    "/routerrpc.Router/SendPaymentV2": ("offchain", "write"),
    "/routerrpc.Router/TrackPaymentV2": ("offchain", "read"),
}

_ENTITIES: Final = ("address", "info", "invoices", "macaroon", "message", "offchain", "onchain", "peers", "signer")

ADMIN: Final = frozenset(
    {(entity, action) for entity in _ENTITIES for action in ("read", "write")} | {("macaroon", "generate")}
)
INVOICE: Final = frozenset(
    {
        ("address", "read"),
        ("address", "write"),
        ("invoices", "read"),
        ("invoices", "write"),
        ("onchain", "read"),
    }
)
RECEIVE: Final = INVOICE | {("info", "read"), ("message", "read"), ("offchain", "read")}
SPEND: Final = frozenset({("offchain", "read"), ("offchain", "write")})


def allows(granted: frozenset[Permission], path: str) -> bool:
    """Tell whether these permissions open the method at ``path``, by its entity or by its own name."""
    needed = NEEDED[path]
    return needed is None or needed in granted or ("uri", path) in granted
