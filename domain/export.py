"""What can be exported, and which part of it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from quittance.domain.ids import MerchantId


class ExportKind(StrEnum):
    PAYMENTS = "payments"
    SETTLEMENTS = "settlements"
    ENTRIES = "entries"
    EVENTS = "events"


class ExportFormat(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFilter:
    """Rows made, booked, posted or occurred at ``since`` or later and before ``until``; None leaves it open."""

    merchant_id: MerchantId | None = None
    since: datetime | None = None
    until: datetime | None = None
