"""The cases of a checkout of GoogleSQL, with the tables and the parameters that each may name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from keystile.googlesql.engine import Engine
from keystile.model.errors import KeystileError, NotFoundError
from keystile.model.schema import Parameter, Routine, RoutineId, Table, TableId
from prove.goldens import Golden, goldens
from prove.judge import defined, field_of_query, parameters_of
from prove.samples import PARAMETERS, SAMPLE_CATALOG

PROJECT, DATASET = "golden", "tests"


class Case(NamedTuple):
    """A statement with the tables and parameters that it may name."""

    golden: Golden
    tables: tuple[Table, ...]
    parameters: tuple[Parameter, ...]

    @property
    def where(self) -> str:
        """Where the case stands: the file, and the line of it."""
        return f"{self.golden.file}:{self.golden.line}"


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


TESTS = "googlesql/analyzer/testdata"
"""Where the analyser's tests lie in a checkout of GoogleSQL."""


def of_googlesql(folder: Path, engine: Engine) -> Iterator[Case]:
    """Give the cases of a checkout of GoogleSQL."""
    samples = tuple(defined(engine, SAMPLE_CATALOG, PROJECT, DATASET))
    known = tuple(parameters_of(engine, PARAMETERS))
    for golden in goldens(folder / TESTS):
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
