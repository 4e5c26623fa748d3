"""Looks at some rows of tables, and proposes labels for columns that have none.

INVARIANT: no value leaves this module: what it gives are names, counts and words of its own.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import msgspec

from keystile.gate.column_guess import Guess, Guesser
from keystile.model.errors import NotFoundError
from keystile.model.schema import Field, Mode, Table, TableId, TableKind
from keystile.policy.labels import Path
from keystile.policy.policy import Policy
from keystile.upstream.bigquery import BigQuery

_PARTS = 4
"""From how many places of a table rows are read: the first rows of many are alike."""
_LOOKED_AT = frozenset({"DATE", "DATETIME", "INT64", "JSON", "STRING"})
_TEXTS = frozenset({"INT64", "JSON", "STRING"})
_READ = frozenset({TableKind.TABLE, TableKind.SNAPSHOT})


class Proposal(msgspec.Struct, frozen=True):
    """A label for a column or field, and why."""

    path: Path
    guess: Guess


class Scanned(msgspec.Struct, frozen=True):
    """What came of one table. `labelled` are leaves that have labels, and were not looked at.

    `skipped` says why the table was not read at all.
    """

    table: TableId
    rows: int = 0
    proposals: tuple[Proposal, ...] = ()
    labelled: tuple[tuple[Path, tuple[str, ...]], ...] = ()
    skipped: str = ""


async def scan(
    bigquery: BigQuery, policy: Policy, tables: Sequence[TableId], rows: int
) -> AsyncIterator[Scanned]:
    """Look at `rows` of each table at most, one table after the other, without a query."""
    guesser = Guesser()
    for id_ in tables:
        try:
            table = await bigquery.table(id_)
        except NotFoundError:
            yield Scanned(id_, skipped="is not there")
            continue
        yield await _one(bigquery, policy, guesser, table, rows)


async def _one(
    bigquery: BigQuery, policy: Policy, guesser: Guesser, table: Table, rows: int
) -> Scanned:
    labels = policy.labels(table)
    labelled = tuple(sorted(labels.items()))
    if table.kind not in _READ:
        return Scanned(table.id, labelled=labelled, skipped=f"is a {table.kind}")
    open_ = {path: leaf for path, leaf in _leaves(table.fields) if path not in labels}
    columns = sorted({path[0] for path in open_})
    values: dict[Path, list[str]] = {path: [] for path in open_}
    read = 0
    if columns:
        read = await _read(bigquery, table, columns, rows, values)
    proposals = []
    for path, leaf in open_.items():
        # A number in a text column is looked at as a text; a day has its name alone.
        seen = values[path] if leaf.type in _TEXTS else []
        if guess := guesser.guess(path[-1], leaf.type, seen):
            proposals.append(Proposal(path, guess))
    return Scanned(table.id, read, tuple(proposals), labelled)


async def _read(
    bigquery: BigQuery,
    table: Table,
    columns: Sequence[str],
    rows: int,
    values: dict[Path, list[str]],
) -> int:
    """Read rows from several places of a table, the same for the same table; give their number."""
    part = -(-rows // _PARTS)
    read = start = total = 0
    for number in range(_PARTS):
        if number:
            start = max(start, number * total // _PARTS)
        count = min(part, rows - read, total - start if number else part)
        if count <= 0:
            continue
        page = await bigquery.table_rows(table, columns, start=start, count=count)
        total = page.total_rows
        for row in page.rows:
            for field, cell in zip(page.schema, json.loads(bytes(row))["f"], strict=True):
                for path, text in _cells(field, (field.name,), cell["v"]):
                    if path in values:
                        values[path].append(text)
        start += len(page.rows)
        read += len(page.rows)
    return read


def _leaves(fields: Sequence[Field], above: Path = ()) -> Iterator[tuple[Path, Field]]:
    for field in fields:
        path = (*above, field.name)
        if field.fields:
            yield from _leaves(field.fields, path)
        elif field.type in _LOOKED_AT:
            yield path, field


def _cells(field: Field, path: Path, value: Any) -> Iterator[tuple[Path, str]]:
    """Give every value that is not NULL in a cell, with the path of its leaf."""
    if value is None:
        return
    if field.mode is Mode.REPEATED:
        single = msgspec.structs.replace(field, mode=Mode.NULLABLE)
        for item in value:
            yield from _cells(single, path, item["v"])
    elif field.fields:
        for inner, cell in zip(field.fields, value["f"], strict=True):
            yield from _cells(inner, (*path, inner.name), cell["v"])
    else:
        yield path, str(value)
