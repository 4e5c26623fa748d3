"""How a query keeps within its limits: what it may cost, what goes to BigQuery, what it is told.

The estimate is the dry run that every query has anyway (`witness.py`), so that limits ask nothing
more of BigQuery.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from keystile.analysis.analysed import Analysed
from keystile.gate.jobs import Job
from keystile.gate.ledger import PASSING, Grant, Ledger, reserve
from keystile.gate.partitions import unnamed_partitions
from keystile.gate.plan import Plan, hides_bytes
from keystile.model.decision import Decision
from keystile.model.errors import (
    BytesBilledError,
    KeystileError,
    LimitError,
    NotFoundError,
)
from keystile.model.facts import Action
from keystile.policy.budget import Charge, named
from keystile.upstream.accounts import Accounts
from keystile.upstream.values import DryRun, UpstreamQuery
from keystile.wire.requests import QueryRequest

_MEBIBYTE = 1 << 20
_LEAST_BILLED = 10 * _MEBIBYTE
"""BigQuery bills whole mebibytes of each table that a query reads, and ten at least."""

_LOOPS = ("ASTForInStatement", "ASTRepeatStatement", "ASTWhileStatement")
"""The parser's names of what runs statements again and again; LOOP is a WHILE without an end."""

_BYTES = ("bytes_per_query", "bytes_per_day", "bytes_per_month")


def charge_of(
    analysed: Analysed, request: QueryRequest, witness: DryRun, decision: Decision
) -> Charge:
    """Say what a query is going to be billed, by BigQuery's dry run of the rewritten text.

    Nobody knows for a script, for what is read from outside BigQuery, for a model, and for a result
    that is written into a table by a job of its own. BigQuery holds each statement of a script to
    the bound by itself; how many run is known of one without loops (0 else).
    """
    read = _whole(witness.bytes_processed)
    least = least_billed(witness.bytes_processed)
    facts, statements = analysed.facts, 1
    if facts.statement == "SCRIPT":
        loops = any(loop in node for node in analysed.skeleton for loop in _LOOPS)
        statements = 0 if loops else max(1, len(analysed.parts))
    most: int | None = None
    if witness.is_bound and not request.into and Action.MODEL not in facts.actions:
        tables = {*witness.referenced_tables, *facts.reads, *facts.writes, *facts.metadata}
        most = read + _LEAST_BILLED * len(tables)
    partitions = unnamed_partitions(analysed, decision) if decision.limits else ()
    return Charge(least, most, statements, hides_bytes(decision), partitions)


def least_billed(processed: int) -> int:
    """Give what a query that processes so many bytes is billed at least."""
    return max(_whole(processed), _LEAST_BILLED) if processed else 0


def _whole(size: int) -> int:
    return -(-size // _MEBIBYTE) * _MEBIBYTE


async def check(ledger: Ledger, plan: Plan, charge: Charge, *, waits: bool) -> None:
    """Raise `LimitError` where a query would break a limit by now.

    One that `waits` for people may begin later: what is soon free again does not matter.
    """
    limits = plan.decision.limits
    if not limits:
        return
    for one in limits:
        if one.rows_per_query is not None and Action.EXPORT in plan.facts.actions:
            raise LimitError(
                f"refused by limit: `rows_per_query` of {named(one)} is {one.rows_per_query}, and"
                " nobody counts the rows of an export",
                hint=one.message or f"fetch them: `SELECT … LIMIT {one.rows_per_query}`",
            )
        if not charge.statements and any(word in one.amounts for word in _BYTES):
            raise LimitError(
                f"refused by limit: {named(one)} limits bytes, and nobody can tell how often the"
                " statements of a loop run",
                hint="send the statements of the script one by one, or write the loop as one query",
            )
    await ledger.check(limits, charge, but=PASSING if waits else ())


class Reservation:
    """A job's part of the budgets, taken in the transaction that lets it run."""

    def __init__(self, job: Job, charge: Charge, *, but: Collection[str] = ()) -> None:
        """Limits whose words are in `but` do not hold it up."""
        self._job = job
        self._charge = charge
        self._but = but
        self._grant = Grant(None)

    async def take(self, connection: AsyncConnection) -> None:
        """Take it. Raises `LimitError`."""
        if limits := self._job.plan.decision.limits:
            self._grant = await reserve(
                connection, self._job.id, limits, self._charge, but=self._but
            )

    def bounded(self, query: UpstreamQuery) -> UpstreamQuery:
        """Give the query as it may be billed."""
        return bounded(query, self._grant, self._charge)


def bounded(query: UpstreamQuery, grant: Grant, charge: Charge) -> UpstreamQuery:
    """Give a query with the bound that a job was let in with; the client's own may be lower."""
    if grant.most_billed is None:
        return query
    # INVARIANT: all statements together stay within the grant. None at all is not said with a 0.
    most = max(1, grant.most_billed // max(1, charge.statements))
    asked = query.maximum_bytes_billed
    return msgspec.structs.replace(
        query, maximum_bytes_billed=most if asked is None else min(asked, most)
    )


async def left_to_write(ledger: Ledger, job: Job, billed: int) -> int | None:
    """Say what writing a result may be billed, of what its query has left; None for no bound."""
    most = (await ledger.grant(job.id)).most_billed if job.plan.decision.limits else None
    left = None if most is None else max(1, most - billed)
    asked = job.request.maximum_bytes_billed
    return min((one for one in (left, asked) if one is not None), default=None)


async def billed(accounts: Accounts, job: Job) -> int | None:
    """Ask what a job is billed that has not ended well; None where nobody can tell for sure."""
    if not job.plan.decision.limits:
        return 0
    total, bigquery = 0, accounts.at(job.account)
    for reference in (job.reference, *([job.writing] if job.request.into else [])):
        try:
            status = await bigquery.wait(reference, 0)
        except NotFoundError:
            continue
        except KeystileError:
            return None
        if not status.done:
            return None
        total += status.bytes_billed
    return total


def in_own_words(plan: Plan, error: KeystileError) -> KeystileError:
    """Say that a query would be billed too much without the numbers that its agent must not hear.

    Other errors stay as they are.
    """
    if not isinstance(error, BytesBilledError):
        return error
    message = error.message
    if plan.hides_bytes:
        message = "the query would be billed for more bytes than it may"
    hint = "read less; limits of the policy, the gateway's own bound and `maximumBytesBilled` count"
    return BytesBilledError(message, hint=hint)


def most_rows(job: Job, start: int) -> int | None:
    """Say up to which row a result may be read; None for all of it.

    Raises `LimitError` where `start` is a row behind that.
    """
    found = [one for one in job.plan.decision.limits if one.rows_per_query is not None]
    lowest = min(found, key=lambda one: one.rows_per_query or 0, default=None)
    if lowest is None or lowest.rows_per_query is None:
        return None
    most, total = lowest.rows_per_query, job.outcome.total_rows if job.outcome else 0
    if most <= start < total:
        raise LimitError(
            f"refused by limit: the result has {total} rows, and `rows_per_query` of"
            f" {named(lowest)} is {most}",
            hint=lowest.message or f"ask for no more: `LIMIT {most}`, or aggregate",
        )
    return most
