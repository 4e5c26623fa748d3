"""Rewrites a query so that its masked columns are masked where they are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from keystile.analysis.analysed import Analysed, AnalysedPart
from keystile.analysis.mentions import refused
from keystile.analysis.scope import declared
from keystile.analysis.scripts.parts import Role
from keystile.googlesql.task import TaskRunner
from keystile.masking import filters as row_filters
from keystile.masking import keyed, routines, script, writes
from keystile.masking.derived import carried_down
from keystile.masking.moved import MOVE, MoveRequest, Place
from keystile.masking.task import MASK, MaskedColumn, MaskRequest
from keystile.model.decision import ColumnMask, RowFilter
from keystile.model.errors import OpaqueQueryError, RefusedError
from keystile.model.masks import KEYED, Mask
from keystile.model.schema import ColumnRef, Parameter
from keystile.model.strength import most_protective

_RESERVED = "keystile_"


class Rewritten(msgspec.Struct, frozen=True):
    """What to send to BigQuery.

    `parameters` are the agent's and the added ones; `hidden_parameters` name the added ones, which
    must never be shown. `masked` are the columns that the text reads masked. `parts` are those of a
    script.
    """

    sql: str
    parameters: tuple[Parameter, ...]
    hidden_parameters: tuple[str, ...] = ()
    masked: tuple[ColumnRef, ...] = ()
    parts: tuple[script.RewrittenPart, ...] = ()


class _Masking(NamedTuple):
    """How to mask a statement: the task, the parameters it adds, the columns it reads masked."""

    request: MaskRequest
    added: tuple[Parameter, ...]
    masked: tuple[ColumnRef, ...]


class Rewriter:
    """Puts masks into queries, with an engine to prove the result."""

    def __init__(self, runner: TaskRunner, keys: keyed.KeySource) -> None:
        """`keys` has the secrets of keyed masks, which never stand in a text."""
        self._runner = runner
        self._keys = keys

    async def rewrite(
        self,
        analysed: Analysed,
        masks: tuple[ColumnMask, ...],
        filters: tuple[RowFilter, ...] = (),
    ) -> Rewritten:
        """Give the text that reads every column of `masks` masked, and no rows but by `filters`.

        Without any it is the text itself. Raises `RefusedError` where that cannot be done and
        proved, where a mask would be written over values, and where rows would be copied as they
        are or changed unseen.
        """
        statement = analysed.statement
        _check_parameters(statement.parameters)
        if analysed.facts.opaque:
            found = analysed.facts.opaque[0]
            raise OpaqueQueryError(
                f"{found.what} is not understood",
                hint=found.hint or "leave it out",
                place=(found.line, found.column),
            )
        hidden = await keyed.filled((mask.mask for mask in masks), self._keys)
        if analysed.parts:
            return await self._script(analysed, masks, filters, hidden)
        masking = _masking(analysed, masks, filters, statement.parameters, hidden)
        if masking is None:
            return Rewritten(statement.sql, statement.parameters)
        answer = await self._runner.run(MASK, masking.request)
        return Rewritten(
            sql=answer.sql,
            parameters=(*statement.parameters, *masking.added),
            hidden_parameters=tuple(parameter.name for parameter in masking.added),
            masked=masking.masked,
        )

    async def moved(
        self, analysed: Analysed, rewritten: Rewritten, places: tuple[Place, ...]
    ) -> Rewritten:
        """Name the tables of a rewritten query that lie elsewhere as BigQuery does.

        Raises `RefusedError` where that cannot be done and proved.
        """
        as_it_was = rewritten.sql == analysed.statement.sql
        scope = analysed.scope if as_it_was else analysed.scope.in_full()
        request = MoveRequest(
            sql=analysed.sql if as_it_was else rewritten.sql,
            scope=msgspec.structs.replace(scope, parameters=declared(rewritten.parameters)),
            places=places,
        )
        answer = await self._runner.run(MOVE, request)
        return msgspec.structs.replace(rewritten, sql=answer.sql)

    async def _script(
        self,
        analysed: Analysed,
        masks: tuple[ColumnMask, ...],
        filters: tuple[RowFilter, ...],
        hidden: Mapping[str, Parameter],
    ) -> Rewritten:
        """Mask each part of a script that needs it, and put them in their places."""
        given = analysed.statement.parameters
        own = analysed.session.parameters if analysed.session else given
        begins = analysed.session.begins if analysed.session else 0
        writes.check(analysed, _strongest(carried_down(masks, analysed), analysed))
        maskings: dict[int, _Masking] = {}
        for number, part in enumerate(analysed.parts):
            masking = _masking(part.analysed, masks, filters, given, hidden)
            if masking is not None:
                _check_dynamic(part, masking)
                maskings[number] = masking
        if not maskings:
            parts = script.as_they_run(part.part for part in analysed.parts)
            return Rewritten(
                script.newest(analysed, analysed.sql, {}),
                own,
                parts=script.newest_parts(analysed, parts),
            )
        texts: list[str] = []
        for some in script.together(tuple(masking.request for masking in maskings.values())):
            texts += (await self._runner.run(script.MASK_TEXTS, some)).texts
        masked = dict(zip(maskings, texts, strict=True))
        sql, check = script.with_texts(analysed, masked)
        checked = await self._runner.run(script.CHECK, check)
        sent = [m for n, m in maskings.items() if analysed.parts[n].part.start >= begins]
        added = {p.name: p for masking in sent for p in masking.added}
        return Rewritten(
            sql=script.newest(analysed, sql, masked),
            parameters=(*own, *added.values()),
            hidden_parameters=tuple(added),
            # Of a session, those too that an earlier text has put into what this one reads.
            masked=tuple(sorted({ref for masking in maskings.values() for ref in masking.masked})),
            parts=script.newest_parts(analysed, checked.parts),
        )


def _masking(
    analysed: Analysed,
    masks: tuple[ColumnMask, ...],
    filters: tuple[RowFilter, ...],
    given: tuple[Parameter, ...],
    hidden: Mapping[str, Parameter],
) -> _Masking | None:
    """Say how a statement is masked; None where nothing of it is.

    `given` are all parameters of the query, of which a part of a script may have fewer;
    `hidden` those that masks may need.
    """
    columns = writes.without_key(analysed, _strongest(carried_down(masks, analysed), analysed))
    known = {table.id for table in analysed.tables}
    filters = tuple(one for one in filters if one.table in known)
    past = any(scan.past for scan in analysed.scans)
    if not columns and not analysed.facts.metadata and not past and not filters:
        return None
    routines.check(analysed, columns)
    writes.check(analysed, columns)
    row_filters.check(analysed, filters)
    if not analysed.resolved:
        _check_no_metadata(analysed)
        return None
    read = writes.read(analysed, columns)
    added = _hidden_parameters(analysed, read, given, hidden)
    written = writes.assigned(analysed)
    there = {spelled.table.id for spelled in analysed.scope.tables}  # not what it makes
    request = MaskRequest(
        sql=analysed.sql,
        scope=msgspec.structs.replace(
            analysed.scope, parameters=declared((*analysed.statement.parameters, *added))
        ),
        scans=analysed.scans,
        output=analysed.facts.output,
        written=written,
        masks=tuple(column for column in columns if column.table in there),
        mentions=analysed.mentions,
        filters=tuple(one for one in filters if one.table in there),
        given=given if written else (),
    )
    return _Masking(request, added, tuple(ColumnRef(c.table, c.path) for c in read))


def _hidden_parameters(
    analysed: Analysed,
    read: tuple[MaskedColumn, ...],
    given: tuple[Parameter, ...],
    hidden: Mapping[str, Parameter],
) -> tuple[Parameter, ...]:
    """Give those of the hidden parameters that the masks of what is read need."""
    with_key = [column for column in read if isinstance(column.mask, KEYED)]
    if not with_key:
        return ()
    if any(not parameter.name for parameter in given):
        raise refused(
            analysed.mentions,
            ColumnRef(with_key[0].table, with_key[0].path),
            "{} is masked with a key, which needs named parameters",
            hint="use `@name` instead of `?`",
        )
    names = dict.fromkeys(name for one in with_key for name in keyed.parameters(one.mask))
    return tuple(hidden[name] for name in names)


def _check_parameters(parameters: Iterable[Parameter]) -> None:
    for parameter in parameters:
        if parameter.name.lower().startswith(_RESERVED):
            raise RefusedError(
                f"the parameter name `{parameter.name}` is reserved",
                hint=f"choose one that does not begin with `{_RESERVED}`",
            )


def _check_dynamic(part: AnalysedPart, masking: _Masking) -> None:
    if part.part.role is Role.DYNAMIC and masking.added:
        masks = masking.request.masks
        with_key = (ColumnRef(m.table, m.path) for m in masks if isinstance(m.mask, KEYED))
        raise refused(
            part.analysed.mentions,
            next(with_key, masking.masked[0]),
            "{} is masked with a key, which EXECUTE IMMEDIATE has not",
            hint="write the statement out",
        )


def _check_no_metadata(analysed: Analysed) -> None:
    for view in analysed.facts.metadata:
        raise refused(
            analysed.mentions,
            view,
            "{} is named in a form that cannot be filtered",
            hint="name it in a FROM clause",
        )


def _strongest(masks: tuple[ColumnMask, ...], analysed: Analysed) -> tuple[MaskedColumn, ...]:
    """Give one mask for each column of a table that the statement touches."""
    tables = {table.id: table for table in analysed.tables}
    several: dict[ColumnRef, list[Mask]] = {}
    for mask in masks:
        if mask.column.table in tables:
            several.setdefault(mask.column, []).append(mask.mask)
    return tuple(
        MaskedColumn(column.table, column.path, most_protective(_at_or_above(column, several)))
        for column in sorted(several)
    )


def _at_or_above(column: ColumnRef, masks: dict[ColumnRef, list[Mask]]) -> list[Mask]:
    """Give the masks of a field; those of a STRUCT hold for what lies beneath it."""
    paths = (column.path[:depth] for depth in range(1, len(column.path) + 1))
    return [mask for path in paths for mask in masks.get(ColumnRef(column.table, path), [])]
