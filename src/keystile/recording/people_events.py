"""Events of what people do: decide on queries, and change what holds for agents."""

from __future__ import annotations

from typing import Any

import msgspec


class VoteBody(msgspec.Struct, frozen=True, kw_only=True):
    """What one person decided, through which door (`console` or `cli`) and when."""

    person: str = ""
    approve: bool = False
    comment: str = ""
    via: str = ""
    at: float = 0.0


class ApprovalRequestedBody(msgspec.Struct, frozen=True, kw_only=True):
    """`approval_requested`: `request` is its id; `demand` and `summary` as in the request."""

    request: str = ""
    demand: dict[str, Any] = {}
    summary: dict[str, Any] = {}


class ApprovalDecidedBody(msgspec.Struct, frozen=True, kw_only=True):
    """`approval_decided`: `state` is `approved`, `denied`, `expired` or `cancelled`."""

    request: str = ""
    state: str = ""
    votes: tuple[VoteBody, ...] = ()


class AgentDisabledBody(msgspec.Struct, frozen=True, kw_only=True):
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


class AgentEnabledBody(msgspec.Struct, frozen=True, kw_only=True):
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


class ConnectionChangedBody(msgspec.Struct, frozen=True, kw_only=True):
    """`connection_changed`: who changed a connection to BigQuery, and when.

    `action` is `add`, `rotate` or `remove`, a command of the `person`, or `replace`: another key
    was found in its `source`, where the settings say; nobody can tell by whom. `account` is the
    connection's at BigQuery, where that is known without asking, and `key` the id that Google has
    for its key. INVARIANT: never a key.
    """

    action: str = ""
    connection: str = ""
    kind: str = ""
    account: str = ""
    key: str = ""
    source: str = ""
    person: str = ""
    via: str = ""
    at: float = 0.0


class LabelsScannedBody(msgspec.Struct, frozen=True, kw_only=True):
    """`labels_scanned`: somebody is about to look at rows, to find columns that need a label.

    Of each of the `tables` so many `rows` at most are read, under the gateway's `connection`.
    """

    person: str = ""
    via: str = ""
    connection: str = ""
    tables: tuple[str, ...] = ()
    rows: int = 0


class LabelsForgottenBody(msgspec.Struct, frozen=True, kw_only=True):
    """`labels_forgotten`: somebody takes the `labels` from a table that it has for what it holds.

    Each is `column: label`.
    """

    person: str = ""
    via: str = ""
    table: str = ""
    labels: tuple[str, ...] = ()


class PolicyPublishedBody(msgspec.Struct, frozen=True, kw_only=True):
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


class PolicyRefusedBody(msgspec.Struct, frozen=True, kw_only=True):
    """`policy_refused`: a policy that a verified token brought and that was not published.

    `message` is why its author wanted it, as far as it was read; `why` is what they were told.
    """

    author: str = ""
    message: str = ""
    digest: str = ""
    why: str = ""
