"""Every table of the control store. The rooms above own the queries on theirs.

Times are UTC seconds since the epoch as floats. JSON columns hold msgspec's encoding of a `model`
value as text, so that they read back to the same frozen value.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

agents = Table(
    "agents",
    metadata,
    # Empty for the gateway's own issuer, whose address may change; its subjects are names.
    Column("issuer", String, primary_key=True),
    Column("subject", String, primary_key=True),
    Column("name", String, nullable=False, index=True),
    Column("groups", Text, nullable=False),
    Column("attributes", Text, nullable=False),
    Column("owner", String, nullable=False, default=""),
    Column("purpose", String, nullable=False, default=""),
    Column("expires_at", Float),
    Column("created_at", Float, nullable=False),
    # Empty for one that nobody has registered, and that has come with a token of its issuer.
    Column("created_by", String, nullable=False, default=""),
    Column("last_seen", Float),
)

disabled_agents = Table(
    "disabled_agents",
    metadata,
    # Either one agent, by issuer and subject as above, or by name all that are called so.
    Column("issuer", String, primary_key=True),
    Column("subject", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("at", Float, nullable=False),
    Column("by", String, nullable=False),
    Column("via", String, nullable=False),
    # When to see again to what they left running; null once nothing is left.
    Column("due_at", Float, index=True),
    # What was found running, and whether its end is sure.
    Column("jobs", Text),
)

people = Table(
    "people",
    metadata,
    Column("name", String, primary_key=True),
    Column("groups", Text, nullable=False),
    Column("created_at", Float, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    # Only the SHA-256 of a token is kept, so that the store cannot be used to sign in.
    Column("digest", String, primary_key=True),
    Column("issuer", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("principal", Text, nullable=False),
    # The keys that it is bound to (RFC 7800).
    Column("confirmation", Text, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    Index("tokens_by_agent", "issuer", "subject"),
)

used_tokens = Table(
    "used_tokens",
    metadata,
    # Of an agent's own token or proof, without its signature.
    Column("digest", String, primary_key=True),
    Column("uses", Integer, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
)

sign_in_links = Table(
    "sign_in_links",
    metadata,
    Column("digest", String, primary_key=True),
    Column("person", String, ForeignKey("people.name"), nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("used_at", Float),
)

console_sessions = Table(
    "console_sessions",
    metadata,
    Column("digest", String, primary_key=True),
    Column("person", String, ForeignKey("people.name"), nullable=False),
    Column("expires_at", Float, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("project", String, nullable=False),
    Column("job_id", String, nullable=False),
    Column("request_id", String, nullable=False, default=""),
    Column("location", String, nullable=False),
    Column("session", String, nullable=False),
    Column("principal", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("state", String, nullable=False),
    Column("error", Text),
    Column("outcome", Text),
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("ended_at", Float),
    Column("lease", String, nullable=False, default=""),
    Column("lease_until", Float, nullable=False, default=0.0),
    # Of a statement of a script: its script's `job_id`, and what else is known of it.
    Column("parent", String, nullable=False, default=""),
    Column("child", Text),
    Column("children", Integer, nullable=False, default=0),
    UniqueConstraint("owner", "project", "job_id"),
    Index("jobs_by_state", "state", "lease_until"),
    Index("jobs_by_request", "owner", "project", "request_id"),
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", String, primary_key=True),
    Column("owner", String, nullable=False, index=True),
    Column("project", String, nullable=False),
    Column("job", Text, nullable=False),
    # Where the bytes go at BigQuery: path and query.
    Column("target", Text, nullable=False),
    Column("begun_at", Float, nullable=False),
    Column("done", Boolean, nullable=False, default=False),
)

query_sessions = Table(
    "query_sessions",
    metadata,
    Column("id", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("project", String, nullable=False),
    Column("location", String, nullable=False),
    # BigQuery's own id of it, which no agent hears.
    Column("upstream", String, nullable=False),
    # Under which of the gateway's accounts it was begun there.
    Column("account", Text, nullable=False),
    Column("default_project", String, nullable=False),
    Column("default_dataset", String, nullable=False),
    Column("texts", Text, nullable=False),
    Column("version", Integer, nullable=False),
    # The job that runs in it, and what that leaves there if it ends well.
    Column("busy", String, nullable=False, default=""),
    Column("pending", Text, nullable=False, default=""),
    # The job after whose failure nobody knows what it holds.
    Column("broken", String, nullable=False, default=""),
    Column("created_at", Float, nullable=False, index=True),
)

inherited_labels = Table(
    "inherited_labels",
    metadata,
    # The table that has the column, and the column's path in lower case, as a JSON array.
    Column("project", String, primary_key=True),
    Column("dataset", String, primary_key=True),
    Column("table", String, primary_key=True),
    Column("path", String, primary_key=True),
    Column("label", String, primary_key=True),
    # The job that writes values there, and the full name of the column that they derive from.
    Column("job", String, primary_key=True, index=True),
    Column("source", String, primary_key=True),
    # Whether they are other values, made of those there.
    Column("derived", Boolean, primary_key=True),
    Column("agent", String, nullable=False),
    Column("noted_at", Float, nullable=False),
    # When other rows took the place of those values; older states of the table still have them.
    Column("replaced_at", Float),
)

connections = Table(
    "connections",
    metadata,
    Column("name", String, primary_key=True),
    Column("settings", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("created_by", String, nullable=False),
)

notes = Table(
    "notes",
    metadata,
    # What commands did, for a gateway to put on record: they write to the store alone.
    Column("id", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("at", Float, nullable=False),
    Column("body", Text, nullable=False),
    Column("due_at", Float, nullable=False, index=True),
)

connection_keys = Table(
    "connection_keys",
    metadata,
    # Of connections in the settings file too, which have no row above.
    Column("connection", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("account", String, nullable=False),
    Column("state", String, nullable=False),
    Column("added_at", Float, nullable=False),
    Column("since", Float, nullable=False),
)

budgets = Table(
    "budgets",
    metadata,
    # A rule, whose budget it is and which one of them: `Limits.account`.
    Column("account", String, primary_key=True),
    # As they were for the last query.
    Column("limits", Text, nullable=False),
)

budget_totals = Table(
    "budget_totals",
    metadata,
    Column("account", String, primary_key=True),
    # `day` or `month`, and when it begins.
    Column("period", String, primary_key=True),
    Column("begins", Float, primary_key=True),
    # Reserved and billed.
    Column("bytes", BigInteger, nullable=False),
    # Whether some of them are of queries whose bytes no agent is told.
    Column("hidden", Boolean, nullable=False),
)

budget_entries = Table(
    "budget_entries",
    metadata,
    Column("job", String, primary_key=True),
    Column("account", String, primary_key=True),
    Column("at", Float, nullable=False),
    # When the day and month begin in which it counts, where these are limited.
    Column("day", Float),
    Column("month", Float),
    # What it has reserved, and what it may be billed.
    Column("bytes", BigInteger, nullable=False),
    Column("most_billed", BigInteger),
    Column("open", Boolean, nullable=False),
    Index("budget_entries_by_account", "account", "at"),
)

approval_requests = Table(
    "approval_requests",
    metadata,
    Column("id", String, primary_key=True),
    Column("job", String, nullable=False, index=True),
    Column("digest", String, nullable=False),
    Column("session", String, nullable=False),
    Column("principal", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("demand", Text, nullable=False),
    Column("state", String, nullable=False, index=True),
    Column("requested_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("closed_at", Float),
)

approval_votes = Table(
    "approval_votes",
    metadata,
    Column("request", String, ForeignKey("approval_requests.id"), primary_key=True),
    Column("person", String, primary_key=True),
    Column("approve", Boolean, nullable=False),
    Column("comment", Text, nullable=False),
    Column("via", String, nullable=False),
    Column("at", Float, nullable=False),
)

policy_versions = Table(
    "policy_versions",
    metadata,
    # The newest one holds. No row is ever changed or removed.
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("digest", String, nullable=False),
    # The policy's files as they are: texts by name.
    Column("files", Text, nullable=False),
    Column("author", String, nullable=False),
    Column("message", String, nullable=False),
    Column("via", String, nullable=False),
    Column("at", Float, nullable=False),
    # Of a rollback: the version whose files these are.
    Column("restores", Integer),
)

policy_replicas = Table(
    "policy_replicas",
    metadata,
    Column("replica", String, primary_key=True),
    # How people know it: its machine and port.
    Column("name", String, nullable=False),
    # 0 while its own folder holds.
    Column("version", Integer, nullable=False),
    Column("digest", String, nullable=False),
    # Why it decides by no policy; empty where it does.
    Column("problem", Text, nullable=False),
    Column("since", Float, nullable=False),
    Column("seen_at", Float, nullable=False, index=True),
)
