"""The proof through the decision core alone: analysis and masking in this process, no HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from keystile.googlesql.engine import Engine
from keystile.googlesql.inline import InlineRunner
from prove.counter_examples import save
from prove.queries.generator import PARAMETERS, Generator, Query
from prove.schemas import SCHEMAS, WEIGHTS
from prove.shrink import shrunk
from prove.tally import Tally
from prove.trial import Court, Outcome

_WORLDS_KEPT = 4000
"""Cases after which new worlds are made."""
_CHECK_BENIGN = 100
_CHECK_TELLING = 40
"""One of so many cases is also run unmasked."""
_SHRUNK = 3
_SHRINK_SECONDS = 60.0


class Search:
    """One process's share of the proof."""

    def __init__(self, seed: str, *, save_found: bool = True, only: str = "") -> None:
        """`seed` decides on queries and worlds. `only` names the one schema to ask about."""
        self._random = Random(seed)
        self._runner = InlineRunner()
        self._only = only
        self._save = save_found
        self._courts: dict[str, Court] = {}
        self._generators = {
            name: Generator(Random(f"{seed} {name}"), schema) for name, schema in SCHEMAS.items()
        }
        self._tried = 0

    def run(self, cases: int, report: Callable[[Tally], None], every: int = 100) -> None:
        """Try so many cases, and report each hundred."""
        asyncio.run(self._run(cases, report, every))

    async def _run(self, cases: int, report: Callable[[Tally], None], every: int) -> None:
        while cases > 0:
            tally = await self.tally(min(every, cases))
            cases -= tally.cases
            report(tally)

    async def tally(self, cases: int) -> Tally:
        """Try so many cases."""
        tally = Tally()
        for _ in range(cases):
            await self._case(tally)
        return tally

    async def _case(self, tally: Tally) -> None:
        name = self._only or self._random.choices([*WEIGHTS], [*WEIGHTS.values()])[0]
        query = self._generators[name].query()
        court = self._court(name)
        tally.cases += 1
        self._tried += 1
        await self._try(tally, name, court, query)

    async def _try(self, tally: Tally, name: str, court: Court, query: Query) -> None:
        trial = await court.try_query(query.sql, PARAMETERS)
        tally.outcomes[trial.outcome.value] += 1
        tally.benign += query.benign
        if trial.outcome in {Outcome.REFUSED, Outcome.INVALID}:
            benign = query.benign and trial.outcome is Outcome.REFUSED
            tally.reason(trial.why, benign=benign)
        elif trial.answers[0].error:
            tally.errors += 1
        if trial.outcome is Outcome.LEAK:
            tally.leaks.append((name, await self._small(court, query.sql, len(tally.leaks))))
        every = _CHECK_BENIGN if query.benign else _CHECK_TELLING
        if trial.outcome is Outcome.SAME and self._random.randrange(every) == 0:
            self._check(tally, name, court, query)

    def _check(self, tally: Tally, name: str, court: Court, query: Query) -> None:
        tells = court.reveals_unmasked(query.sql, PARAMETERS)
        if query.benign:
            if tells:
                tally.misjudged.append((name, query.sql))
        else:
            tally.asked += 1
            tally.telling += tells

    async def _small(self, court: Court, sql: str, found: int) -> str:
        """Make the first leaks small, and keep them."""
        if not self._save or found >= _SHRUNK:
            return sql

        async def leaks(text: str) -> bool:
            return (await court.try_query(text, PARAMETERS)).outcome is Outcome.LEAK

        small = await shrunk(sql, leaks, _SHRINK_SECONDS)
        save(court.schema.name, small)
        return small

    def _court(self, name: str) -> Court:
        if self._tried % _WORLDS_KEPT == 0:
            self._courts.clear()
        if not self._courts:
            # The old one takes its worlds and what its memory has grown to with it.
            self._engine = Engine()
        if name not in self._courts:
            shape = self._random.randrange(1 << 30)
            self._courts[name] = Court(
                self._runner, self._engine, SCHEMAS[name], (shape + 1, shape + 2), shape
            )
        return self._courts[name]
