"""A second opinion on facts: content that a query does not use cannot change its answer.

All columns and nested fields that the facts do not list get other content; where the reference
evaluator then gives another answer, the facts missed a use.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

from keystile.googlesql.engine import Engine
from keystile.googlesql.messages import service, value_pb2
from keystile.googlesql.protos import analyzer_options, builtin_catalog
from keystile.model.errors import InvalidQueryError
from keystile.model.facts import QueryFacts
from keystile.model.schema import Field, Mode, Table
from prove.judge import add_table

_ROWS = 6

_LITERALS = {
    "BIGNUMERIC": "BIGNUMERIC '0', BIGNUMERIC '1', BIGNUMERIC '2.5', BIGNUMERIC '-3'",
    "BOOL": "TRUE, FALSE, TRUE, FALSE",
    "BYTES": "b'', b'a', b'b', b'ab'",
    "DATE": "DATE '2020-01-01', DATE '2020-01-02', DATE '2021-06-30', DATE '1970-01-01'",
    "DATETIME": "DATETIME '2020-01-01', DATETIME '2020-01-02 03:04:05', DATETIME '1970-01-01'",
    "FLOAT64": "CAST(0 AS FLOAT64), CAST(1 AS FLOAT64), 2.5, -3.25",
    "INT64": "0, 1, 2, 3",
    "INTERVAL": "INTERVAL 1 DAY, INTERVAL 2 MONTH, INTERVAL 3 HOUR",
    "JSON": "JSON '1', JSON '{\"a\": 1}', JSON '[2]', JSON '\"x\"'",
    "NUMERIC": "NUMERIC '0', NUMERIC '1', NUMERIC '2.5', NUMERIC '-3'",
    "STRING": "'a', 'b', 'ab', '1'",
    "TIME": "TIME '00:00:00', TIME '01:02:03', TIME '12:00:00'",
    "TIMESTAMP": "TIMESTAMP '2020-01-01', TIMESTAMP '2020-01-02', TIMESTAMP '1970-01-01'",
}


class Contents:
    """Makes the cells of tables, with values that the engine itself wrote."""

    def __init__(self, engine: Engine) -> None:
        """`engine` evaluates."""
        self._engine = engine
        self._pools: dict[str, list[Any]] = {}

    def cell(self, field: Field, path: tuple[str, ...], used: set[str], seed: str) -> Any:
        """Make one cell; leaves whose dotted path is not in `used` get a seed of their own."""
        path = (*path, field.name.lower())
        inner = [".".join(leaf) for leaf in _leaves(field, path[:-1])]
        if not any(leaf in used for leaf in inner):
            seed = f"other {seed}"
        proto = value_pb2.ValueProto()
        if field.mode is Mode.REPEATED:
            proto.array_value.SetInParent()
            for index in range(_chosen(f"{seed} {path}", 4)):
                element = self._single(field, path, used, f"{seed} {index}")
                proto.array_value.element.append(element)
            return proto
        return self._single(field, path, used, seed)

    def _single(self, field: Field, path: tuple[str, ...], used: set[str], seed: str) -> Any:
        proto = value_pb2.ValueProto()
        choice = _chosen(f"{seed} {path}", 8)
        if choice == 0 and field.mode is not Mode.REPEATED:
            return proto  # NULL
        if field.type == "STRUCT":
            proto.struct_value.SetInParent()
            for inner in field.fields:
                proto.struct_value.field.append(self.cell(inner, path, used, seed))
            return proto
        pool = self._pool(field.type)
        return pool[choice % len(pool)] if pool else proto

    def _pool(self, type_: str) -> list[Any]:
        if type_ not in self._pools:
            literals = _LITERALS.get(type_)
            self._pools[type_] = self._evaluated(literals) if literals else []
        return self._pools[type_]

    def _evaluated(self, literals: str) -> list[Any]:
        request = service.EvaluateQueryRequest(sql=f"SELECT {literals}")
        request.registered_catalog_id = self._engine.registered(builtin_catalog(self._engine))
        request.options.CopyFrom(analyzer_options(self._engine))
        answer = self._engine.call("EvaluateQuery", request, service.EvaluateQueryResponse)
        return list(answer.content.table_data.row[0].cell)


def difference(
    contents: Contents, engine: Engine, sql: str, tables: Iterable[Table], facts: QueryFacts
) -> str | None:
    """Say how the answer changes with what the facts do not list; empty where it does not.

    None where the evaluator cannot run the query, or gives two answers for the same content.
    """
    used: dict[str, set[str]] = {}
    for use in facts.columns:
        path = ".".join(use.column.path).lower()
        used.setdefault(use.column.table.table.lower(), set()).add(path)
    named = {id_.table.lower() for id_ in facts.reads}
    several = [table for table in tables if table.id.table.lower() in named]
    every = {
        table.id.table.lower(): {
            ".".join(leaf) for field in table.fields for leaf in _leaves(field, ())
        }
        for table in several
    }
    first = _answer(contents, engine, sql, several, every)
    if not isinstance(first, list):
        return None
    second = _answer(contents, engine, sql, several, used)
    if first == second or first != _answer(contents, engine, sql, several, every):
        return "" if first == second else None
    return f"the answer changes with columns that the facts do not list: {sql[:300]}"


def _answer(
    contents: Contents, engine: Engine, sql: str, tables: list[Table], used: dict[str, set[str]]
) -> list[bytes] | str:
    request = service.EvaluateQueryRequest(sql=sql)
    catalog = builtin_catalog(engine)
    for table in tables:
        add_table(catalog, table)
        data = request.table_content[table.id.table].table_data
        data.SetInParent()
        name = table.id.table.lower()
        for number in range(_ROWS):
            row = data.row.add()
            row.cell.extend(
                contents.cell(field, (), used.get(name, set()), f"{name} {number}")
                for field in table.fields
            )
    request.simple_catalog.CopyFrom(catalog)
    request.options.CopyFrom(analyzer_options(engine))
    try:
        answer = engine.call("EvaluateQuery", request, service.EvaluateQueryResponse)
    except InvalidQueryError as error:
        return error.message
    return sorted(
        row.SerializeToString(deterministic=True) for row in answer.content.table_data.row
    )


def _leaves(field: Field, path: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    path = (*path, field.name.lower())
    if not field.fields:
        yield path
    for inner in field.fields:
        yield from _leaves(inner, path)


def _chosen(seed: str, limit: int) -> int:
    # Not a checksum such as CRC-32: with that, another seed only puts the rows in another order.
    return int.from_bytes(blake2b(seed.encode(), digest_size=8).digest()) % limit
