"""How much is measured: what the command line asked for."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    home: Path
    rounds: int
    seconds: float
    warm_s: float
    rows: int
    crowds: tuple[int, ...]
    events: int
