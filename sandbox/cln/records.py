"""What a Core Lightning node remembers of an invoice besides what every node does."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRecord:
    """``updated_index`` is 0 until the invoice was paid or expired; a deleted one is no longer shown."""

    node: str
    created_index: int
    label: str
    payment_hash: bytes
    updated_index: int = 0
    deleted: bool = False
