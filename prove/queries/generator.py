"""A reproducible stream of queries over one schema."""

from __future__ import annotations

from typing import NamedTuple

from keystile.model.schema import SqlType
from prove.evaluator import Given
from prove.queries.pipes import Pipes

PARAMETERS = (Given("t", SqlType("STRING"), "4"), Given("n", SqlType("INT64"), 40))
"""What every generated query may use."""

_OPEN_ONLY = 0.3
_ASIDE = 0.6
_DECIDING = 0.85
_TRIES = 3
"""How often a query that should be an attack and names nothing masked is made anew."""


class Query(NamedTuple):
    """A query; a `benign` one names nothing that is masked, whole rows included."""

    sql: str
    benign: bool


class Generator(Pipes):
    """Makes queries of all forms."""

    def query(self) -> Query:
        """Give the next query."""
        open_only = self.chance(_OPEN_ONLY)
        rest = [self.star, self.with_names, self.recursive, self.write]
        forms = [self.whole, self.plain, self.pipe, *rest]
        for _ in range(_TRIES):
            aside = not open_only and self.chance(_ASIDE)
            self.start(open_only=open_only, aside=aside)
            form = self.random.choices(forms, [48, 19, 14, 8, 6, 2, 10])[0]
            sql = self.deciding() if aside and self.chance(_DECIDING) else form()
            if open_only or self.touched:
                break
        return Query(sql, not self.touched)
