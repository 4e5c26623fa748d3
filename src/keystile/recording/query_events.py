"""Events of queries: what was asked, by whom, and what became of it."""

from __future__ import annotations

from typing import Any

import msgspec

from keystile.recording.decided import DecisionBody, RestsOnBody


class SentRowBody(msgspec.Struct, frozen=True, kw_only=True):
    """A row that the agent sent without SQL: `json` is its object as text, digit by digit."""

    json: str = ""
    insert_id: str = ""


class PrincipalBody(msgspec.Struct, frozen=True, kw_only=True):
    """What the agent's token and the registry said of it then, as policy decides on it.

    `address` and `client` are of the request: where it came from, and its `User-Agent`.
    """

    issuer: str = ""
    subject: str = ""
    service_account: str = ""
    groups: tuple[str, ...] = ()
    attributes: dict[str, str] = {}
    address: str = ""
    client: str = ""


class RunsAsBody(msgspec.Struct, frozen=True, kw_only=True):
    """Whose queries they are at BigQuery: a connection's name, and its account's.

    Never a key or its id: who reads recordings has no use for one.
    """

    connection: str = ""
    account: str = ""


class IntentBody(msgspec.Struct, frozen=True, kw_only=True):
    """`intent`: a query that is about to run or to wait, written before BigQuery runs it.

    `on_behalf_of` is the person for whom the agent asked, where its token names one; `parameters`
    are as the client sent them; `into` is where the result goes, where the client says
    so, with its dispositions; `masked` names the masked columns; `rewritten_sql` is what BigQuery
    gets; `digest` is what an approval binds to; `bytes_estimate` is the dry run's; `request` has
    `project`, `default_project`, `default_dataset`, `job_id`, `location` and `dry_run`, and the
    `session` at BigQuery, if there is one.
    One with `script`, a `job_id` too, is a statement of that script, which has run: it is written
    before its rows or its error are told.

    Of rows that are put into a table without SQL, `sent` has them all and `sql` says what that is;
    `request` has `project`, `method`, `skip_invalid_rows`, `ignore_unknown_values`, and the whole
    `statement` that was decided on.
    Of a table that is made without columns it has `project`, `method` and the `table` that is sent.
    """

    sql: str = ""
    principal: PrincipalBody = PrincipalBody()
    on_behalf_of: str = ""
    parameters: tuple[Any, ...] = ()
    into: str = ""
    statement: str = ""
    actions: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    decision: DecisionBody = DecisionBody()
    rests_on: RestsOnBody = RestsOnBody()
    runs_as: RunsAsBody = RunsAsBody()
    masked: tuple[str, ...] = ()
    rewritten_sql: str = ""
    digest: str = ""
    bytes_estimate: int | None = None
    request: dict[str, Any] = {}
    sent: tuple[SentRowBody, ...] = ()


class RefusedBody(msgspec.Struct, frozen=True, kw_only=True):
    """`refused`: a query that never ran. `reason` is BigQuery's word, such as `accessDenied`.

    `unmaskable` tells that policy did not deny it, but its masks or filters could not be put in.
    """

    sql: str = ""
    principal: PrincipalBody = PrincipalBody()
    on_behalf_of: str = ""
    parameters: tuple[Any, ...] = ()
    into: str = ""
    reason: str = ""
    message: str = ""
    statement: str = ""
    actions: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    decision: DecisionBody | None = None
    rests_on: RestsOnBody = RestsOnBody()
    runs_as: RunsAsBody = RunsAsBody()
    request: dict[str, Any] = {}
    unmaskable: bool = False
    sent: tuple[SentRowBody, ...] = ()


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """Why a job ended without a result."""

    reason: str = ""
    message: str = ""


class RowFaultBody(msgspec.Struct, frozen=True, kw_only=True):
    """What BigQuery says is wrong with a row; `location` is the column."""

    reason: str = ""
    location: str = ""
    message: str = ""


class BadRowBody(msgspec.Struct, frozen=True, kw_only=True):
    """A row that was sent and is not in the table; `index` is its place in `sent`, from 0."""

    index: int = 0
    faults: tuple[RowFaultBody, ...] = ()


class FindingBody(msgspec.Struct, frozen=True, kw_only=True):
    """So many values of `entity` were found and masked in one column of the rows.

    `label` is the one that the policy gives such values, `columns` are the unlabelled ones of
    tables that they may come from.
    """

    column: str = ""
    entity: str = ""
    label: str = ""
    count: int = 0
    columns: tuple[str, ...] = ()


class OutcomeBody(msgspec.Struct, frozen=True, kw_only=True):
    """`outcome`: how a job ended, written before the first byte of its result is released.

    `state` is `done`, `failed`, `cancelled`, `denied` or `expired`. `schema` is a list of BigQuery
    fields (`name`, `type`, and `mode` and `fields` where they matter; `masked` names the masked
    columns that a field's values come from), `rows` the first page as
    BigQuery's JSON rows, as the agent got them. Of rows that were sent, `bad_rows` are those that
    are not in the table. `found` says what was masked in `rows` because no label covers it. Times
    are UTC seconds since the epoch.
    """

    state: str = ""
    error: ErrorBody | None = None
    schema: tuple[dict[str, Any], ...] = ()
    rows: tuple[Any, ...] = ()
    total_rows: int | None = None
    bytes_processed: int | None = None
    bytes_billed: int | None = None
    upstream_job: str = ""
    started_at: float | None = None
    ended_at: float | None = None
    bad_rows: tuple[BadRowBody, ...] = ()
    found: tuple[FindingBody, ...] = ()


class PageBody(msgspec.Struct, frozen=True, kw_only=True):
    """`page`: further rows that were released; the first has index `start` in the result.

    `found` is as in an outcome.
    """

    start: int = 0
    rows: tuple[Any, ...] = ()
    found: tuple[FindingBody, ...] = ()
