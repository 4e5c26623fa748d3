"""The task of this room that runs beside an engine: splice, resolve anew, prove."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any
from weakref import WeakKeyDictionary

import msgspec

from keystile.analysis.mentions import Mention
from keystile.analysis.parsing import statement_tree
from keystile.analysis.resolve import ResolveRequest, Scan, resolved_tree
from keystile.analysis.scope import Declared, Scope, fully_spelled
from keystile.analysis.statements import walk_statement
from keystile.googlesql.engine import Engine
from keystile.googlesql.protos import unwrapped
from keystile.googlesql.task import Task
from keystile.masking import custom, keyed, placeholders, pseudo
from keystile.masking.filters import predicate
from keystile.masking.masked_reads import Template, lowered, normal
from keystile.masking.proof import prove
from keystile.masking.same import same_query
from keystile.masking.splice import ProtectedTable, spliced
from keystile.masking.within import Within
from keystile.model.decision import RowFilter
from keystile.model.errors import InvalidQueryError, RefusedError
from keystile.model.facts import OutputColumn, WrittenColumn
from keystile.model.masks import Mask, SqlMask
from keystile.model.schema import ColumnRef, Parameter, Table, TableId, TableKind


class MaskedColumn(msgspec.Struct, frozen=True):
    """A column or nested field of a table, and the mask that it gets."""

    table: TableId
    path: tuple[str, ...]
    mask: Mask


class MaskRequest(msgspec.Struct, frozen=True):
    """A statement in canonical spelling with what its analysis found, and the masks.

    The parameters of `scope` include those of keyed masks; `given` are the agent's own, where
    the statement writes.
    """

    sql: str
    scope: Scope
    scans: tuple[Scan, ...]
    output: tuple[OutputColumn, ...]
    masks: tuple[MaskedColumn, ...]
    written: tuple[WrittenColumn, ...] = ()
    mentions: tuple[Mention, ...] = ()
    filters: tuple[RowFilter, ...] = ()
    given: tuple[Parameter, ...] = ()


class MaskedQuery(msgspec.Struct, frozen=True):
    """The rewritten and proved text."""

    sql: str


def mask_query(engine: Engine, request: MaskRequest) -> MaskedQuery:
    """Rewrite the query so that every masked column is read masked, and prove it.

    Raises `RefusedError` where that cannot be done.
    """
    tree = statement_tree(engine, request.sql)
    protected = [_filtered(engine, table, request) for table in _protected(request, tree)]
    sql = spliced(request.sql, tree, request.scans, protected, request.mentions)
    try:
        _prove(engine, request, sql, protected)
    except InvalidQueryError as error:
        if any(table.renamed for table in protected):
            raise pseudo.not_served().at(_first_place(request)) from error
        raise RefusedError(
            # Not why, in the engine's words: they are about a text that the agent has not written.
            "the masked form of this query is not valid",
            hint="write it in a simpler way",
            place=_first_place(request),
        ) from error
    return MaskedQuery(sql)


MASK = Task(mask_query, MaskRequest, MaskedQuery)
"""Put masks into a query and prove it."""


def _protected(request: MaskRequest, tree: Any) -> list[ProtectedTable]:
    tables = {spelled.table.id: spelled.table for spelled in request.scope.tables}
    # INVARIANT: of INFORMATION_SCHEMA nobody reads all rows, masks or not.
    masks: dict[TableId, dict[tuple[str, ...], Mask]] = {
        id_: {} for id_, table in tables.items() if table.kind is TableKind.METADATA
    }
    # INVARIANT: of a table as it was only columns that it has now are read. The labels of others
    # nobody knows any more; `TO_JSON_STRING(t)` would show them.
    masks |= {scan.table: {} for scan in request.scans if scan.past}
    masks |= {one.table: {} for one in request.filters}
    for column in request.masks:
        masks.setdefault(column.table, {})[column.path] = column.mask
    # A pseudo column has one name in all of the statement, so of those that have any all are read
    # through a subquery where one is.
    read = {scan.table for scan in request.scans}
    with_pseudo = [tables[id_] for id_ in sorted(read) if tables[id_].pseudo_columns]
    renamed: pseudo.Names = {}
    if any(table.id in masks for table in with_pseudo):
        renamed = pseudo.names(tree, with_pseudo)
    if renamed:
        masks |= {table.id: masks.get(table.id, {}) for table in with_pseudo}
    return [ProtectedTable(tables[id_], of_table, dict(renamed)) for id_, of_table in masks.items()]


def _filtered(engine: Engine, table: ProtectedTable, request: MaskRequest) -> ProtectedTable:
    filters = tuple(one for one in request.filters if one.table == table.table.id)
    where = filters and predicate(engine, table.table, filters, table.row)
    return msgspec.structs.replace(table, where=where or "")


def _prove(engine: Engine, request: MaskRequest, sql: str, protected: list[ProtectedTable]) -> None:
    scope = request.scope.in_full()
    read = {scan.table for scan in request.scans}
    templates = {
        str(table.table.id): _template(
            table,
            _projection(engine, table, scope.parameters) if table.table.id in read else b"",
        )
        for table in protected
    }
    statement = resolved_tree(engine, ResolveRequest(sql, scope), prune=False)
    if request.written:
        columns = {(str(one.table), lowered(one.path)): one.mask for one in request.masks}
        try:
            placeholders.check(statement, columns, request.given)
        except RefusedError as error:
            raise error.at(_first_place(request)) from None
    ids = {table.table.id for table in protected}
    expected = sum(scan.table in ids for scan in request.scans)
    try:
        prove(statement, templates, expected, scope.raw_reads())
    except RefusedError as error:
        raise error.at(_first_place(request)) from None
    if any(table.renamed for table in protected):
        original = resolved_tree(engine, ResolveRequest(request.sql, scope), prune=False)
        if not same_query(original, statement, templates):
            raise pseudo.not_served().at(_first_place(request))
    walked = walk_statement(statement, scope)
    if (
        walked.walk.opaque
        or _shape(walked.output) != _shape(request.output)
        or _filled(walked.written) != _filled(request.written)
    ):
        raise RefusedError(
            "the masked form of this query has another result than the query itself",
            hint="write it in a simpler way",
            place=_first_place(request),
        )


def _template(table: ProtectedTable, projection: bytes) -> Template:
    columns = table.columns
    paths = [(name,) for name in columns] if table.where or not table.masks else table.masks
    free = tuple(field.name for field in table.table.fields if field.name not in columns)
    return Template(projection, Within(map(lowered, paths)), free, bool(table.where))


def _first_place(request: MaskRequest) -> tuple[int, int]:
    """Give the place where the agent's text first names a table that has masks."""
    masked = {column.table for column in request.masks}
    places = [(one.line, one.column) for one in request.mentions if one.table in masked]
    return min(places, default=(0, 0))


_templates: WeakKeyDictionary[Engine, OrderedDict[tuple[str, Table], bytes]] = WeakKeyDictionary()
_TEMPLATES_KEPT = 256


def _projection(
    engine: Engine, protected: ProtectedTable, parameters: tuple[Declared, ...]
) -> bytes:
    """Resolve a masking subquery by itself. The same few are asked for again and again."""
    kept = _templates.setdefault(engine, OrderedDict())
    key = (protected.subquery(), protected.table)
    if key not in kept:
        for mask in protected.masks.values():
            if isinstance(mask, SqlMask):
                custom.check(engine, mask)
        names = {name for mask in protected.masks.values() for name in keyed.parameters(mask)}
        hidden = tuple(p for p in parameters if p.name in names)
        scope = Scope((fully_spelled(protected.table),), parameters=hidden)
        request = ResolveRequest(key[0], scope)
        kept[key] = normal(unwrapped(resolved_tree(engine, request, prune=False).query))
        if len(kept) > _TEMPLATES_KEPT:
            kept.popitem(last=False)
    return kept[key]


def _filled(written: tuple[WrittenColumn, ...]) -> list[ColumnRef]:
    return [column.column for column in written]


def _shape(output: tuple[OutputColumn, ...]) -> list[tuple[str, object]]:
    return [(column.name, column.type) for column in output]
