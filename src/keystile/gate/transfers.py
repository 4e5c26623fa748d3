"""What a load, copy or extract job does, and what goes to BigQuery of it.

Such a job moves whole tables as they are, so nothing in it can be masked: what is protected for the
agent, or has rows that it may not see, is not moved at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from keystile.analysis.analysed import Analysed
from keystile.analysis.lineage import leaves
from keystile.analysis.scope import Scope, SpelledTable
from keystile.analysis.statement import Statement
from keystile.gate import targets
from keystile.gate.visible import VisibleObjects, is_plain, not_found
from keystile.model.decision import Decision
from keystile.model.errors import InvalidRequestError, RefusedError
from keystile.model.facts import Action, ColumnUse, QueryFacts, Redefined, Use
from keystile.model.schema import ColumnRef, Table, TableId, TableKind
from keystile.wire.requests import QueryRequest
from keystile.wire.targets import reference
from keystile.wire.transfers import Transfer

_READ_FROM = frozenset({TableKind.TABLE, TableKind.SNAPSHOT})
_INSTEAD = {
    "copy": "use CREATE TABLE AS SELECT, which copies masked values",
    "extract": "use EXPORT DATA, which exports masked values",
}


async def analyse(transfer: Transfer, request: QueryRequest, objects: VisibleObjects) -> Analysed:
    """Find out what a transfer reads and writes, of what the agent may know of.

    Raises `NotFoundError` for a source that is hidden or absent, `InvalidRequestError` for what is
    no table.
    """
    sources = [await _source(transfer, id_, objects) for id_ in transfer.sources]
    target = await _target(transfer, objects)
    writes = (transfer.destination,) if transfer.destination else ()
    facts = QueryFacts(
        transfer.kind.upper(),
        _actions(transfer, target),
        reads=transfer.sources,
        writes=writes,
        columns=tuple(
            ColumnUse(ref, (Use.OUTPUT,)) for table in sources for ref in _columns(table)
        ),
        unseen=() if target else writes,
        redefined=_redefined(transfer),
        anew=writes if transfer.replaces else (),
        uris=transfer.uris,
    )
    found = [*sources, *([target] if target else [])]
    scope = Scope(tuple(SpelledTable(_path(table.id), table) for table in found))
    statement = Statement(request.sql, request.project, "", ())
    return Analysed(statement, request.sql, scope, facts, resolved=False)


def analyse_own(transfer: Transfer, request: QueryRequest) -> Analysed:
    """Say what it is to put data of one's own into a table that nobody else has.

    It is no more than to query constants: nobody else has their result either. Raises
    `RefusedError` for data that comes from elsewhere.
    """
    if not transfer.upload:
        raise RefusedError(
            f"into `{transfer.destination}` goes only data that a load job brings with it",
            hint="name a table of a dataset instead",
        )
    facts = QueryFacts(transfer.kind.upper(), (Action.READ,))
    statement = Statement(request.sql, request.project, "", ())
    return Analysed(statement, request.sql, Scope(), facts, resolved=False)


def moved(transfer: Transfer, at: TableId) -> Transfer:
    """Name the destination as BigQuery does."""
    asked = {**transfer.configuration, "destinationTable": reference(at)}
    return msgspec.structs.replace(transfer, configuration=asked, destination=at)


def refuse_hidden(transfer: Transfer, decision: Decision) -> None:
    """Raise `RefusedError` where a table to be moved, or replaced, is not all for the agent to see.

    INVARIANT: no value that is masked for an agent, and no row that is filtered out for it, leaves
    its table by a transfer. What an agent brings itself takes the place of no value that it may
    have read masked.
    """
    for mask in decision.masks:
        if mask.column.table in transfer.sources:
            raise RefusedError(
                f"`{mask.column}` is masked for you, and a {transfer.kind} job moves a table as it"
                " is",
                hint=_INSTEAD[transfer.kind],
            )
    for one in decision.row_filters:
        if one.table in transfer.sources:
            raise RefusedError(
                f"some rows of `{one.table}` are not for you, and a {transfer.kind} job moves a"
                " table as it is",
                hint=_INSTEAD[transfer.kind],
            )
    if transfer.replaces and transfer.destination:
        targets.refuse_to_replace(transfer.destination, decision)
        _refuse_masks_over_values(transfer, transfer.destination, decision)


def _refuse_masks_over_values(transfer: Transfer, to: TableId, decision: Decision) -> None:
    for mask in decision.masks:
        if transfer.upload and mask.column.table == to:
            raise RefusedError(
                f"`{mask.column}` is masked for you, and the upload would replace its values",
                hint="append to it, load into another table, or change rows with UPDATE",
            )


def configuration(transfer: Transfer, facts: QueryFacts) -> dict[str, object]:
    """Give the job configuration that is sent."""
    asked = dict(transfer.configuration)
    if facts.writes and Action.SCHEMA_CHANGE not in facts.actions:
        asked |= targets.CREATE_NEVER
    return {transfer.kind: asked}


def _actions(transfer: Transfer, target: Table | None) -> tuple[Action, ...]:
    if transfer.kind == "extract":
        return (Action.READ, Action.EXPORT)
    found = [Action.WRITE]
    if transfer.reshapes or (transfer.creates and target is None):
        found.append(Action.SCHEMA_CHANGE)
    if transfer.kind == "copy":
        found.append(Action.READ)
    elif not transfer.upload:
        # The gateway's own account reads the files, which the agent might not.
        found.append(Action.EXTERNAL)
    return tuple(sorted(found))


async def _source(transfer: Transfer, id_: TableId, objects: VisibleObjects) -> Table:
    if not is_plain(id_):
        raise not_found(id_)
    table = await objects.table(id_)
    if table.kind not in _READ_FROM:
        raise InvalidRequestError(
            f"`{id_}` is of type {table.kind}, which a {transfer.kind} job cannot read",
            hint="read it with a query",
        )
    return table


async def _target(transfer: Transfer, objects: VisibleObjects) -> Table | None:
    if transfer.destination is None:
        return None
    return await targets.target(transfer.destination, objects)


def _redefined(transfer: Transfer) -> tuple[Redefined, ...]:
    to = transfer.destination
    if to is None:
        return ()
    replaced = targets.redefined(to, replaced=transfer.replaces and transfer.reshapes)
    schema = transfer.configuration.get("schema")
    described = _described(schema.get("fields") if isinstance(schema, dict) else ())
    return (*replaced, *(Redefined(ColumnRef(to, path), said) for path, said in described))


def _described(
    fields: object, above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Give the descriptions that a load job's schema gives columns, at any depth."""
    for field in fields if isinstance(fields, list) else ():
        if isinstance(field, dict):
            path = (*above, str(field.get("name")))
            if said := field.get("description"):
                yield path, str(said)
            yield from _described(field.get("fields"), path)


def _columns(table: Table) -> Iterable[ColumnRef]:
    return leaves(ColumnRef(table.id, ()), table.fields) if table.fields else ()


def _path(id_: TableId) -> tuple[str, ...]:
    return (id_.project, id_.dataset, id_.table)
