"""One table: each figure beside its floor, its ratio and its goal."""

import sys
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table. ``ratio`` is what the goal is about; ``reached`` is None where there is no goal."""

    name: str
    measured: str
    beside: str = ""
    ratio: str = ""
    goal: str = ""
    reached: bool | None = None


@dataclass(slots=True)
class Report:
    """Rows in the order they were measured, and what was left out and why."""

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(
        self,
        name: str,
        measured: str,
        *,
        beside: str = "",
        ratio: str = "",
        goal: str = "",
        reached: bool | None = None,
    ) -> None:
        self.rows.append(Row(name=name, measured=measured, beside=beside, ratio=ratio, goal=goal, reached=reached))
        progress(f"  {name}: {measured}" + (f", {ratio} (goal {goal})" if goal else ""))

    def note(self, text: str) -> None:
        self.notes.append(text)
        progress(f"  {text}")

    def table(self) -> str:
        """Return the whole table as Markdown."""
        heads = ("what", "measured", "beside", "ratio", "goal", "reached")
        lines = [heads, tuple("---" for _ in heads)]
        verdict = {True: "yes", False: "**no**", None: ""}
        lines += [(r.name, r.measured, r.beside, r.ratio, r.goal, verdict[r.reached]) for r in self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
        rows = [
            f"| {' | '.join(_padded(cell, width) for cell, width in zip(line, widths, strict=True))} |"
            for line in lines
        ]
        return "\n".join([*rows, *(f"\n{note}" for note in self.notes)])


def _padded(cell: str, width: int) -> str:
    return cell.ljust(width, "-" if cell == "---" else " ")


def progress(text: str) -> None:
    """Say on standard error what is going on."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def middle(values: list[float]) -> float:
    """Return the median of the rounds."""
    return median(values)


def percentile(values: list[float], share: float) -> float:
    """Return the value below which ``share`` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
