"""Datasets and tables made, changed and dropped without SQL: decided on as the statement is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from keystile.gate import ddl
from keystile.gate.blank_tables import BlankTables
from keystile.gate.by_statement import ByStatement
from keystile.gate.clustering import Clustering
from keystile.gate.metadata import Metadata
from keystile.gate.visible import VisibleObjects, is_plain, not_found
from keystile.model.principal import Principal
from keystile.model.schema import TableId
from keystile.policy.context import Context
from keystile.policy.policy import Policy
from keystile.upstream.accounts import Accounts
from keystile.wire.requests import QueryRequest
from keystile.wire.resources import NewDataset, NewTable
from keystile.wire.responses import Resource
from keystile.wire.updates import Update, dataset_changed, table_changed


class Changes:
    """Answers insert, patch, update and delete of datasets and of tables.

    Every method raises what its statement would be refused with, and `JobFailedError` where
    BigQuery refuses it.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what carries changes out, and what tells of them
        self,
        statements: ByStatement,
        blank_tables: BlankTables,
        clustering: Clustering,
        metadata: Metadata,
        accounts: Accounts,
        policy: Callable[[], Policy],
    ) -> None:
        """Answer with what `metadata` then says."""
        self._statements = statements
        self._blank_tables = blank_tables
        self._clustering = clustering
        self._metadata = metadata
        self._accounts = accounts
        self._policy = policy

    async def create_dataset(self, principal: Principal, new: NewDataset) -> Resource:
        """Make a dataset, and give it as datasets.get does."""
        request = QueryRequest(ddl.create_dataset(new), new.project, location=new.location)
        await self._statements.done(principal, request, f"making `{new.dataset}`")
        return await self._metadata.dataset(principal, new.project, new.dataset)

    async def update_dataset(
        self, principal: Principal, project: str, dataset: str, update: Update
    ) -> Resource:
        """Change a dataset, and give it as datasets.get does."""
        now = await self._metadata.dataset(principal, project, dataset)
        changed = dataset_changed(now, update)
        if changed.is_nothing:
            return now
        request = QueryRequest(ddl.alter_dataset(project, dataset, changed), project)
        await self._statements.done(principal, request, f"changing `{dataset}`")
        return await self._metadata.dataset(principal, project, dataset)

    async def delete_dataset(
        self, principal: Principal, project: str, dataset: str, *, contents: bool
    ) -> None:
        """Drop a dataset; one that holds something only with `contents`."""
        await self._metadata.dataset(principal, project, dataset)
        sql = ddl.drop_dataset(project, dataset, contents=contents)
        request = QueryRequest(sql, project)
        await self._statements.done(principal, request, f"dropping `{dataset}`")

    async def create_table(self, principal: Principal, new: NewTable) -> Resource:
        """Make a table or a view, and give it as tables.get does."""
        id_ = new.id
        if new.fields or new.query:
            request = QueryRequest(ddl.create_table(new), id_.project)
            await self._statements.done(principal, request, f"making `{id_}`")
        else:
            await self._blank_tables.make(principal, new)
        return await self._metadata.table(principal, id_.project, id_.dataset, id_.table)

    async def update_table(self, principal: Principal, id_: TableId, update: Update) -> Resource:
        """Change a table or a view, and give it as tables.get does.

        New columns, options and each key are statements of their own, and what the table is
        clustered by goes last. Where only the first was carried out, the same request later finds
        it done, and goes on with the second.
        """
        now = await self._metadata.table(principal, id_.project, id_.dataset, id_.table)
        changed = table_changed(now, update)
        if changed.is_nothing:
            return now
        for sql in tuple(ddl.alter_table(id_, str(now.get("type")), changed)):
            request = QueryRequest(sql, id_.project)
            await self._statements.done(principal, request, f"changing `{id_}`")
        if changed.clustering is not None:
            await self._clustering.set(principal, id_, changed.clustering)
        return await self._metadata.table(principal, id_.project, id_.dataset, id_.table)

    async def delete_table(self, principal: Principal, id_: TableId) -> None:
        """Drop a table, a view or whatever has this name."""
        if not is_plain(id_):
            raise not_found(id_)
        context = Context(id_.project, datetime.now(UTC))
        policy = self._policy()
        bigquery = await self._accounts.of(policy.connection_of(principal))
        objects = VisibleObjects(bigquery, policy, principal, context)
        kind = (await objects.table(id_)).kind
        request = QueryRequest(ddl.drop_table(id_, kind), id_.project)
        await self._statements.done(principal, request, f"dropping `{id_}`")
