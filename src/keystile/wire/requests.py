"""What a client asks for, as typed data."""

from __future__ import annotations

import msgspec

from keystile.model.schema import Parameter
from keystile.wire.into import Into
from keystile.wire.transfers import Transfer

DEFAULT_TIMEOUT_MS = 10_000
"""How long `jobs.query` and `jobs.getQueryResults` wait when the client does not say."""


class QueryRequest(msgspec.Struct, frozen=True):
    """A job that a client asks for, by jobs.query or by jobs.insert.

    `sql` is the query; with a `transfer` it is no query, and `sql` says it in words. `job_id` is
    empty where the client left the choice; `request_id` makes jobs.query repeatable. Times are
    milliseconds. `max_results` is the size of the first page, None for no wish. `into` is where the
    result goes, where the client says so. `session` is the id of the session that it runs in, also
    of one that it creates, once there is one.
    """

    sql: str
    project: str
    location: str = ""
    default_project: str = ""
    default_dataset: str = ""
    parameters: tuple[Parameter, ...] = ()
    dry_run: bool = False
    use_query_cache: bool = True
    maximum_bytes_billed: int | None = None
    job_timeout_ms: int | None = None
    labels: dict[str, str] = {}
    job_id: str = ""
    request_id: str = ""
    timeout_ms: int = DEFAULT_TIMEOUT_MS
    max_results: int | None = None
    use_int64_timestamp: bool = False
    job_creation_optional: bool = False
    transfer: Transfer | None = None
    into: Into | None = None
    session: str = ""
    creates_session: bool = False


class PageRequest(msgspec.Struct, frozen=True):
    """Which rows, jobs, datasets or tables a client wants next, and how it wants times written.

    `start_index` counts rows from 0; None where the client gave none. `selected_fields` are the
    top-level columns of tabledata.list, empty for all.
    """

    location: str = ""
    page_token: str = ""
    start_index: int | None = None
    max_results: int | None = None
    timeout_ms: int = DEFAULT_TIMEOUT_MS
    use_int64_timestamp: bool = False
    selected_fields: tuple[str, ...] = ()


class JobsRequest(msgspec.Struct, frozen=True):
    """Which of its jobs a client wants listed.

    `state` is `pending`, `running`, `done` or empty for any. Times are milliseconds since 1970,
    both included. `parent` is the id of a script. `full` asks for each job's configuration too.
    """

    state: str = ""
    created_from: int | None = None
    created_until: int | None = None
    parent: str = ""
    full: bool = False
    page_token: str = ""
    max_results: int | None = None
