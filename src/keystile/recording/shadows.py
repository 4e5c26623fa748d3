"""What rules in shadow would have done with recorded queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from keystile.recording.asked import AskedQuery

_AGENTS_NAMED = 20


class ShadowCount(msgspec.Struct):
    """What one rule in shadow would have done: how often what, to whom, and since when.

    `failed` counts how often its condition could not be evaluated. At most twenty `agents` are
    named. Times are UTC seconds since the epoch; `session` is that of the newest such query.
    """

    rule: str
    first_at: float
    last_at: float
    session: str = ""
    would: Counter[str] = msgspec.field(default_factory=Counter)
    failed: int = 0
    agents: set[str] = msgspec.field(default_factory=set)


class ShadowSummary:
    """Counts over all recorded decisions; `queries` is how many there were."""

    def __init__(self) -> None:
        """Begin with none."""
        self.queries = 0
        self._rules: dict[str, ShadowCount] = {}

    @property
    def rules(self) -> list[ShadowCount]:
        """Give each rule's count, by name."""
        return [self._rules[name] for name in sorted(self._rules)]

    def add(self, batch: Iterable[AskedQuery]) -> None:
        """Count some more, in the order of time. Statements of scripts are part of those."""
        for asked in batch:
            body = asked.body
            if body is None or asked.recorded is None or "script" in body.request:
                continue
            self.queries += 1
            event = asked.recorded.event
            for shadow in body.decision.shadows if body.decision else ():
                made = ShadowCount(shadow.rule, asked.at, asked.at)
                count = self._rules.setdefault(shadow.rule, made)
                count.last_at, count.session = asked.at, event.session
                count.would[shadow.would] += shadow.would != "nothing"
                count.failed += shadow.failed
                if len(count.agents) < _AGENTS_NAMED:
                    count.agents.add(event.agent)
