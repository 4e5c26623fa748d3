"""The plan of a job that moves whole tables. BigQuery makes no dry run of those."""

from __future__ import annotations

from keystile.gate import transfers
from keystile.gate.decided import Decided
from keystile.gate.locations import lies_in
from keystile.gate.own_tables import OwnTables
from keystile.gate.plan import Plan, digest_of, job_labels
from keystile.gate.planned import Planned
from keystile.upstream.bigquery import BigQuery
from keystile.upstream.values import UpstreamQuery
from keystile.wire.requests import QueryRequest
from keystile.wire.transfers import Transfer


async def planned_transfer(
    transfer: Transfer,
    request: QueryRequest,
    decided: Decided,
    bigquery: BigQuery,
    own_tables: OwnTables | None,
) -> Planned:
    """Make the plan of a transfer that policy did not deny.

    `own_tables` are given where it goes into a table of the agent's own data. Raises
    `NotFoundError` where the dataset of its table is absent, and what `OwnTables.place` raises.
    """
    analysed, principal = decided.analysed, decided.principal
    home = transfer.destination or transfer.sources[0]
    sent = transfer
    if own_tables:
        kept = await own_tables.place(principal.key, bigquery, home)
        sent, location = transfers.moved(transfer, kept.at), kept.location
    else:
        there = await lies_in(bigquery, home)
        location = request.location or there
    objects, account = analysed.tables, decided.account
    plan = Plan(
        facts=analysed.facts,
        decision=decided.decision,
        sql=sent.text,
        masked=(),
        schema=(),
        bytes_estimate=0,
        digest=digest_of(principal, request, request.sql, decided.decision, objects, account),
        labels=decided.labels,
        account=account,
        basis=decided.rests_on.basis,
        inherits=decided.inherits,
    )
    return Planned(plan, _query(sent, request, decided, location), location)


def _query(sent: Transfer, request: QueryRequest, decided: Decided, location: str) -> UpstreamQuery:
    return UpstreamQuery(
        project=request.project,
        sql="",
        location=location,
        labels=job_labels(decided.principal),
        timeout_ms=request.job_timeout_ms,
        transfer=transfers.configuration(sent, decided.analysed.facts),
    )
