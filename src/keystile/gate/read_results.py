"""Results of an agent's earlier queries, read by a query of the same agent.

Clients such as bigframes keep no rows: they read the table that holds a query's result by further
queries. INVARIANT: such a query is decided on as if it had the earlier ones in the place of their
names: all that they read, it reads. So what people approved for one plan, they are asked again for
another; and where a mask, a row filter or a label is another one now, the rows are not read at all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from keystile.analysis.analysed import Analysed
from keystile.analysis.catalog import ObjectSource
from keystile.gate.jobs import Job
from keystile.masking.moved import Place
from keystile.model.decision import Decision
from keystile.model.errors import NotFoundError, RefusedError
from keystile.model.facts import Action, ColumnUse, OutputColumn, QueryFacts, Use
from keystile.model.schema import ColumnRef, Table, TableId, TableKind
from keystile.upstream.accounts import Accounts
from keystile.upstream.values import Account

_READING_OWN = frozenset({"CREATE_TABLE_AS_SELECT", "INSERT", "SELECT"})
"""Statements that keep no name of what they read, so that it may have another at BigQuery."""

_AGAIN = "run the query that made it again"

NameT = TypeVar("NameT")


class Finished(Protocol):
    """Where the jobs behind the names of results are found."""

    async def job(self, owner: str, table: TableId) -> Job | None:
        """Give the owner's finished job whose result has this name."""
        ...


FindsOwn = Callable[[TableId], Awaitable[tuple[Table, TableId] | None]]
"""Finds a table of the owner's own data by its name, with what BigQuery calls it."""


class Results:
    """The results that one query names."""

    def __init__(
        self, finished: Finished | None, owner: str, own_tables: FindsOwn | None = None
    ) -> None:
        """Find those of one owner, and of nobody else; without `finished`, none.

        `own_tables` finds what the owner has put beside them.
        """
        self._finished = finished
        self._owner = owner
        self._own_tables = own_tables
        self._jobs: dict[TableId, Job] = {}
        self._own: dict[TableId, TableId] = {}

    async def table(self, id_: TableId) -> Table | None:
        """Give a result, or a table of the owner's own data, where there is one of this name."""
        job = await self._finished.job(self._owner, id_) if self._finished else None
        if job is None or job.outcome is None:
            return await self._own_table(id_)
        self._jobs[id_] = job
        return Table(id_, TableKind.TABLE, job.outcome.schema, "")

    async def _own_table(self, id_: TableId) -> Table | None:
        found = await self._own_tables(id_) if self._own_tables else None
        if found is None:
            return None
        table, self._own[id_] = found
        return table

    def own_read_by(self, analysed: Analysed) -> tuple[Place, ...]:
        """Give the tables of the owner's own data that a query reads, and where they lie.

        Raises `RefusedError` for a statement that changes one, or would keep its name.
        """
        facts = analysed.facts
        if facts.opaque:
            return ()  # as below
        for id_ in self._own:
            if id_ in facts.writes or (
                id_ in facts.reads and (facts.statement not in _READING_OWN or analysed.parts)
            ):
                raise RefusedError(
                    f"`{id_}` lies beside your results, and only SELECT, INSERT and CREATE TABLE AS"
                    " SELECT read it",
                    hint="put its rows into a table of a dataset first",
                )
        return tuple(Place(id_, at) for id_, at in self._own.items() if id_ in facts.reads)

    def read_by(self, analysed: Analysed) -> dict[TableId, Job]:
        """Give those that a query reads.

        Raises `RefusedError` for a query or a result of which it is not known what that means.
        """
        if analysed.facts.opaque:
            return {}  # refused anyway, in words that fit better
        read = {id_: self._jobs[id_] for id_ in analysed.facts.reads if id_ in self._jobs}
        for id_, job in read.items():
            if analysed.facts.statement != "SELECT" or analysed.parts:
                raise RefusedError(
                    f"`{id_}` is the result of a query, and only a SELECT reads one",
                    hint="write the query that made it as a subquery instead",
                )
            if any(scan.past and scan.table == id_ for scan in analysed.scans):
                raise RefusedError(
                    f"`{id_}` is the result of a query, which has no earlier state",
                    hint="leave FOR SYSTEM_TIME out",
                )
            _check_plain(id_, job)
        return read


class Understood(NamedTuple):
    """What a query does, and the tables that it reads, with the queries behind results in it."""

    facts: QueryFacts
    tables: tuple[Table, ...]


async def understood(
    analysed: Analysed,
    read: Mapping[TableId, Job],
    source: ObjectSource,
    own: Collection[TableId] = (),
) -> Understood:
    """Count in what the queries did whose results are read.

    INVARIANT: `own` are tables of the agent's own data: values that derive from them derive from
    nothing, like constants. Raises `RefusedError` where a table that a query behind a result read
    is no longer there, or to be seen.
    """
    facts = _without(analysed.facts, own) if own else analysed.facts
    for id_, job in read.items():
        facts = _with(facts, id_, job)
    elsewhere = {*read, *own}
    tables = {table.id: table for table in analysed.tables if table.id not in elsewhere}
    for id_, job in read.items():
        for behind in job.plan.facts.reads:
            if behind not in tables:
                try:
                    tables[behind] = await source.table(behind)
                except NotFoundError as error:
                    raise _changed(id_) from error
    return Understood(facts, tuple(tables.values()))


def refuse_changed(
    read: Mapping[TableId, Job], decision: Decision, labels: Mapping[str, tuple[str, ...]]
) -> None:
    """Raise `RefusedError` where the rows are not as they would be now.

    More may be masked in them than would be: never less, and never by another mask.
    """
    for id_, job in read.items():
        theirs = job.plan
        columns = [use.column for use in theirs.facts.columns]
        then, now = theirs.decision, decision
        if any(
            labels.get(str(column), ()) != theirs.labels.get(str(column), ()) for column in columns
        ):
            raise _changed(id_)
        masks = {(mask.column, mask.mask) for mask in then.masks}
        for mask in now.masks:
            if _covers_any(mask.column, columns) and (mask.column, mask.mask) not in masks:
                raise _changed(id_)
        tables = set(theirs.facts.reads)
        filters = {one for one in now.row_filters if one.table in tables}
        if not filters <= set(then.row_filters):
            raise _changed(id_)


async def places(
    accounts: Accounts, account: Account, read: Mapping[TableId, Job]
) -> tuple[Place, ...]:
    """Find out where BigQuery keeps these results, for a query that runs under `account`.

    Raises `RefusedError` where it does not any more, or keeps them for another account.
    """
    found = []
    for id_, job in read.items():
        try:
            if job.account != account:
                raise _gone(id_)
            status = await accounts.at(account).wait(job.reference, 0)
        except NotFoundError as error:
            raise _gone(id_) from error
        if status.result is None:
            raise _gone(id_)
        found.append(Place(id_, status.result))
    return tuple(found)


def _check_plain(id_: TableId, job: Job) -> None:
    facts, request = job.plan.facts, job.request
    # INVARIANT: a statement of a script or in a session may read what others have made there, which
    # its facts do not say.
    beside = job.child or request.session or request.creates_session
    if job.error or facts.statement != "SELECT" or request.into or request.transfer or beside:
        raise RefusedError(f"`{id_}` is no result of a SELECT", hint=_AGAIN)
    if facts.metadata or facts.wildcards or facts.routines:
        raise RefusedError(
            f"`{id_}` is the result of a query with a wildcard, a routine or INFORMATION_SCHEMA",
            hint="write that query as a subquery instead",
        )


def _with(facts: QueryFacts, id_: TableId, job: Job) -> QueryFacts:
    """Put what a job's query does in the place of its result."""
    theirs, outcome = job.plan.facts, job.outcome
    width = len(outcome.schema) if outcome else 0
    # The functions that may stand before a query have columns of their own.
    shown = theirs.output[len(theirs.output) - width :]
    behind = {column.name.lower(): column.sources for column in shown}

    def sources(refs: Iterable[ColumnRef]) -> tuple[ColumnRef, ...]:
        found: set[ColumnRef] = set()
        for ref in refs:
            # INVARIANT: a column of which nothing is known derives from all that was read.
            every = tuple(use.column for use in theirs.columns)
            found.update(behind.get(ref.path[0].lower(), every) if ref.table == id_ else (ref,))
        return tuple(sorted(found))

    uses: dict[ColumnRef, set[Use]] = {use.column: set(use.uses) for use in theirs.columns}
    for use in facts.columns:
        for ref in sources((use.column,)):
            uses.setdefault(ref, set()).update(use.uses)
    order = list(Use)
    return msgspec.structs.replace(
        facts,
        actions=tuple(a for a in Action if a in {*facts.actions, *theirs.actions}),
        reads=_both([read for read in facts.reads if read != id_], theirs.reads),
        columns=tuple(
            ColumnUse(ref, tuple(sorted(uses[ref], key=order.index))) for ref in sorted(uses)
        ),
        output=tuple(
            OutputColumn(column.name, column.type, sources(column.sources))
            for column in facts.output
        ),
        functions=_both(facts.functions, theirs.functions),
        uris=_both(facts.uris, theirs.uris),
        connections=_both(facts.connections, theirs.connections),
        views=_both(facts.views, theirs.views),
    )


def _without(facts: QueryFacts, own: Collection[TableId]) -> QueryFacts:
    """Leave tables of the agent's own data out."""

    def sources(refs: Iterable[ColumnRef]) -> tuple[ColumnRef, ...]:
        return tuple(ref for ref in refs if ref.table not in own)

    return msgspec.structs.replace(
        facts,
        reads=tuple(read for read in facts.reads if read not in own),
        columns=tuple(use for use in facts.columns if use.column.table not in own),
        output=tuple(
            msgspec.structs.replace(column, sources=sources(column.sources))
            for column in facts.output
        ),
        written=tuple(
            msgspec.structs.replace(column, sources=sources(column.sources))
            for column in facts.written
        ),
        lineage=tuple(
            msgspec.structs.replace(column, sources=sources(column.sources))
            for column in facts.lineage
        ),
    )


def _both(mine: Iterable[NameT], theirs: Iterable[NameT]) -> tuple[NameT, ...]:
    return tuple(dict.fromkeys((*mine, *theirs)))


def _covers_any(mask: ColumnRef, columns: Iterable[ColumnRef]) -> bool:
    """Tell whether a mask is on one of these columns, or on a STRUCT around or a field in one."""
    return any(
        mask.table == column.table
        and all(a == b for a, b in zip(mask.path, column.path, strict=False))
        for column in columns
    )


def _changed(id_: TableId) -> RefusedError:
    return RefusedError(
        f"what is protected in the rows of `{id_}` has changed since they were read", hint=_AGAIN
    )


def _gone(id_: TableId) -> RefusedError:
    return RefusedError(f"BigQuery no longer keeps the rows of `{id_}`", hint=_AGAIN)
