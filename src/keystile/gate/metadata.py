"""Projects, datasets, tables and routines as the policy lets an agent see them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from keystile.gate.pages import page_of_list
from keystile.gate.visible import is_plain, no_routine, not_found
from keystile.model.decision import Effect
from keystile.model.errors import InvalidRequestError, NotFoundError, RefusedError
from keystile.model.facts import Action, QueryFacts
from keystile.model.principal import Principal
from keystile.model.schema import RoutineId, Table, TableId, TableKind
from keystile.policy.context import Context
from keystile.policy.policy import Policy
from keystile.upstream.accounts import Accounts
from keystile.upstream.bigquery import BigQuery
from keystile.upstream.tables import fields_of
from keystile.wire.keys import visible_keys
from keystile.wire.metadata import (
    dataset_list,
    model_list,
    project_list,
    routine_list,
    service_account,
    table_list,
    visible_dataset,
    visible_project,
    visible_routine,
    visible_schema,
    visible_table,
)
from keystile.wire.requests import PageRequest
from keystile.wire.responses import Resource, table_reference

_SIZES = frozenset({"numBytes", "numRows"})


class Metadata:
    """Answers what reads projects, datasets, tables and routines. What policy hides looks absent.

    INVARIANT: lists are cut into pages here, after what is hidden was left out: BigQuery's own
    pages and their tokens tell of what they hold.
    """

    def __init__(self, accounts: Accounts, policy: Callable[[], Policy]) -> None:
        """`policy` gives the snapshot that holds now."""
        self._accounts = accounts
        self._policy = policy

    async def projects(self, principal: Principal, page: PageRequest) -> Resource:
        """Give projects.list: those of the gateway's account in which the agent may do anything."""
        policy = self._policy()
        seen = [
            visible_project(project)
            for project in await (await self._bigquery(principal)).list_projects()
            if policy.may_see_project(
                principal,
                name := _word(project, "projectReference", "projectId"),
                _context(name),
            )
        ]
        listed, token = page_of_list(seen, page, "projects")
        return project_list(listed, len(seen), token)

    async def service_account(self, principal: Principal, project: str) -> Resource:
        """Give projects.getServiceAccount: BigQuery's own account. Raises `NotFoundError`."""
        if not self._policy().may_see_project(principal, project, _context(project)):
            raise _no_project(project)
        try:
            bigquery = await self._bigquery(principal)
            return service_account(await bigquery.get_service_account(project))
        except NotFoundError as error:
            raise _no_project(project) from error

    async def datasets(
        self, principal: Principal, project: str, page: PageRequest, labels: str = ""
    ) -> Resource:
        """Give datasets.list; `labels` is its `filter`."""
        wanted = tuple(_labels(labels))
        seen = [
            visible_dataset(dataset)
            for dataset in await (await self._bigquery(principal)).list_datasets(project)
            if self._sees_dataset(principal, project, _word(dataset, "datasetReference"))
            and all(_has(dataset, *label) for label in wanted)
        ]
        return dataset_list(*page_of_list(seen, page, f"{project}|{labels}"))

    async def dataset(self, principal: Principal, project: str, dataset: str) -> Resource:
        """Give datasets.get. Raises `NotFoundError`."""
        hidden = _no_dataset(project, dataset)
        if not self._sees_dataset(principal, project, dataset):
            raise hidden
        try:
            resource = await (await self._bigquery(principal)).get_dataset(project, dataset)
        except NotFoundError as error:
            raise hidden from error
        _check_name(resource, "datasetReference", {"projectId": project, "datasetId": dataset})
        return visible_dataset(resource)

    async def tables(
        self, principal: Principal, project: str, dataset: str, page: PageRequest
    ) -> Resource:
        """Give tables.list. Raises `NotFoundError`."""
        policy, context = self._policy(), _context(project)
        seen = [
            visible_table(table)
            for table in await self._in_dataset(
                principal,
                project,
                dataset,
                lambda bigquery: bigquery.list_tables(project, dataset),
            )
            if policy.may_see_table(
                principal,
                TableId(project, dataset, _word(table, "tableReference", "tableId")),
                context,
            )
        ]
        listed, token = page_of_list(seen, page, f"{project}.{dataset}")
        return table_list(listed, len(seen), token)

    async def table(self, principal: Principal, project: str, dataset: str, table: str) -> Resource:
        """Give tables.get. Raises `NotFoundError`."""
        id_ = TableId(project, dataset, table)
        policy = self._policy()
        if not is_plain(id_) or not policy.may_see_table(principal, id_, _context(project)):
            raise not_found(id_)
        try:
            bigquery = await self._bigquery(principal)
            resource = await bigquery.get_table(id_)
        except NotFoundError as error:
            raise not_found(id_) from error
        if (spelled := _spelled(id_, resource)) != id_:
            # A dataset that ignores case: policy is asked about the name that BigQuery uses.
            try:
                return await self.table(principal, project, dataset, spelled.table)
            except NotFoundError as error:
                raise not_found(id_) from error
        _check_name(resource, "tableReference", table_reference(id_))
        withheld = _OF_ALL_ROWS
        if not policy.row_filters.are_on(principal, id_):
            withheld = self._telling(bigquery, id_, resource)

        def sees(other: TableId) -> bool:
            """Tell whether the agent may know of another table."""
            return policy.may_see_table(principal, other, _context(project))

        shown = visible_table(resource, withheld)
        if keys := visible_keys(resource.get("tableConstraints") or {}, sees):
            shown |= {"tableConstraints": keys}
        if "schema" not in shown:
            return shown
        defaults = self._defaults(principal, id_, resource)
        return shown | {"schema": visible_schema(shown["schema"], defaults)}

    async def routines(
        self, principal: Principal, project: str, dataset: str, page: PageRequest
    ) -> Resource:
        """Give routines.list: of a dataset that is visible all. Raises `NotFoundError`."""
        found = await self._in_dataset(
            principal, project, dataset, lambda bigquery: bigquery.list_routines(project, dataset)
        )
        return routine_list(*page_of_list(found, page, f"{project}.{dataset}"))

    async def models(
        self, principal: Principal, project: str, dataset: str, page: PageRequest
    ) -> Resource:
        """Give models.list: of a dataset that is visible all. Raises `NotFoundError`."""
        found = await self._in_dataset(
            principal, project, dataset, lambda bigquery: bigquery.list_models(project, dataset)
        )
        return model_list(*page_of_list(found, page, f"{project}.{dataset}"))

    async def routine(self, principal: Principal, id_: RoutineId) -> Resource:
        """Give routines.get. Raises `NotFoundError`.

        INVARIANT: what a routine does is shown to whoever may replace it, and to nobody else: it
        names tables that the agent may not know, and may hold values of them.
        """
        if not self._sees_dataset(principal, id_.project, id_.dataset):
            raise no_routine(id_)
        try:
            resource = await (await self._bigquery(principal)).get_routine(id_)
        except NotFoundError as error:
            raise no_routine(id_) from error
        names = {"projectId": id_.project, "datasetId": id_.dataset, "routineId": id_.routine}
        _check_name(resource, "routineReference", names)
        return visible_routine(resource, text=self._may_replace(principal, id_))

    def _defaults(
        self, principal: Principal, id_: TableId, resource: dict[str, Any]
    ) -> frozenset[str]:
        """Name the columns whose default values are shown: to whoever may change them.

        INVARIANT: of a labelled column none is: it may be what others have as their value.
        """
        actions = (Action.SCHEMA_CHANGE,)
        facts = QueryFacts("ALTER_TABLE", actions, writes=(id_,), unseen=(id_,))
        decision = self._policy().decide(principal, facts, (), _context(id_.project))
        try:
            fields = fields_of(resource.get("schema", {}))
        except RefusedError:
            return frozenset()
        if decision.effect is not Effect.ALLOW:
            return frozenset()
        labelled = self._policy().labels(Table(id_, TableKind.TABLE, fields, ""))
        return frozenset(field.name for field in fields) - {path[0] for path in labelled}

    def _may_replace(self, principal: Principal, id_: RoutineId) -> bool:
        home = TableId(id_.project, id_.dataset, "")
        actions = (Action.ROUTINE, Action.SCHEMA_CHANGE)
        facts = QueryFacts("CREATE_FUNCTION", actions, writes=(home,), unseen=(home,))
        decision = self._policy().decide(principal, facts, (), _context(id_.project))
        return decision.effect is Effect.ALLOW

    async def _in_dataset(
        self,
        principal: Principal,
        project: str,
        dataset: str,
        listed: Callable[[BigQuery], Awaitable[list[dict[str, Any]]]],
    ) -> list[dict[str, Any]]:
        """List what a dataset holds. Raises `NotFoundError` where it is hidden or absent."""
        if not self._sees_dataset(principal, project, dataset):
            raise _no_dataset(project, dataset)
        try:
            return await listed(await self._bigquery(principal))
        except NotFoundError as error:
            raise _no_dataset(project, dataset) from error

    async def _bigquery(self, principal: Principal) -> BigQuery:
        """Give BigQuery under the account of the principal's queries."""
        return await self._accounts.of(self._policy().connection_of(principal))

    def _telling(
        self, bigquery: BigQuery, id_: TableId, resource: dict[str, Any]
    ) -> frozenset[str]:
        """Name what tells of masked values: how long those of a labelled column are, all together.

        What is no plain table may hold rows that were chosen by such values: a materialized view.
        """
        try:
            fields = fields_of(resource.get("schema", {}))
        except RefusedError:
            return _SIZES
        if resource.get("type") != TableKind.TABLE.value:
            return _SIZES
        table = bigquery.noted(Table(id_, TableKind.TABLE, fields, ""))
        labelled = self._policy().labels(table)
        return frozenset({"numBytes"}) if labelled else frozenset()

    def _sees_dataset(self, principal: Principal, project: str, dataset: str) -> bool:
        return self._policy().may_see_dataset(principal, project, dataset, _context(project))


_OF_ALL_ROWS = frozenset({"lastModifiedTime", "numBytes", "numRows"})
"""What tells of rows that are filtered out as well."""


def _context(project: str) -> Context:
    return Context(project, datetime.now(UTC))


def _word(resource: dict[str, Any], reference: str, name: str = "datasetId") -> str:
    return str(resource.get(reference, {}).get(name, ""))


def _no_project(project: str) -> NotFoundError:
    return NotFoundError(f"Not found: Project {project}", hint="check the name, or ask for access")


def _no_dataset(project: str, dataset: str) -> NotFoundError:
    return NotFoundError(
        f"Not found: Dataset {project}:{dataset}", hint="check the name, or ask for access"
    )


def _spelled(id_: TableId, resource: dict[str, Any]) -> TableId:
    """Give a table's name in the letters that BigQuery uses, where it is the same but for case."""
    table = _word(resource, "tableReference", "tableId")
    return TableId(id_.project, id_.dataset, table) if table.lower() == id_.table.lower() else id_


def _check_name(resource: dict[str, Any], reference: str, asked: Mapping[str, object]) -> None:
    """Raise `RefusedError` where BigQuery has another name for what was asked for.

    INVARIANT: policy is decided on the name that BigQuery itself uses. A dataset that ignores case,
    or a project given by number, would slip past rules on names.
    """
    named = {word: _word(resource, reference, word) for word in asked}
    if named != asked:
        raise RefusedError(
            f"BigQuery knows `{'.'.join(map(str, asked.values()))}` under another name",
            hint=f"write `{'.'.join(named.values())}`",
        )


def _labels(text: str) -> Iterator[tuple[str, str | None]]:
    """Read `labels.key:value labels.other`, as datasets.list takes it."""
    for word in text.split():
        field, _, rest = word.partition(".")
        key, colon, value = rest.partition(":")
        if field != "labels" or not key:
            raise InvalidRequestError(
                f"the filter `{word[:100]}` is not understood", hint="write `labels.key:value`"
            )
        yield key, value if colon else None


def _has(resource: dict[str, Any], key: str, value: str | None) -> bool:
    labels = resource.get("labels") or {}
    return key in labels and value in {None, labels[key]}
