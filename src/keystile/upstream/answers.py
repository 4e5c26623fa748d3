"""BigQuery's answers, as far as the gateway reads them (fields as in the discovery document)."""

from __future__ import annotations

from typing import Any

import msgspec

from keystile.model.schema import RoutineId, TableId
from keystile.wire.responses import RowsChanged


class Reference(msgspec.Struct, frozen=True, rename="camel"):
    """A table's full name."""

    project_id: str
    dataset_id: str
    table_id: str

    def id(self) -> TableId:
        """Give the name as the model spells it."""
        return TableId(self.project_id, self.dataset_id, self.table_id)


class View(msgspec.Struct, frozen=True, rename="camel"):
    """The text of a view."""

    query: str = ""
    use_legacy_sql: bool = False


class TimePartitioning(msgspec.Struct, frozen=True, rename="camel"):
    """How a table is partitioned by time; without a `field`, by the time of ingestion."""

    field: str = ""


class RangePartitioning(msgspec.Struct, frozen=True, rename="camel"):
    """The column whose ranges a table is partitioned by."""

    field: str = ""


class TableAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """`tables.get`."""

    table_reference: Reference
    type: str
    etag: str = ""
    schema: dict[str, Any] = {}
    view: View = View()
    materialized_view: View = View()
    time_partitioning: TimePartitioning | None = None
    range_partitioning: RangePartitioning = RangePartitioning()


class RoutineReference(msgspec.Struct, frozen=True, rename="camel"):
    """A routine's full name."""

    project_id: str
    dataset_id: str
    routine_id: str

    def id(self) -> RoutineId:
        """Give the name as the model spells it."""
        return RoutineId(self.project_id, self.dataset_id, self.routine_id)


class RoutineAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """`routines.get`."""

    routine_reference: RoutineReference
    routine_type: str = ""
    language: str = ""
    arguments: tuple[dict[str, Any], ...] = ()
    return_type: dict[str, Any] | None = None
    return_table_type: dict[str, Any] | None = None
    definition_body: str = ""
    remote_function_options: dict[str, Any] | None = None
    etag: str = ""


class ListedTableAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """An entry of `tables.list`; the time is in milliseconds since the epoch."""

    table_reference: Reference
    type: str = ""
    creation_time: int = 0
    time_partitioning: TimePartitioning = TimePartitioning()
    range_partitioning: RangePartitioning = RangePartitioning()


class TablesAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """`tables.list`."""

    tables: tuple[ListedTableAnswer, ...] = ()
    next_page_token: str = ""


class DatasetReference(msgspec.Struct, frozen=True, rename="camel"):
    """A dataset's name."""

    dataset_id: str


class ListedDataset(msgspec.Struct, frozen=True, rename="camel"):
    """An entry of `datasets.list`."""

    dataset_reference: DatasetReference


class DatasetsAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """`datasets.list`."""

    datasets: tuple[ListedDataset, ...] = ()
    next_page_token: str = ""


class EntriesAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """Any list, its entries as they came. Each list has the name of its path's last part."""

    projects: list[dict[str, Any]] = []
    datasets: list[dict[str, Any]] = []
    tables: list[dict[str, Any]] = []
    models: list[dict[str, Any]] = []
    routines: list[dict[str, Any]] = []
    next_page_token: str = ""


class DmlStatistics(msgspec.Struct, frozen=True, rename="camel"):
    """`DmlStats`."""

    inserted_row_count: int = 0
    updated_row_count: int = 0
    deleted_row_count: int = 0


class QueryStatistics(msgspec.Struct, frozen=True, rename="camel"):
    """`Job.statistics.query`."""

    statement_type: str = ""
    referenced_tables: list[Reference] = []
    schema: dict[str, Any] = {}
    total_bytes_processed: int = 0
    total_bytes_processed_accuracy: str = ""
    total_bytes_billed: int | None = None
    cache_hit: bool = False
    dml_stats: DmlStatistics | None = None

    @property
    def changed(self) -> RowsChanged | None:
        """How many rows the statement changed, of one that writes."""
        counts = self.dml_stats
        if counts is None:
            return None
        return RowsChanged(
            counts.inserted_row_count, counts.updated_row_count, counts.deleted_row_count
        )


class LoadStatistics(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """`Job.statistics.load`; the numbers are texts."""

    input_files: str | None = None
    input_file_bytes: str | None = None
    output_rows: str | None = None
    output_bytes: str | None = None
    bad_records: str | None = None


class CopyStatistics(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """`Job.statistics.copy`; the numbers are texts."""

    copied_rows: str | None = None
    copied_logical_bytes: str | None = None


class ExtractStatistics(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """`Job.statistics.extract`; the numbers are texts."""

    destination_uri_file_counts: tuple[str, ...] | None = None
    input_bytes: str | None = None


class SessionInfo(msgspec.Struct, frozen=True, rename="camel"):
    """The session that a job runs in."""

    session_id: str = ""


class Statistics(msgspec.Struct, frozen=True, rename="camel"):
    """`Job.statistics`; times are milliseconds since the epoch."""

    query: QueryStatistics = QueryStatistics()
    total_bytes_processed: int = 0
    load: LoadStatistics | None = None
    copy: CopyStatistics | None = None
    extract: ExtractStatistics | None = None
    start_time: float = 0
    end_time: float = 0
    session_info: SessionInfo = SessionInfo()

    @property
    def bytes_billed(self) -> int:
        """What the job is billed for; all that it read where BigQuery does not say."""
        query = self.query
        if query.cache_hit or query.total_bytes_billed is not None:
            return query.total_bytes_billed or 0
        return max(query.total_bytes_processed, self.total_bytes_processed)


class JobState(msgspec.Struct, frozen=True, rename="camel"):
    """`Job.status`."""

    state: str
    error_result: dict[str, Any] | None = None


class JobReference(msgspec.Struct, frozen=True, rename="camel"):
    """A job's name, and where it runs."""

    job_id: str = ""
    location: str = ""


class QueryConfiguration(msgspec.Struct, frozen=True, rename="camel"):
    """`JobConfigurationQuery`: of a job that is done it names the table that holds the result."""

    destination_table: Reference | None = None


class Configuration(msgspec.Struct, frozen=True, rename="camel"):
    """`Job.configuration`."""

    query: QueryConfiguration = QueryConfiguration()


class JobAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """`jobs.get` and `jobs.insert`."""

    status: JobState
    statistics: Statistics = Statistics()
    job_reference: JobReference = JobReference()
    configuration: Configuration = Configuration()


class TableDataAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """`tabledata.list`; rows are kept as they came."""

    total_rows: int
    rows: tuple[msgspec.Raw, ...] = ()


class ResultsAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """`jobs.getQueryResults`; rows are kept as they came."""

    job_complete: bool
    rows: tuple[msgspec.Raw, ...] = ()
    page_token: str = ""
    total_rows: int = 0
    schema: dict[str, Any] = {}
