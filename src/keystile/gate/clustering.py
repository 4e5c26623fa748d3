"""Columns that the rows of a table are clustered by, changed without SQL.

No statement says that of a table that is there, so it goes to BigQuery as a patch of this field
alone. It is decided on as `ALTER TABLE`.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

from keystile.analysis.text import quoted
from keystile.gate.at_once import AtOnce, Same
from keystile.gate.records import Direct
from keystile.model.errors import KeystileError, RefusedError
from keystile.model.principal import Principal
from keystile.model.schema import TableId
from keystile.policy.policy import Policy
from keystile.upstream.accounts import Accounts
from keystile.upstream.bigquery import BigQuery
from keystile.wire.encode import table_clustering
from keystile.wire.responses import table_reference
from keystile.wire.streaming import BadRow


class Clustering:
    """Changes it by tables.patch."""

    def __init__(self, at_once: AtOnce, accounts: Accounts, policy: Callable[[], Policy]) -> None:
        """Send what `at_once` lets pass; `policy` gives the snapshot that holds now."""
        self._at_once = at_once
        self._accounts = accounts
        self._policy = policy

    async def set(self, principal: Principal, id_: TableId, columns: tuple[str, ...]) -> None:
        """Cluster a table's rows by columns, or by none any more.

        Raises `RefusedError` where ALTER TABLE would be refused or would wait, or a column is
        protected, and what BigQuery refuses the request with.
        """
        path = ".".join(map(quoted, (id_.project, id_.dataset, id_.table)))
        # The engine knows no clustering here; options decide nothing.
        sql = f"ALTER TABLE {path} SET OPTIONS ()"
        said = f"by {', '.join(map(quoted, columns))}" if columns else "by nothing"
        request: dict[str, object] = {
            "project": id_.project,
            "method": "tables.patch",
            "table": {"tableReference": table_reference(id_), **table_clustering(columns)},
        }
        direct = Direct(
            uuid4().hex, principal, f"-- clustering {said}, by tables.patch\n{sql}", request
        )
        try:
            await self._check(principal, id_, columns)
        except KeystileError as error:
            await self._at_once.refuse(direct, error)
            raise
        what = f"changing what `{id_}` is clustered by"
        same = Same(sql, "ALTER_TABLE", id_, what, "make a table with CREATE TABLE … CLUSTER BY")

        async def send(bigquery: BigQuery) -> tuple[BadRow, ...]:
            """Change it; no row can be wrong."""
            await bigquery.cluster_table(id_, columns)
            return ()

        await self._at_once.done(direct, same, send)

    async def _check(self, principal: Principal, id_: TableId, columns: tuple[str, ...]) -> None:
        """Refuse protected columns.

        INVARIANT: the order in which rows are read tells nobody of values that are masked.
        """
        if not columns:
            return
        policy = self._policy()
        bigquery = await self._accounts.of(policy.connection_of(principal))
        labelled = policy.labels(await bigquery.table(id_))
        protected = {path[0].lower() for path in labelled}
        for column in columns:
            if column.partition(".")[0].lower() in protected:
                raise RefusedError(
                    f"`{id_}` is not clustered by `{column[:100]}`, which policy labels: the order"
                    " of its rows would tell of it",
                    hint="leave this column out",
                )
