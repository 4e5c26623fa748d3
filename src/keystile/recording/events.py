"""What is recorded: one `Event` for each step; what its body says stands with the kinds of events.

The body structs are the documentation of the stored fields and what readers decode them with:
`query_events`, `people_events`, `own_events`. Writers may give them as plain dicts; every field has
a default so that old recordings read.
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
