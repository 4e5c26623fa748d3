"""Puts the queries of a benchmark such as TPC-DS through analysis, masking and proof.

A folder holds `schema.sql`, with a CREATE TABLE for each table, and the queries, one to a file, in
BigQuery's dialect. All that a query uses of any table is masked, so that every scan must be.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles
from typing import NamedTuple

from keystile.analysis.analysed import Analysed
from keystile.analysis.analyst import Analyst
from keystile.analysis.statement import Statement
from keystile.googlesql.engine import Engine
from keystile.googlesql.inline import InlineRunner
from keystile.masking.keyed import always
from keystile.masking.rewrite import Rewriter
from keystile.model.decision import ColumnMask
from keystile.model.errors import KeystileError
from keystile.model.masks import KeyedHashMask, Mask, NullMask
from keystile.model.schema import ColumnRef, Table
from prove.cases import DATASET, PROJECT, Named
from prove.judge import defined

_KEY = bytes(range(32))
SCHEMA = "schema.sql"
_CREATE = re.compile(r"CREATE TABLE (\w+) \((.*?)\);", re.IGNORECASE | re.DOTALL)


class Benchmark(NamedTuple):
    """What came of the queries in a folder. `refused` says why, by the file's name."""

    queries: int
    analysed: int
    proved: int
    refused: dict[str, str]
    milliseconds: list[float]

    def summary(self) -> dict[str, object]:
        """Give the figures of the last line; the times are the processor's, for the analysis."""
        cuts = quantiles(self.milliseconds, n=100) if len(self.milliseconds) > 1 else [0.0] * 99
        return {
            "queries": self.queries,
            "analysed": self.analysed,
            "proved": self.proved,
            "analysis_p50_cpu_ms": round(cuts[49], 1),
            "analysis_p99_cpu_ms": round(cuts[98], 1),
        }


def measured(folder: Path) -> Benchmark:
    """Analyse every query of a folder, mask what it uses, and prove it."""
    runner = InlineRunner()
    analyst, rewriter = Analyst(runner, 262_144), Rewriter(runner, always(_KEY))
    tables = _tables(folder)
    source = Named(tables)
    asyncio.run(analyst.analyse(Statement("SELECT 1", PROJECT, DATASET), source))
    queries = sorted(path for path in folder.glob("*.sql") if path.name != SCHEMA)
    refused: dict[str, str] = {}
    milliseconds = []
    analysed = proved = 0
    for path in queries:
        text = path.read_text(encoding="utf-8")
        started = time.process_time()
        try:
            found = asyncio.run(analyst.analyse(Statement(text, PROJECT, DATASET), source))
            milliseconds.append(1000 * (time.process_time() - started))
            analysed += not found.facts.opaque
            rewritten = asyncio.run(rewriter.rewrite(found, tuple(_masks(found, tables))))
        except KeystileError as error:
            refused[path.name] = error.message
            continue
        missing = {*found.facts.reads} - {column.table for column in rewritten.masked}
        if missing:
            refused[path.name] = f"nothing of `{min(missing)}` is masked"
        else:
            proved += 1
    return Benchmark(len(queries), analysed, proved, refused, milliseconds)


def _tables(folder: Path) -> tuple[Table, ...]:
    text = (folder / SCHEMA).read_text(encoding="utf-8")
    definitions = dict(_CREATE.findall(text))
    return tuple(defined(Engine(), definitions, PROJECT, DATASET))


def _masks(found: Analysed, tables: tuple[Table, ...]) -> Iterator[ColumnMask]:
    """Mask what the query uses, and of each table one more column: it may only count the rows."""
    for table in tables:
        if table.id in found.facts.reads:
            used = {
                use.column.path[0] for use in found.facts.columns if use.column.table == table.id
            }
            for field in table.fields:
                if field.name in used or field == table.fields[-1]:
                    mask: Mask = KeyedHashMask() if field.type == "STRING" else NullMask()
                    yield ColumnMask(ColumnRef(table.id, (field.name,)), "secret", mask)
