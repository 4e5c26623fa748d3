"""What goes to BigQuery and what comes back, as frozen values."""

from __future__ import annotations

import msgspec

from keystile.model.errors import KeystileError
from keystile.model.schema import Field, Parameter, TableId, TableKind
from keystile.wire.responses import RowsChanged
from keystile.wire.scripts import StackFrame


class Account(msgspec.Struct, frozen=True):
    """Who the gateway is at BigQuery: a `connection`, and the account that it stands for there.

    `name` is a service account's e-mail, or the audience of a federated identity.
    """

    connection: str = ""
    name: str = ""


NOBODY = Account()
"""The account of what never goes to BigQuery."""


class UpstreamQuery(msgspec.Struct, frozen=True, kw_only=True):
    """One query to run upstream, in exactly this text, or the `transfer` that a job is instead.

    `transfer` is the configuration of a load, copy or extract job, under its kind. `hidden` names
    the parameters that the gateway added itself: their values (key material) appear in no repr, log
    or error. `timeout_ms` is BigQuery's `jobTimeoutMs`; an empty `location` lets BigQuery choose.
    `into` says where the result goes, in the words of the API; empty leaves that to BigQuery.
    `session` is BigQuery's id of the session that it runs in, which `creates_session` asks for.
    """

    project: str
    sql: str
    location: str = ""
    default_project: str = ""
    default_dataset: str = ""
    parameters: tuple[Parameter, ...] = ()
    hidden: frozenset[str] = frozenset()
    labels: dict[str, str] = {}
    maximum_bytes_billed: int | None = None
    use_query_cache: bool = True
    timeout_ms: int | None = None
    transfer: dict[str, object] | None = None
    into: dict[str, object] = {}
    session: str = ""
    creates_session: bool = False

    def __repr__(self) -> str:
        """Show what a reader of a traceback needs; parameter values are never shown."""
        names = ", ".join(parameter.name or "?" for parameter in self.parameters)
        return f"UpstreamQuery(project={self.project!r}, sql={self.sql!r}, parameters=[{names}])"


class ListedTable(msgspec.Struct, frozen=True):
    """A table as a listing names it; `created` is in milliseconds since the epoch.

    `partitioned_by` is the column whose values name its partitions; empty where there is none, and
    where that is the time of ingestion.
    """

    id: TableId
    kind: TableKind
    created: int
    partitioned_by: str = ""


class JobRef(msgspec.Struct, frozen=True):
    """A job's full name upstream. `location` may be empty for the US and EU multi-regions only.

    `moves` tells that it has no rows to be asked for.
    """

    project: str
    job: str
    location: str = ""
    moves: bool = False


class DryRun(msgspec.Struct, frozen=True):
    """What BigQuery says of a statement without running it.

    `referenced_tables` are base tables and views as BigQuery's `referencedTables` lists them.
    `bytes_processed` is its estimate, which is no bound where `is_bound` is false, such as of a
    script or an external table; `location` is where the query would run.
    """

    statement_type: str
    referenced_tables: tuple[TableId, ...]
    schema: tuple[Field, ...]
    bytes_processed: int
    location: str = ""
    is_bound: bool = True


class Page(msgspec.Struct, frozen=True):
    """Some rows of a finished job, each still in BigQuery's JSON (`{"f":[{"v":…}]}`).

    An empty `page_token` marks the last page.
    """

    rows: tuple[msgspec.Raw, ...]
    page_token: str
    total_rows: int
    schema: tuple[Field, ...]


class JobStatus(msgspec.Struct, frozen=True):
    """How a job stands. Until `done`, the other fields mean nothing.

    `error` is set when it failed. `moved` are a transfer's own counts, under its kind; `result` is
    the table in which BigQuery keeps a query's result, `first` its first rows where they were asked
    for, `session` the session that it ran in. Times are UTC seconds since the epoch.
    """

    done: bool
    error: KeystileError | None = None
    schema: tuple[Field, ...] = ()
    total_rows: int = 0
    bytes_processed: int = 0
    bytes_billed: int = 0
    statement_type: str = ""
    cache_hit: bool = False
    changed: RowsChanged | None = None
    moved: dict[str, object] = {}
    result: TableId | None = None
    first: Page | None = None
    session: str = ""
    started: float = 0.0
    ended: float = 0.0


class ScriptJob(msgspec.Struct, frozen=True):
    """A job that BigQuery made of a `statement` or an expression of a script.

    `sql` and `frames`, the innermost first, have texts of the script as it was sent. Until `done`
    the other fields mean nothing. Times are UTC seconds since the epoch.
    """

    job: JobRef
    done: bool
    sql: str
    statement: bool
    frames: tuple[StackFrame, ...] = ()
    error: KeystileError | None = None
    statement_type: str = ""
    bytes_processed: int = 0
    bytes_billed: int = 0
    cache_hit: bool = False
    changed: RowsChanged | None = None
    created: float = 0.0
    started: float = 0.0
    ended: float = 0.0

    @property
    def is_select(self) -> bool:
        """Whether it has a result."""
        return self.statement_type == "SELECT"
