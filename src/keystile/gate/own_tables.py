"""Tables of an agent's own data, in the hidden dataset in which it finds its results.

At BigQuery an account may load data into the hidden dataset of its results, and clients such as
ibis hand frames to queries by that. One account stands behind many agents here, so each has a
dataset of its own by name, and each table a name at BigQuery that is made of its owner's.

INVARIANT: to all but its owner such a table is absent, whatever it is called and whatever policy
says. It holds nothing but what its owner has sent.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import NamedTuple

from keystile.analysis.names import may_be_own
from keystile.gate.own_jobs import OwnJobs
from keystile.gate.result_tables import RESULT, own_dataset
from keystile.gate.visible import not_found
from keystile.model.errors import NotFoundError, RefusedError
from keystile.model.schema import Table, TableId, TableKind
from keystile.upstream.bigquery import BigQuery
from keystile.upstream.tables import fields_of


class Kept(NamedTuple):
    """Where BigQuery keeps an agent's table, and in which location."""

    at: TableId
    location: str


class OwnTables:
    """Finds them."""

    def __init__(self, jobs: OwnJobs) -> None:
        """`jobs` tell where BigQuery keeps results."""
        self._jobs = jobs

    @staticmethod
    def may_be(owner: str, id_: TableId) -> bool:
        """Tell whether this is the name of a table that the owner may have made."""
        well_named = may_be_own((id_.dataset, id_.table)) and not id_.table.startswith(RESULT)
        return well_named and id_.dataset == own_dataset(owner, id_.project)

    async def place(self, owner: str, bigquery: BigQuery, id_: TableId) -> Kept:
        """Say where a table of the owner's lies, or would, for queries that run so at BigQuery.

        Raises `NotFoundError` where it can be none, `RefusedError` where BigQuery tells no more
        where it keeps the owner's results.
        """
        if not self.may_be(owner, id_):
            raise not_found(id_)
        job = await self._jobs.newest_result(owner, id_.project, bigquery.account)
        status = None
        if job is not None:
            with suppress(NotFoundError):  # its result is gone
                status = await bigquery.wait(job.reference, 0)
        result = status.result if status else None
        # INVARIANT: it is a dataset that no policy opens.
        if job is None or result is None or not result.dataset.startswith("_"):
            raise RefusedError(
                f"where `{id_.dataset}` lies is not known any more", hint="run any query first"
            )
        # INVARIANT: one owner's name for a table is never what another's becomes.
        name = hashlib.sha256(f"{owner}|{id_}".encode()).hexdigest()[:40]
        at = TableId(result.project, result.dataset, f"keystile_{name}")
        return Kept(at, job.location)

    async def table(
        self, owner: str, bigquery: BigQuery, id_: TableId
    ) -> tuple[Table, TableId] | None:
        """Give a table under its owner's name for it, and its name at BigQuery."""
        if not self.may_be(owner, id_):
            return None
        try:
            at = (await self.place(owner, bigquery, id_)).at
            resource = await bigquery.get_table(at)
        except (NotFoundError, RefusedError):
            return None
        fields = fields_of(resource.get("schema", {}))
        return Table(id_, TableKind.TABLE, fields, ""), at
