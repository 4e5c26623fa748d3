"""What came of many cases, from one process or several."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

_REASON = 110


@dataclass
class Tally:
    """Counts, which add up. A `leak` or `misjudged` case is a pair of schema and query."""

    cases: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    leaks: list[tuple[str, str]] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    benign: int = 0
    benign_refused: int = 0
    errors: int = 0
    """Queries that ended in an error, the same in both worlds."""
    asked: int = 0
    """Queries with masked columns that were also run unmasked …"""
    telling: int = 0
    """… and those of them that told the worlds apart."""
    misjudged: list[tuple[str, str]] = field(default_factory=list)
    """Queries taken for benign that told the worlds apart when run unmasked."""

    def add(self, other: Tally) -> None:
        """Add what another process counted."""
        for name in ("cases", "benign", "benign_refused", "errors", "asked", "telling"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.outcomes.update(other.outcomes)
        self.reasons.update(other.reasons)
        self.leaks += other.leaks
        self.misjudged += other.misjudged

    def reason(self, why: str, *, benign: bool) -> None:
        """Count a refusal; `benign` tells of one that should have been served."""
        self.benign_refused += benign
        self.reasons[f"BENIGN: {why}" if benign else why[:_REASON]] += 1

    @property
    def sound(self) -> bool:
        """Whether nothing leaked, and the search itself was right."""
        return not self.leaks and not self.misjudged

    def summary(self, seconds: float) -> dict[str, int | float]:
        """Give the figures of the last line."""
        return {
            "cases": self.cases,
            "leaks": len(self.leaks),
            "refused": self.outcomes["refused"],
            "benign": self.benign,
            "benign_refused": self.benign_refused,
            "seconds": round(seconds, 1),
            "invalid": self.outcomes["invalid"],
            "query_errors": self.errors,
            "misjudged": len(self.misjudged),
            "telling": round(self.telling / self.asked, 3) if self.asked else 0.0,
            "cases_per_second": round(self.cases / seconds, 1) if seconds else 0.0,
        }
