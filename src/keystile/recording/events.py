"""What is recorded: one `Event` for each step, and the fields that each kind's body has.

The body structs below are the documentation of the stored fields and what readers decode them
with. Writers may give them as plain dicts; every field has a default so that old recordings read.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec


class EventKind(StrEnum):
    """Every kind of event in a recording."""

    INTENT = "intent"
    OUTCOME = "outcome"
    PAGE = "page"
    REFUSED = "refused"
    APPROVAL_REQUESTED = "approval_requested"
    APPROVAL_DECIDED = "approval_decided"
    SIGNED_IN = "signed_in"
    VIEWED = "viewed"
    AGENT_DISABLED = "agent_disabled"
    AGENT_ENABLED = "agent_enabled"
    CONNECTION_CHANGED = "connection_changed"
    LABELS_SCANNED = "labels_scanned"
    LABELS_FORGOTTEN = "labels_forgotten"
    POLICY_PUBLISHED = "policy_published"
    POLICY_REFUSED = "policy_refused"
    RETENTION = "retention"
    RECOVERED = "recovered"
    SCHEMA = "schema"


class Event(msgspec.Struct, frozen=True):
    """One thing that happened. `at` is UTC seconds since the epoch.

    `session`, `agent` and `job` (the gateway's own job id) are empty where none belongs to it.
    """

    kind: EventKind
    at: float
    session: str = ""
    agent: str = ""
    job: str = ""
    body: Mapping[str, Any] = {}


class _Body(msgspec.Struct, frozen=True, kw_only=True):
    pass


class RuleBody(_Body, frozen=True, kw_only=True):
    """One rule that took part in a decision."""

    rule: str = ""
    effect: str = ""
    message: str = ""


class MaskBody(_Body, frozen=True, kw_only=True):
    """A column that the query uses and policy masks; `mask` is the mask as policies write it."""

    column: str = ""
    label: str = ""
    mask: dict[str, Any] = {}


class RowFilterBody(_Body, frozen=True, kw_only=True):
    """A row filter on a table; `where` is the condition as the policy has it."""

    table: str = ""
    rule: str = ""
    where: str = ""


class DemandBody(_Body, frozen=True, kw_only=True):
    """An approval that a rule asks for: `count` people of the groups `approvers`."""

    rule: str = ""
    approvers: tuple[str, ...] = ()
    count: int = 1
    expires_seconds: int = 0
    unmask: tuple[str, ...] = ()


class ShadowBody(_Body, frozen=True, kw_only=True):
    """What a rule, filter or mask in shadow would have done, alone beside all that is enforced.

    `would` is `refuse`, `allow`, `ask`, `unmask`, `mask`, `filter` or `nothing`; `columns` would be
    masked otherwise; `failed` tells that the condition could not be evaluated.
    """

    rule: str = ""
    would: str = ""
    message: str = ""
    columns: tuple[str, ...] = ()
    failed: bool = False

    @property
    def words(self) -> str:
        """Say it for a reader: `would refuse: nothing leaves`."""
        told = "" if self.would == "nothing" else f"would {self.would}"
        failed = "its condition could not be evaluated" if self.failed else ""
        said = ", ".join(filter(None, (told, failed)))
        more = ", ".join(self.columns) or self.message
        return f"{said}: {more}" if more else said


class DecisionBody(_Body, frozen=True, kw_only=True):
    """What policy decided: `effect` is `allow`, `deny` or `require_approval`.

    `masks` are those of the columns that the query uses; `protection` is a digest of all masks and
    row filters, whatever they are on. `limits` are what may be spent, by rule.
    """

    effect: str = ""
    rules: tuple[RuleBody, ...] = ()
    policy_digest: str = ""
    limits: tuple[dict[str, Any], ...] = ()
    masks: tuple[MaskBody, ...] = ()
    approvals: tuple[DemandBody, ...] = ()
    row_filters: tuple[RowFilterBody, ...] = ()
    protection: str = ""
    shadows: tuple[ShadowBody, ...] = ()


class RestsOnBody(_Body, frozen=True, kw_only=True):
    """What a decision rested on beside the query and the agent, so that it can be made again.

    `context` is the request's (`keystile.policy.context`), with the time of the decision. `objects`
    maps the full name of each table, view and routine to the digest of its `schema` event. `beside`
    tells that the query reads results of earlier queries, or tables beside them, which are on
    record nowhere else.
    """

    context: dict[str, Any] | None = None
    objects: dict[str, str] = {}
    beside: bool = False


class SentRowBody(_Body, frozen=True, kw_only=True):
    """A row that the agent sent without SQL: `json` is its object as text, digit by digit."""

    json: str = ""
    insert_id: str = ""


class PrincipalBody(_Body, frozen=True, kw_only=True):
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


class RunsAsBody(_Body, frozen=True, kw_only=True):
    """Whose queries they are at BigQuery: a connection's name, and its account's.

    Never a key or its id: who reads recordings has no use for one.
    """

    connection: str = ""
    account: str = ""


class IntentBody(_Body, frozen=True, kw_only=True):
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


class RefusedBody(_Body, frozen=True, kw_only=True):
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


class ErrorBody(_Body, frozen=True, kw_only=True):
    """Why a job ended without a result."""

    reason: str = ""
    message: str = ""


class RowFaultBody(_Body, frozen=True, kw_only=True):
    """What BigQuery says is wrong with a row; `location` is the column."""

    reason: str = ""
    location: str = ""
    message: str = ""


class BadRowBody(_Body, frozen=True, kw_only=True):
    """A row that was sent and is not in the table; `index` is its place in `sent`, from 0."""

    index: int = 0
    faults: tuple[RowFaultBody, ...] = ()


class FindingBody(_Body, frozen=True, kw_only=True):
    """So many values of `entity` were found and masked in one column of the rows.

    `label` is the one that the policy gives such values, `columns` are the unlabelled ones of
    tables that they may come from.
    """

    column: str = ""
    entity: str = ""
    label: str = ""
    count: int = 0
    columns: tuple[str, ...] = ()


class OutcomeBody(_Body, frozen=True, kw_only=True):
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


class PageBody(_Body, frozen=True, kw_only=True):
    """`page`: further rows that were released; the first has index `start` in the result.

    `found` is as in an outcome.
    """

    start: int = 0
    rows: tuple[Any, ...] = ()
    found: tuple[FindingBody, ...] = ()


class VoteBody(_Body, frozen=True, kw_only=True):
    """What one person decided, through which door (`console` or `cli`) and when."""

    person: str = ""
    approve: bool = False
    comment: str = ""
    via: str = ""
    at: float = 0.0


class ApprovalRequestedBody(_Body, frozen=True, kw_only=True):
    """`approval_requested`: `request` is its id; `demand` and `summary` as in the request."""

    request: str = ""
    demand: dict[str, Any] = {}
    summary: dict[str, Any] = {}


class ApprovalDecidedBody(_Body, frozen=True, kw_only=True):
    """`approval_decided`: `state` is `approved`, `denied`, `expired` or `cancelled`."""

    request: str = ""
    state: str = ""
    votes: tuple[VoteBody, ...] = ()


class AgentDisabledBody(_Body, frozen=True, kw_only=True):
    """`agent_disabled`: who disabled which agent, when and through which door.

    `name` alone stands for all agents that are called so, else `issuer` and `subject` for one.
    `jobs` are those of its jobs, by the gateway's own ids, that ran or waited and are stopped. Of
    jobs that are found later there is another such event.
    """

    name: str = ""
    issuer: str = ""
    subject: str = ""
    person: str = ""
    via: str = ""
    at: float = 0.0
    jobs: tuple[str, ...] = ()


class AgentEnabledBody(_Body, frozen=True, kw_only=True):
    """`agent_enabled`: who let which agent in again, when, why and through which door.

    `name`, or `issuer` and `subject`, are those of the disabling that it ends.
    """

    name: str = ""
    issuer: str = ""
    subject: str = ""
    person: str = ""
    reason: str = ""
    via: str = ""
    at: float = 0.0


class ConnectionChangedBody(_Body, frozen=True, kw_only=True):
    """`connection_changed`: who changed a connection to BigQuery by a command, and when.

    `action` is `add`, `rotate` or `remove`; `account` the connection's at BigQuery, where that is
    known without asking. Never a key or its id.
    """

    action: str = ""
    connection: str = ""
    kind: str = ""
    account: str = ""
    person: str = ""
    via: str = ""
    at: float = 0.0


class LabelsScannedBody(_Body, frozen=True, kw_only=True):
    """`labels_scanned`: somebody is about to look at rows, to find columns that need a label.

    Of each of the `tables` so many `rows` at most are read, under the gateway's `connection`.
    """

    person: str = ""
    via: str = ""
    connection: str = ""
    tables: tuple[str, ...] = ()
    rows: int = 0


class LabelsForgottenBody(_Body, frozen=True, kw_only=True):
    """`labels_forgotten`: somebody takes the `labels` from a table that it has for what it holds.

    Each is `column: label`.
    """

    person: str = ""
    via: str = ""
    table: str = ""
    labels: tuple[str, ...] = ()


class PolicyPublishedBody(_Body, frozen=True, kw_only=True):
    """`policy_published`: who made which version of the policy hold, when, why, by which door.

    `via` is `cli`, `gateway`, or `folder` for what held before anything was published. `restores`
    is the version whose files these are, of a rollback.
    """

    version: int = 0
    digest: str = ""
    author: str = ""
    message: str = ""
    via: str = ""
    at: float = 0.0
    restores: int | None = None


class PolicyRefusedBody(_Body, frozen=True, kw_only=True):
    """`policy_refused`: a policy that a verified token brought and that was not published.

    `message` is why its author wanted it, as far as it was read; `why` is what they were told.
    """

    author: str = ""
    message: str = ""
    digest: str = ""
    why: str = ""


class RemovedSegment(_Body, frozen=True, kw_only=True):
    """One segment that retention took away, and the last record that it held."""

    chain: str
    segment: str
    records: int
    last_seq: int
    last_hash: str


class RetentionBody(_Body, frozen=True, kw_only=True):
    """`retention`: what was purged or archived, and for every chain where it begins since.

    `floors` maps a chain to the last record that is gone from it by retention, now or earlier, so
    that the newest such event alone explains every missing beginning.
    """

    action: str = ""
    removed: tuple[RemovedSegment, ...] = ()
    floors: dict[str, tuple[int, str]] = {}


class RecoveredBody(_Body, frozen=True, kw_only=True):
    """`recovered`: a restart cut an unacknowledged torn end, or left a broken chain alone.

    `cut_bytes` counts what was cut from `segment`; `problem` says why `chain` was left alone.
    """

    chain: str = ""
    segment: str = ""
    cut_bytes: int = 0
    problem: str = ""


class SchemaBody(_Body, frozen=True, kw_only=True):
    """`schema`: a table, view or routine as decisions saw it, named by `digest`.

    `kind` is `table` or `routine`; `object` are all of its fields (`keystile.model.schema`). It is
    written before the first intent that rests on it, once a day by each process.
    """

    digest: str = ""
    kind: str = ""
    object: dict[str, Any] = {}
