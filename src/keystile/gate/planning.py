"""From a request to a plan: analyse, decide, rewrite, and hear the second witness."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple, TypeGuard

import msgspec

from keystile.analysis.analysed import Analysed
from keystile.analysis.analyst import Analyst
from keystile.analysis.statement import Earlier, Statement
from keystile.gate import transfers
from keystile.gate.basis import Digests, Noted, RestsOn, object_name
from keystile.gate.budgets import charge_of
from keystile.gate.held_labels import Lost, lost_by, refuse_lost
from keystile.gate.into import analysed_into, refuse_hidden
from keystile.gate.jobs import Job
from keystile.gate.lineage_labels import inherited, refuse_former
from keystile.gate.own_tables import OwnTables
from keystile.gate.plan import Plan, digest_of, hides_bytes, job_labels
from keystile.gate.read_results import (
    Finished,
    Results,
    Understood,
    places,
    refuse_changed,
    understood,
)
from keystile.gate.sessions import Left, QuerySession
from keystile.gate.shares import Shares
from keystile.gate.statements import statements_of
from keystile.gate.visible import VisibleObjects
from keystile.gate.witness import agree, as_named, without_temporary
from keystile.masking.moved import Place
from keystile.masking.rewrite import Rewriter, Rewritten
from keystile.model.decision import Decision, Effect, NewLabel
from keystile.model.errors import KeystileError, RefusedError, UnmaskableError
from keystile.model.facts import QueryFacts
from keystile.model.principal import Principal
from keystile.model.schema import ColumnRef, Table, TableId
from keystile.policy.budget import Charge
from keystile.policy.context import Context
from keystile.policy.policy import Policy
from keystile.telemetry.metrics import Metrics, Phase
from keystile.upstream.accounts import Accounts
from keystile.upstream.bigquery import BigQuery
from keystile.upstream.values import NOBODY, Account, UpstreamQuery
from keystile.wire.requests import QueryRequest
from keystile.wire.transfers import Transfer

_LONGEST_SUGGESTION = 2_000  # characters
_LONGEST_SECONDS = 60


class Decided(NamedTuple):
    """A query with its facts and the decision on it.

    `understood` is what was decided on: that of `analysed`, and of the queries behind `results`
    that it reads. `instead` is a query that would be allowed, where one was found for a query that
    is not. `session` is the one that it is to run in, `account` who it is that runs it at BigQuery.
    `own` are tables of the agent's own data. `lost` is a column that the query would take a label
    from. `rests_on` is what it was decided on beside agent and query. `inherits` are labels that
    the query gives to what it writes.
    """

    principal: Principal
    analysed: Analysed
    decision: Decision
    labels: dict[str, tuple[str, ...]]
    understood: Understood
    results: Mapping[TableId, Job] = {}
    instead: str = ""
    session: QuerySession | None = None
    account: Account = NOBODY
    own: tuple[Place, ...] = ()
    lost: Lost | None = None
    rests_on: RestsOn = RestsOn()
    inherits: tuple[NewLabel, ...] = ()

    @property
    def facts(self) -> QueryFacts:
        """What the query does."""
        return self.understood.facts


class Planned(NamedTuple):
    """A plan, and the query that carries it out.

    `query` holds hidden parameters, so it is never stored. In a `session`, `left` is what others
    will find there after it. `charge` is what it is going to be billed.
    """

    plan: Plan
    query: UpstreamQuery
    location: str
    session: QuerySession | None = None
    left: Left = Left()
    charge: Charge = Charge()


class Planner:
    """Makes plans. The same request makes the same plan while policy and schemas stay the same."""

    def __init__(  # noqa: PLR0913, PLR0917 - the rooms that a plan stands on
        self,
        analyst: Analyst,
        policy: Callable[[], Policy],
        rewriter: Rewriter,
        accounts: Accounts,
        shares: Shares,
        metrics: Metrics,
        finished: Finished | None = None,
        own_tables: OwnTables | None = None,
    ) -> None:
        """`policy` gives the snapshot that holds now; a plan is made under one of them.

        Without `finished` no query reads the result of another, without `own_tables` none a table
        of the agent's own data.
        """
        self._finished = finished
        self._own_tables = own_tables
        self._shares = shares
        self._analyst = analyst
        self._policy = policy
        self._rewriter = rewriter
        self._accounts = accounts
        self._metrics = metrics
        self._digests = Digests()

    def require_policy(self) -> None:
        """Raise `PolicyUnreadableError` where there is no policy to plan by."""
        self._policy()

    async def decide(
        self,
        principal: Principal,
        request: QueryRequest,
        session: QuerySession | None = None,
        context: Context | None = None,
    ) -> Decided:
        """Find out what the query does and what policy says of it. Nothing is sent to BigQuery.

        It is decided on in the `context` that is given, else in that of now.
        """
        policy = self._policy()
        decided = await self.decided(principal, request, policy, session, context)
        self._metrics.decisions.labels(decided.decision.effect).inc()
        for shadow in decided.decision.shadows:
            self._metrics.shadows.labels(shadow.rule, shadow.would).inc()
        if decided.decision.effect is Effect.ALLOW:
            return decided
        return decided._replace(instead=await self._instead(request, decided, policy))

    async def decided(
        self,
        principal: Principal,
        request: QueryRequest,
        policy: Policy,
        session: QuerySession | None = None,
        context: Context | None = None,
    ) -> Decided:
        """Do what `decide` does under a given policy, without looking for another query."""
        context = context or context_of(request)
        # Other jobs read and write tables as they are, and no table has the name of a result.
        plain = not (request.transfer or request.into or session or request.creates_session)
        finished = self._finished if plain else None
        bigquery = await self._bigquery(principal, policy, session)
        own_tables = self._own_tables if plain else None
        beside = partial(own_tables.table, principal.key, bigquery) if own_tables else None
        results = Results(finished, principal.key, beside)
        noted = Noted(bigquery)
        objects = VisibleObjects(noted, policy, principal, context, results)
        with self._metrics.query_seconds.labels(Phase.ANALYSE).time():
            async with self._shares.turn(principal.key), _bounded():
                if self._is_own(request.transfer, principal):
                    analysed = transfers.analyse_own(request.transfer, request)
                elif request.transfer:
                    analysed = await transfers.analyse(request.transfer, request, objects)
                else:
                    analysed = await self._analyst.analyse(_statement(request, session), objects)
                    if request.into:
                        analysed = await analysed_into(analysed, request.into, objects)
                read = results.read_by(analysed)
                own = results.own_read_by(analysed)
                known = await understood(analysed, read, objects, {one.named for one in own})
        with self._metrics.query_seconds.labels(Phase.DECIDE).time():
            facts = analysed.session.all_facts if analysed.session else known.facts
            decision = policy.decide(principal, facts, known.tables, context)
        denied = decision.effect is Effect.DENY
        lost = None if denied else await lost_by(known.facts, noted, policy)
        labels = _labels(policy, known)
        wildcards = {object_name(table.id): table for table in known.tables if table.members}
        by_results = bool(read or own)
        return Decided(
            principal,
            analysed,
            decision,
            labels,
            known,
            read,
            session=session,
            account=bigquery.account,
            own=own,
            lost=lost,
            rests_on=self._digests.rests_on(context, noted.objects | wildcards, beside=by_results),
            inherits=() if denied else inherited(analysed, known, decision, policy),
        )

    def _is_own(self, transfer: Transfer | None, principal: Principal) -> TypeGuard[Transfer]:
        """Tell whether a transfer goes into a table of the agent's own data."""
        to = transfer.destination if transfer else None
        return bool(to and self._own_tables and self._own_tables.may_be(principal.key, to))

    async def _bigquery(
        self, principal: Principal, policy: Policy, session: QuerySession | None
    ) -> BigQuery:
        """Give BigQuery as the query will run there. A session goes on as it was begun."""
        if session and session.upstream:
            return self._accounts.at(session.account)
        return await self._accounts.of(policy.connection_of(principal))

    async def _instead(self, request: QueryRequest, decided: Decided, policy: Policy) -> str:
        """Give the query without its labelled columns, if that would be allowed; or nothing.

        INVARIANT: what is suggested was analysed, decided on and masked like any query.
        """
        facts = decided.analysed.facts
        named = {mention.named for mention in decided.analysed.mentions}
        labelled = {
            use.column.path[0]
            for use in facts.columns
            if use.column.table in named and decided.labels.get(str(use.column))
        }
        if facts.statement != "SELECT" or facts.opaque or not labelled or decided.session:
            return ""
        try:
            sql = await self._analyst.without(request.sql, tuple(sorted(labelled)))
            if not sql or len(sql) > _LONGEST_SUGGESTION:
                return ""
            changed = msgspec.structs.replace(request, sql=sql)
            other = await self.decided(decided.principal, changed, policy)
            if other.decision.effect is Effect.ALLOW:
                await self.masked(changed, other)
                return sql
        except KeystileError:
            pass  # no suggestion; the query itself is refused for its own reasons
        return ""

    async def rewrite(self, decided: Decided) -> Rewritten:
        """Mask at read, and prove that nothing protected is left.

        Raises `UnmaskableError` where that cannot be, or a column would lose its label.
        """
        with _unmaskable(), self._metrics.query_seconds.labels(Phase.REWRITE).time():
            refuse_lost(decided.lost)
            refuse_former(decided.analysed)
            async with self._shares.turn(decided.principal.key), _bounded():
                return await self._rewriter.rewrite(
                    decided.analysed, decided.decision.masks, decided.decision.row_filters
                )

    async def masked(self, request: QueryRequest, decided: Decided) -> Rewritten:
        """Do all that masks and filters ask of a query that policy did not deny.

        Nothing is asked of BigQuery. Raises `UnmaskableError`.
        """
        with _unmaskable():
            if request.transfer:
                transfers.refuse_hidden(request.transfer, decided.decision)
                refuse_lost(decided.lost)
                return Rewritten(request.sql, ())
            refuse_to_measure(request, decided.decision)
            if request.into:
                refuse_hidden(request.into, decided.decision)
            refuse_changed(decided.results, decided.decision, decided.labels)
        return await self.rewrite(decided)

    async def plan(self, principal: Principal, request: QueryRequest, decided: Decided) -> Planned:
        """Make the plan of a query that policy did not deny.

        Raises `RefusedError` when it cannot be masked or the second witness disagrees, and
        BigQuery's own error when it does not accept the query.
        """
        rewritten = await self.masked(request, decided)
        if request.transfer:
            return await self._plan_transfer(request.transfer, request, decided)
        if request.into:
            request = await self._where(request, request.into.table, decided.account)
        results = await places(self._accounts, decided.account, decided.results)
        where = (*results, *decided.own)
        if where:
            rewritten = await self._rewriter.moved(decided.analysed, rewritten, where)
        query = _query(principal, request, rewritten)
        if session := decided.session:
            query = msgspec.structs.replace(
                query, session=session.upstream, location=session.location
            )
        with self._metrics.query_seconds.labels(Phase.DRY_RUN).time():
            witness = await self._accounts.at(decided.account).dry_run(query)
        analysed, decision = decided.analysed, decided.decision
        if analysed.session:
            witness = without_temporary(witness, analysed.session.temporary)
        agree(analysed.facts, analysed.schema, as_named(witness, where))
        masked = seen_masked(decided, rewritten)
        self._metrics.masked_columns.inc(len(masked))
        plan = Plan(
            facts=decided.facts,
            decision=decision,
            sql=rewritten.sql,
            masked=masked,
            schema=witness.schema,
            bytes_estimate=witness.bytes_processed,
            digest=digest_of(
                principal,
                request,
                rewritten.sql,
                decision,
                (*decided.understood.tables, *_own(decided), *analysed.routines),
                decided.account,
            ),
            labels=decided.labels,
            results=analysed.results,
            statements=statements_of(analysed, rewritten.parts, masked),
            instead=decided.instead,
            account=decided.account,
            basis=decided.rests_on.basis,
            inherits=decided.inherits,
        )
        location = witness.location or query.location or "US"
        left = _left(analysed, request, rewritten)
        charge = charge_of(analysed, request, witness, hidden=hides_bytes(decision))
        return Planned(plan, query, location, session, left, charge)

    async def _where(self, request: QueryRequest, table: TableId, account: Account) -> QueryRequest:
        """Say where a request runs that does not say so itself: where a table of it lies."""
        dataset = await self._accounts.at(account).get_dataset(table.project, table.dataset)
        location = request.location or str(dataset.get("location") or "US")
        return msgspec.structs.replace(request, location=location)

    async def _plan_transfer(
        self, transfer: Transfer, request: QueryRequest, decided: Decided
    ) -> Planned:
        """Make the plan of a job that moves whole tables. BigQuery makes no dry run of those."""
        analysed, principal = decided.analysed, decided.principal
        home = transfer.destination or transfer.sources[0]
        sent = transfer
        if self._own_tables and self._is_own(transfer, principal):
            bigquery = self._accounts.at(decided.account)
            kept = await self._own_tables.place(principal.key, bigquery, home)
            sent, location = transfers.moved(transfer, kept.at), kept.location
        else:
            location = (await self._where(request, home, decided.account)).location
        plan = Plan(
            facts=analysed.facts,
            decision=decided.decision,
            sql=sent.text,
            masked=(),
            schema=(),
            bytes_estimate=0,
            digest=digest_of(
                principal,
                request,
                request.sql,
                decided.decision,
                analysed.tables,
                decided.account,
            ),
            labels=decided.labels,
            account=decided.account,
            basis=decided.rests_on.basis,
            inherits=decided.inherits,
        )
        query = UpstreamQuery(
            project=request.project,
            sql="",
            location=location,
            labels=job_labels(principal),
            timeout_ms=request.job_timeout_ms,
            transfer=transfers.configuration(sent, analysed.facts),
        )
        return Planned(plan, query, location)


@asynccontextmanager
async def _bounded() -> AsyncIterator[None]:
    """Bound the time that all of a query takes: the engine's deadline is that of each of its parts.

    Raises `RefusedError`.
    """
    try:
        async with asyncio.timeout(_LONGEST_SECONDS):
            yield
    except TimeoutError as error:
        raise RefusedError(
            f"analysing all of the query took longer than {_LONGEST_SECONDS} seconds",
            hint="run its statements in several pieces",
        ) from error


@contextmanager
def _unmaskable() -> Iterator[None]:
    """Say of a refusal that what policy hides is the reason."""
    try:
        yield
    except UnmaskableError:
        raise
    except RefusedError as error:
        raise UnmaskableError(error.message, hint=error.hint, place=error.place) from error


def context_of(request: QueryRequest) -> Context:
    """Give what is decided on beside agent and query, as it is now."""
    return Context(request.project, datetime.now(UTC), request.dry_run)


def seen_masked(decided: Decided, rewritten: Rewritten) -> tuple[ColumnRef, ...]:
    """Give the columns that a query uses and its agent sees masked."""
    used = {use.column for use in decided.analysed.facts.columns}
    here = (column for column in rewritten.masked if column in used)
    behind = (column for job in decided.results.values() for column in job.plan.masked)
    return tuple(dict.fromkeys((*here, *behind)))


def refuse_denied(decision: Decision, instead: str = "") -> None:
    """Raise `RefusedError` with every reason and its rule when the decision is a denial.

    `instead` is a query that would be allowed.
    """
    if decision.effect is not Effect.DENY:
        return
    reasons = "; ".join(
        f"{reason.message.rstrip('.')} (rule `{reason.rule}`)" for reason in decision.reasons
    )
    hint = f"this would be allowed: {instead}" if instead else ""
    raise RefusedError(f"refused by policy: {reasons}", hint=hint)


def refuse_to_measure(request: QueryRequest, decision: Decision) -> None:
    """Raise `RefusedError` for a limit on bytes that stay hidden: by halving it they are found."""
    if request.maximum_bytes_billed is None or not hides_bytes(decision):
        return
    masked = tuple(mask.column.table for mask in decision.masks)
    filtered = tuple(one.table for one in decision.row_filters)
    table = (masked + filtered)[0]
    raise RefusedError(
        f"`maximumBytesBilled` would tell how much of `{table}` is hidden from you",
        hint="leave it out",
    )


def _own(decided: Decided) -> tuple[Table, ...]:
    named = {one.named for one in decided.own}
    return tuple(table for table in decided.analysed.tables if table.id in named)


def _labels(policy: Policy, known: Understood) -> dict[str, tuple[str, ...]]:
    labels = {table.id: policy.labels(table) for table in known.tables}
    return {
        str(use.column): labels[use.column.table].get(use.column.path, ())
        for use in known.facts.columns
        if use.column.table in labels
    }


def _left(analysed: Analysed, request: QueryRequest, rewritten: Rewritten) -> Left:
    """Say what a text leaves in its session."""
    session = analysed.session
    if session is None or not session.leaves:
        return Left()
    parameters = tuple(msgspec.structs.replace(one, value={}) for one in request.parameters)
    sql, sent = request.sql + session.ending, rewritten.sql + session.ending
    return Left(Earlier(sql, sent, parameters), session.several)


def _statement(request: QueryRequest, session: QuerySession | None) -> Statement:
    dataset = request.default_dataset
    if dataset and request.default_project:
        dataset = f"{request.default_project}.{dataset}"
    return Statement(
        request.sql,
        request.project,
        dataset,
        request.parameters,
        in_session=session is not None,
        earlier=session.texts if session else (),
    )


def _query(principal: Principal, request: QueryRequest, rewritten: Rewritten) -> UpstreamQuery:
    return UpstreamQuery(
        project=request.project,
        sql=rewritten.sql,
        location=request.location,
        default_project=request.default_project,
        default_dataset=request.default_dataset,
        parameters=rewritten.parameters,
        hidden=frozenset(rewritten.hidden_parameters),
        labels=job_labels(principal),
        maximum_bytes_billed=request.maximum_bytes_billed,
        use_query_cache=request.use_query_cache,
        timeout_ms=request.job_timeout_ms,
    )
