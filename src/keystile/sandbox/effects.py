"""What a statement changed, as a job's statistics tell it."""

from __future__ import annotations

import msgspec

from keystile.model.schema import TableId
from keystile.sandbox.routines import routine_reference
from keystile.wire.responses import Resource, table_reference


class Effects(msgspec.Struct, frozen=True):
    """Rows that DML changed, or the thing that DDL did and what it did it to.

    `operation` is BigQuery's `ddlOperationPerformed`: `CREATE`, `REPLACE`, `SKIP`, `DROP`, `ALTER`.
    `destination` is the table that was written.
    """

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    dml: bool = False
    operation: str = ""
    table: TableId | None = None
    routine: TableId | None = None
    dataset: tuple[str, str] | None = None
    destination: TableId | None = None

    @property
    def affected(self) -> int | None:
        """How many rows DML changed; None for what is no DML."""
        return self.inserted + self.updated + self.deleted if self.dml else None

    def statistics(self) -> Resource:
        """Give the fields of `statistics.query`."""
        told: Resource = {}
        if self.dml:
            told["numDmlAffectedRows"] = str(self.affected)
            told["dmlStats"] = {
                "insertedRowCount": str(self.inserted),
                "deletedRowCount": str(self.deleted),
                "updatedRowCount": str(self.updated),
            }
        if self.operation:
            told["ddlOperationPerformed"] = self.operation
        if self.table:
            told["ddlTargetTable"] = table_reference(self.table)
        if self.routine:
            told["ddlTargetRoutine"] = routine_reference(self.routine)
        if self.dataset:
            project, dataset = self.dataset
            told["ddlTargetDataset"] = {"projectId": project, "datasetId": dataset}
        return told
