"""How what a Strike account knows is written down."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StrikeRecord:
    """One thing of one kind, as JSON. ``number`` says in which order things were made."""

    kind: str
    id: str
    number: int
    content: str
