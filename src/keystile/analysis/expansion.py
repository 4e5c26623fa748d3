"""A statement while its views are being replaced by their texts."""

from __future__ import annotations

import msgspec

from keystile.analysis.resolve import Resolved
from keystile.analysis.scope import Scope


class Expansion(msgspec.Struct, frozen=True):
    """A statement with its views' texts in place.

    `resolved` is what this text says, and `through` what the texts said in which the views still
    were tables: the agent's own first.
    """

    sql: str
    scope: Scope
    resolved: Resolved
    through: tuple[Resolved, ...] = ()

    @property
    def texts(self) -> tuple[Resolved, ...]:
        """All that was said, the agent's own text first."""
        return (*self.through, self.resolved)
