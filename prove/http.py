"""The proof through the whole gateway: two sandboxes, a gateway before each, HTTP in and out."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

import aiohttp

from keystile.googlesql.engine import Engine
from prove.around import way_round
from prove.asking import OK, WAYS, Asked, Pair, same
from prove.counter_examples import save
from prove.evaluator import changes
from prove.queries.generator import Generator
from prove.queries.writes import statements
from prove.schemas import SERVED, WEIGHTS
from prove.served import SCRATCH, Served, served, write_data
from prove.shop import DATASET, PROJECT
from prove.shrink import shrunk
from prove.tally import Tally
from prove.trial import Outcome
from prove.worlds import Schema

_WORLDS_KEPT = 4000
"""Cases after which new worlds are made, and all processes with them."""
_IN_FLIGHT = 6
_REPORT_EVERY = 100
_CHECK_BENIGN = 100
_CHECK_TELLING = 40
"""One of so many cases is also run unmasked."""
_SHRUNK = 3
_SHRINK_SECONDS = 60.0
_REFUSED = 403
_RUNNING = frozenset({"query", "result", "script", "pages", "limit"})
_LIMITS = (10, 60, 100, 150, 200, 400, 10 << 20)


class Case(NamedTuple):
    """A query about a schema; a `benign` one names nothing that is masked."""

    schema: str
    asked: Asked
    benign: bool


class Planted(NamedTuple):
    """A bug that the search should find: a policy of other schemas, another gateway's command."""

    policed: tuple[Schema, ...] = ()
    gateway: tuple[str, ...] = ()


class HttpSearch:
    """Tries queries through gateways."""

    def __init__(
        self,
        seed: str,
        *,
        only: str = "",
        save_found: bool = True,
        ways: Mapping[str, int] = WAYS,
        planted: Planted = Planted(),  # noqa: B008 - it is frozen
    ) -> None:
        """`seed` decides on queries and worlds. `only` names the one schema to ask about.

        `ways` are those to ask in, with their weights.
        """
        self._random = Random(seed)
        self._only, self._save = only, save_found
        self._ways, self._planted = ways, planted
        self._generators = {
            name: Generator(Random(f"{seed} {name}"), schema) for name, schema in SERVED.items()
        }
        self._drawn = 0

    def run(self, cases: int, report: Callable[[Tally], None]) -> None:
        """Try so many cases, and report each hundred."""
        asyncio.run(self._run(cases, report))

    async def _run(self, cases: int, report: Callable[[Tally], None]) -> None:
        while cases > 0:
            share = min(cases, _WORLDS_KEPT)
            async with self.worlds() as pair:
                await self.share(pair, share, report)
            cases -= share

    @asynccontextmanager
    async def worlds(self) -> AsyncIterator[Pair]:
        """Make two worlds and serve them, until the block ends."""
        shape = self._random.randrange(1 << 30)
        with tempfile.TemporaryDirectory(prefix="keystile-proof-") as name, ExitStack() as stack:
            start = partial(self._started, Path(name), shape, stack)
            with ThreadPoolExecutor() as pool:
                first, second = pool.map(start, (shape + 1, shape + 2))
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
            async with aiohttp.ClientSession(connector=connector) as session:
                yield Pair(session, (first, second))

    def _started(self, home: Path, shape: int, stack: ExitStack, secret: int) -> Served:
        folder, policed = home / str(secret), self._planted.policed or (*SERVED.values(),)
        write_data(folder, Engine(), SERVED.values(), secret, shape)
        return stack.enter_context(served(folder, policed, self._planted.gateway))

    async def share(self, pair: Pair, cases: int, report: Callable[[Tally], None]) -> None:
        """Look at what there is, then ask, several cases at a time."""
        tally = Tally()
        await self.look_around(pair, tally)
        report(tally)
        waiting = iter(range(cases))
        async with asyncio.TaskGroup() as group:
            for _ in range(min(_IN_FLIGHT, cases)):
                group.create_task(self._ask_some(pair, waiting, report))

    async def _ask_some(
        self, pair: Pair, waiting: Iterator[int], report: Callable[[Tally], None]
    ) -> None:
        tally = Tally()
        for _ in waiting:
            await self.try_case(pair, self.case(), tally)
            if tally.cases == _REPORT_EVERY // _IN_FLIGHT:
                report(tally)
                tally = Tally()
        report(tally)

    async def look_around(self, pair: Pair, tally: Tally) -> None:
        """Compare what the API tells of datasets and tables, and gives of their rows.

        A difference counts as a leak.
        """
        home = f"/projects/{PROJECT}/datasets"
        tables = {table.id.table for schema in SERVED.values() for table in schema.tables}
        listed = (home, f"{home}/{DATASET}", f"{home}/{DATASET}/tables")
        single = [f"{home}/{DATASET}/tables/{table}" for table in sorted(tables)]
        for path in (*listed, *single, *(f"{table}/data" for table in single)):
            if not same(await pair.reads(path)):
                tally.leaks.append(("all", f"GET {path}"))

    def case(self) -> Case:
        """Draw the next case."""
        name = self._only or self._random.choices([*SERVED], [WEIGHTS[one] for one in SERVED])[0]
        way = self._random.choices([*self._ways], [*self._ways.values()])[0]
        self._drawn += 1
        fresh = f"case_{self._drawn}"
        if way == "write":
            texts = statements(self._random, self._generators[name], f"{PROJECT}.{SCRATCH}.{fresh}")
            return Case(name, Asked(way, texts, fresh), benign=False)
        if way == "around":
            schema = SERVED[name]
            hidden = [table for table in schema.tables if schema.hides(table.id, ())]
            texts = way_round(self._random, self._random.choice(hidden), SCRATCH, fresh)
            return Case(name, Asked(way, texts, fresh), benign=False)
        query = self._generators[name].query()
        if changes(query.sql) and way in _RUNNING:
            way = "dry_run"  # it would change tables that other cases read at the same time
        asked = Asked(way, (query.sql,), fresh, self._random.choice(_LIMITS))
        # To limit what a query may read is to ask for its size, which is not benign. In a script
        # less is understood.
        return Case(name, asked, benign=query.benign and way not in {"limit", "script"})

    async def try_case(self, pair: Pair, case: Case, tally: Tally) -> None:
        """Ask, and count what came of it."""
        status, leaks = 0, False
        async for both in pair.steps(case.asked):
            status = status or both[0].status
            message = both[0].raw.get("error", {}).get("message", "")
            if not same(both):
                leaks = True
                break
        tally.cases += 1
        tally.benign += case.benign
        outcome = Outcome.LEAK
        if not leaks:
            outcome = await self._outcome(pair, case, status, tally)
        tally.outcomes[outcome.value] += 1
        if outcome in {Outcome.REFUSED, Outcome.INVALID}:
            tally.reason(message, benign=case.benign and outcome is Outcome.REFUSED)
        elif outcome is Outcome.LEAK:
            found = len(tally.leaks)
            tally.leaks.append((case.schema, await self._small(pair, case, found)))
        elif case.asked.way == "query":
            await self._check(pair, case, tally)

    async def _outcome(self, pair: Pair, case: Case, status: int, tally: Tally) -> Outcome:
        """Tell refused, invalid and run apart, by asking in other ways where need be."""
        if status == OK:
            return Outcome.SAME
        if status == _REFUSED:
            return Outcome.REFUSED
        planned = case.asked._replace(way="dry_run")
        async for both in pair.steps(planned):
            if both[0].status == OK:  # it ran, and ended in an error
                tally.errors += 1
                return Outcome.SAME
        runs = (await pair.past(case.asked.texts[0]))[0].status == OK
        return Outcome.REFUSED if runs else Outcome.INVALID

    async def _check(self, pair: Pair, case: Case, tally: Tally) -> None:
        """Run one of many as it stands: whether a benign query is one, and how many are attacks."""
        if self._random.randrange(_CHECK_BENIGN if case.benign else _CHECK_TELLING):
            return
        first, second = (
            (one.status, one.raw.get("rows"), one.raw.get("error"))
            for one in await pair.past(case.asked.texts[0])
        )
        if not case.benign:
            tally.asked += 1
            tally.telling += first != second
        elif first != second:
            tally.misjudged.append((case.schema, case.asked.texts[0]))

    async def _small(self, pair: Pair, case: Case, found: int) -> str:
        """Make the first leaks small, and keep them."""
        shown = f"{'; '.join(case.asked.texts)} (asked by {case.asked.way})"
        if not self._save or found >= _SHRUNK or case.asked.way in {"write", "around"}:
            return shown
        tries = iter(range(1 << 30))

        async def leaks(text: str) -> bool:
            asked = case.asked._replace(texts=(text,), name=f"{case.asked.name}_{next(tries)}")
            return await differs(pair, asked)

        small = await shrunk(case.asked.texts[0], leaks, _SHRINK_SECONDS)
        save(case.schema, small)
        return f"{small} (asked by {case.asked.way})"


async def differs(pair: Pair, asked: Asked) -> bool:
    """Tell whether any step of a case shows something else in the two worlds."""
    async for both in pair.steps(asked):
        if not same(both):
            return True
    return False
