"""Analyses GoogleSQL's own query tests and the TPC benchmarks; nothing of them is kept here.

Prints what was refused and why, and as the last line JSON.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import NamedTuple

from keystile.analysis.analysed import Analysed
from keystile.analysis.analyst import Analyst
from keystile.analysis.statement import Statement
from keystile.googlesql import module
from keystile.googlesql.engine import Engine, EngineDiedError
from keystile.googlesql.inline import InlineRunner
from keystile.model.errors import KeystileError, NotFoundError
from keystile.model.schema import Parameter, Routine, RoutineId, Table, TableId
from prove.goldens import Golden, goldens
from prove.judge import Verdict, defined, field_of_query, judged, parameters_of
from prove.samples import PARAMETERS, SAMPLE_CATALOG
from prove.scramble import Contents, difference

PROJECT, DATASET = "golden", "tests"
_DEADLINE = 5.0  # seconds for the bare engine and the evaluator


class Case(NamedTuple):
    """A statement with the tables and parameters that it may name."""

    golden: Golden
    tables: tuple[Table, ...]
    parameters: tuple[Parameter, ...]


class Named:
    """The tables of one file as an `ObjectSource`; their names' case does not matter."""

    def __init__(self, tables: Iterable[Table]) -> None:
        """Keep the tables."""
        self._tables = {table.id.table.lower(): table for table in tables}

    async def table(self, id: TableId) -> Table:  # noqa: A002 - the port's own word
        """Give the table under the name that the test spells."""
        found = self._tables.get(id.table.lower())
        if found is None:
            raise NotFoundError(f"Not found: Table {id}")
        return Table(id, found.kind, found.fields, found.etag)

    async def routine(self, id: RoutineId) -> Routine:  # noqa: A002 - as above
        """There are none."""
        raise NotFoundError(f"Not found: Routine {id}")

    async def tables_like(self, _: TableId) -> tuple[Table, ...]:
        """There are none."""
        return ()


class Tally:
    """What came of the cases."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.cases = 0
        self.classes: Counter[str] = Counter()
        self.details: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.analysed = 0
        self.crashed: list[str] = []
        self.misread: list[str] = []
        self.compared = 0

    def summary(self) -> dict[str, object]:
        """Give the figures of the last line."""
        accepted = self.analysed + sum(self.refused.values()) + len(self.crashed)
        return {
            "cases": self.cases,
            **dict(sorted(self.classes.items())),
            "accepted": accepted,
            "analysed": self.analysed,
            "refused": sum(self.refused.values()),
            "crashed": len(self.crashed),
            "misread": len(self.misread),
            "worlds_compared": self.compared,
            "percent": round(100 * self.analysed / accepted, 2) if accepted else 0.0,
        }


class Corpus:
    """Runs cases through the gateway's analysis, and through checks that do not trust it."""

    def __init__(self, *, compare: bool) -> None:
        """`compare` runs each analysed query on the reference evaluator in two worlds."""
        self._analyst = Analyst(InlineRunner(), 262_144)
        self._compare = compare
        self._compiled = module.load()
        self.engine = Engine(self._compiled)
        self._contents = Contents(self.engine)
        self.tally = Tally()

    def try_case(self, case: Case) -> None:
        """Judge, analyse and check one case."""
        self.tally.cases += 1
        verdict = self._verdict(case)
        if verdict.refused:
            self.tally.classes[verdict.refused] += 1
            self.tally.details[f"{verdict.refused}: {_general(verdict.details)}"] += 1
            return
        where = f"{case.golden.file}:{case.golden.line}"
        statement = Statement(case.golden.sql, PROJECT, DATASET, case.parameters)
        try:
            analysed = asyncio.run(self._analyst.analyse(statement, Named(case.tables)))
        except KeystileError as error:
            self.tally.refused[_general(error.message)] += 1
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
            self.tally.crashed.append(f"{where}: {type(error).__name__}: {error}")
            return
        if analysed.facts.opaque:
            self.tally.refused[_general(analysed.facts.opaque[0].what)] += 1
            return
        self.tally.analysed += 1
        if wrong := self._misreading(case, verdict, analysed):
            self.tally.misread.append(f"{where}: {wrong}")

    def _verdict(self, case: Case) -> Verdict:
        if not case.golden.sql:
            return Verdict("empty")
        if case.golden.expects_error:
            return Verdict("the test expects an error")
        try:
            with self._deadline():
                return judged(self.engine, case.golden.sql, case.tables, case.parameters)
        except EngineDiedError:
            self._renew()
            return Verdict("the engine gives up")

    @contextmanager
    def _deadline(self) -> Iterator[None]:
        self.engine.set_deadline(1)
        timer = Timer(_DEADLINE, self._compiled.engine.increment_epoch)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()  # one that fires late would end the next case
            self.engine.set_deadline(1 << 40)

    def _renew(self) -> None:
        self.engine = Engine(self._compiled)
        self._contents = Contents(self.engine)

    def _misreading(self, case: Case, verdict: Verdict, analysed: Analysed) -> str:
        """Say what the facts miss; empty where they miss nothing."""
        known = {
            (use.column.table.table.lower(), use.column.path[0].lower())
            for use in analysed.facts.columns
        }
        for table, column in verdict.columns:
            if (table.lower(), column.lower()) not in known:
                return f"`{table}.{column}` is scanned and not in the facts"
        if not self._compare:
            return ""
        try:
            with self._deadline():
                return self._difference(case, analysed)
        except EngineDiedError:
            self._renew()
            return ""

    def _difference(self, case: Case, analysed: Analysed) -> str:
        answer = difference(
            self._contents, self.engine, case.golden.sql, case.tables, analysed.facts
        )
        if answer is None:
            return ""
        self.tally.compared += 1
        return answer


def _general(message: str) -> str:
    """Take names and places out of a message, so that like ones are counted together."""
    text = re.sub(r" at \[\d+:\d+\].*", "", message, flags=re.DOTALL)
    return text.split("\n")[0][:110]


def of_googlesql(folder: Path, engine: Engine) -> Iterator[Case]:
    """Give the cases of a checkout of GoogleSQL."""
    samples = tuple(defined(engine, SAMPLE_CATALOG, PROJECT, DATASET))
    known = tuple(parameters_of(engine, PARAMETERS))
    for golden in goldens(folder / "googlesql/analyzer/testdata"):
        yield Case(golden, samples, known)
    tables: dict[str, Table] = {}
    file = ""
    for golden in goldens(folder / "googlesql/compliance/testdata"):
        if golden.file != file:
            file, tables = golden.file, {}
        if "prepare_database" in golden.options and (table := _prepared(engine, golden.sql)):
            tables[table.id.table] = table
        given = tuple(_given(engine, golden.options.get("parameters", "")))
        yield Case(golden, tuple(tables.values()), given)


_CREATE = re.compile(r"CREATE\s+TABLE\s+(\w+)\s+AS\s+(.*)", re.IGNORECASE | re.DOTALL)
_OTHER_TYPES = {r"\bU?INT(32|64)\b": "INT64", r"\b(FLOAT|DOUBLE)\b": "FLOAT64"}


def _prepared(engine: Engine, sql: str) -> Table | None:
    """Give a table that a compliance test makes, in the nearest types that BigQuery has."""
    found = _CREATE.match(sql)
    if not found:
        return None
    query = found[2].strip().rstrip(";")
    for other, type_ in _OTHER_TYPES.items():
        query = re.sub(other, type_, query, flags=re.IGNORECASE)
    try:
        table = field_of_query(engine, query, TableId(PROJECT, DATASET, found[1]))
    except KeystileError:
        return None
    names = [field.name.lower() for field in table.fields]
    return table if all(names) and len({*names}) == len(names) else None


def _given(engine: Engine, text: str) -> Iterator[Parameter]:
    if not text:
        return
    try:
        table = field_of_query(engine, f"SELECT {text}", TableId(PROJECT, DATASET, "p"))
    except KeystileError:
        return
    for field in table.fields:
        yield Parameter(field.name, field.sql_type, {})
