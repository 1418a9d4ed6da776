"""One sandbox node: its key, its balance, its invoices and payments, and who listens to it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from quittance.sandbox.lnd.chains import Chain
from quittance.sandbox.lnd.invoices import Invoices
from quittance.sandbox.lnd.keys import NodeKey
from quittance.sandbox.lnd.records import InvoiceRecord, NodeRecord, PaymentRecord
from quittance.sandbox.lnd.streams import Listeners


class SandboxNode:
    """What a node knows. Only the network changes it, and only together with what it wrote down."""

    def __init__(self, record: NodeRecord, *, chain: Chain) -> None:
        self.chain = chain
        self.key = NodeKey(record.secret)
        self.listeners = Listeners()
        self.on_invoice: Callable[[InvoiceRecord], None] | None = None
        self._record = record
        self._invoices = Invoices(node=record.name, key=self.key, prefix=chain.prefix)
        self._payments: dict[bytes, PaymentRecord] = {}

    @property
    def name(self) -> str:
        return self._record.name

    @property
    def earns(self) -> bool:
        """Whether this is the node of its chain that merchants are paid at; the faults meet it alone."""
        return self.name == self.chain.merchant

    @property
    def pubkey(self) -> str:
        return self.key.public.hex()

    @property
    def balance_msat(self) -> int:
        return self._record.balance_msat

    @property
    def record(self) -> NodeRecord:
        return self._record

    @property
    def invoices(self) -> Invoices:
        return self._invoices

    @property
    def payments(self) -> Mapping[bytes, PaymentRecord]:
        """What this node paid or tried to pay, by payment hash."""
        return self._payments

    def keep(self, record: NodeRecord | InvoiceRecord | PaymentRecord) -> None:
        """Put a record in the place of its older self."""
        match record:
            case NodeRecord():
                self._record = record
            case InvoiceRecord():
                self._invoices.keep(record)
                if self.on_invoice is not None:
                    self.on_invoice(record)
            case PaymentRecord():
                self._payments[record.payment_hash] = record


@dataclass(slots=True)
class Change:
    """Records that are written together, then told together."""

    nodes: dict[str, NodeRecord] = field(default_factory=dict)
    invoices: list[InvoiceRecord] = field(default_factory=list)
    payments: list[PaymentRecord] = field(default_factory=list)
