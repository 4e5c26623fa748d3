"""What a query may do in a session, and the start of a session with its first query."""

from __future__ import annotations

import msgspec

from keystile.gate.decided import Decided
from keystile.gate.locations import DEFAULT, lies_in
from keystile.gate.plan import job_labels
from keystile.gate.running import open_session
from keystile.gate.sessions import QuerySession
from keystile.model.decision import Decision, Effect
from keystile.model.errors import RefusedError
from keystile.upstream.bigquery import BigQuery
from keystile.wire.requests import QueryRequest


def refuse_in_session(request: QueryRequest, decision: Decision) -> None:
    """Raise `RefusedError` for what cannot be done in a session."""
    if request.creates_session and request.dry_run:
        raise RefusedError(
            "`dryRun` begins no session", hint="leave `createSession` out, or name a session"
        )
    if request.into:
        raise RefusedError(
            "`destinationTable` and a session exclude each other here",
            hint="write the result with `CREATE TABLE AS SELECT`",
        )
    if decision.effect is Effect.REQUIRE_APPROVAL:
        # INVARIANT: what people unlock for one query is in no table that others go on from.
        raise RefusedError(
            "this query needs a person's approval, for which a session does not wait",
            hint="run it as a job without a session",
        )


async def started(
    bigquery: BigQuery, session: QuerySession, project: str, decided: Decided
) -> QuerySession:
    """Begin a session at BigQuery, where what its first query reads lies.

    Raises as `open_session` does.
    """
    facts, location = decided.analysed.facts, session.location
    named = (*facts.reads, *facts.writes)
    if not location:
        location = await lies_in(bigquery, named[0]) if named else DEFAULT
    labels = job_labels(decided.principal)
    upstream = await open_session(bigquery, project, location, labels)
    return msgspec.structs.replace(
        session, location=location, upstream=upstream, account=decided.account
    )
