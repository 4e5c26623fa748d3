"""From a request to a plan: analyse, decide, rewrite, and hear the second witness."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from keystile.analysis.analyst import Analyst
from keystile.gate import transfers
from keystile.gate.analysing import Analysing
from keystile.gate.basis import Digests, context_of, object_name
from keystile.gate.budgets import charge_of
from keystile.gate.decided import Decided, Heard, labelled_columns
from keystile.gate.held_labels import lost_by, refuse_lost
from keystile.gate.into import refuse_hidden
from keystile.gate.lineage_labels import inherited, refuse_former
from keystile.gate.locations import DEFAULT, lies_in
from keystile.gate.measuring import bytes_of, settled
from keystile.gate.own_tables import OwnTables
from keystile.gate.planned import Planned, left_by, plan_of, query_of
from keystile.gate.protecting import refuse_to_measure, seen_masked, unmaskable
from keystile.gate.read_results import Finished, Understood, places, refuse_changed
from keystile.gate.sessions import QuerySession
from keystile.gate.shares import Shares
from keystile.gate.transfer_plans import planned_transfer
from keystile.gate.witness import agree, as_named, without_temporary
from keystile.masking.moved import Place
from keystile.masking.rewrite import Rewriter, Rewritten
from keystile.model.decision import Decision, Effect
from keystile.model.errors import KeystileError
from keystile.model.principal import Principal
from keystile.policy.context import Context
from keystile.policy.policy import Policy
from keystile.telemetry.metrics import Metrics, Phase
from keystile.upstream.accounts import Accounts
from keystile.upstream.bigquery import BigQuery
from keystile.upstream.values import DryRun, UpstreamQuery
from keystile.wire.requests import QueryRequest
from keystile.wire.transfers import Transfer

_LONGEST_SUGGESTION = 2_000  # characters


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
        self._analysing = Analysing(analyst, shares, finished, own_tables)
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
        *,
        unmeasured: bool = False,
    ) -> Decided:
        """Find out what the query does and what policy says of it. Nothing is sent to BigQuery.

        It is decided on in the `context` that is given, else in that of now. With `unmeasured`, a
        decision that depends on what the query reads is left to `measured`.
        """
        policy = self._policy()
        decided = await self.decided(
            principal, request, policy, session, context, unmeasured=unmeasured
        )
        if decided.once_measured is None:
            self._count(decided.decision)
        if decided.decision.effect is Effect.ALLOW:
            return decided
        return decided._replace(instead=await self._instead(request, decided, policy))

    def _count(self, decision: Decision) -> None:
        self._metrics.decisions.labels(decision.effect).inc()
        for shadow in decision.shadows:
            self._metrics.shadows.labels(shadow.rule, shadow.would).inc()

    async def decided(  # noqa: PLR0913 - those of `decide`
        self,
        principal: Principal,
        request: QueryRequest,
        policy: Policy,
        session: QuerySession | None = None,
        context: Context | None = None,
        *,
        unmeasured: bool = False,
    ) -> Decided:
        """Do what `decide` does under a given policy, without looking for another query."""
        context = context or context_of(request)
        bigquery = await self._bigquery(principal, policy, session)
        with self._metrics.query_seconds.labels(Phase.ANALYSE).time():
            analysed, known, read, own, noted = await self._analysing.found(
                principal, request, session, bigquery, policy, context
            )
        with self._metrics.query_seconds.labels(Phase.DECIDE).time():
            facts = analysed.session.all_facts if analysed.session else known.facts
            decision = policy.decide(principal, facts, known.tables, context, unmeasured=unmeasured)
        denied = decision.effect is Effect.DENY
        lost = None if denied else await lost_by(known.facts, noted, policy)

        def once_measured(count: int | None) -> Decision:
            """Decide on the same by the same policy, for so many bytes."""
            known_by_now = msgspec.structs.replace(context, bytes=count)
            return policy.decide(principal, facts, known.tables, known_by_now)

        wildcards = {object_name(table.id): table for table in known.tables if table.members}
        objects, by_results = noted.objects | wildcards, bool(read or own)
        return Decided(
            principal,
            analysed,
            decision,
            _labels(policy, known),
            known,
            read,
            session=session,
            account=bigquery.account,
            own=own,
            lost=lost,
            rests_on=self._digests.rests_on(context, objects, beside=by_results),
            inherits=() if denied else inherited(analysed, known, decision, policy),
            once_measured=once_measured
            if unmeasured and policy.asks_bytes and not denied
            else None,
        )

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
        labelled = labelled_columns(decided)
        if not labelled:
            return ""
        try:
            sql = await self._analyst.without(request.sql, labelled)
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

    async def masked(self, request: QueryRequest, decided: Decided) -> Rewritten:
        """Do all that masks and filters ask of a query that policy did not deny.

        Nothing is asked of BigQuery. Raises `UnmaskableError`.
        """
        with unmaskable():
            if request.transfer:
                transfers.refuse_hidden(request.transfer, decided.decision)
                refuse_lost(decided.lost)
                return Rewritten(request.sql, ())
            refuse_to_measure(request, decided.decision)
            if request.into:
                refuse_hidden(request.into, decided.decision)
            refuse_changed(decided.results, decided.decision, decided.labels)
        return await self.rewrite(decided)

    async def rewrite(self, decided: Decided) -> Rewritten:
        """Mask at read, and prove that nothing protected is left.

        Raises `UnmaskableError` where that cannot be, or a column would lose its label.
        """
        with unmaskable(), self._metrics.query_seconds.labels(Phase.REWRITE).time():
            refuse_lost(decided.lost)
            refuse_former(decided.analysed)
            async with self._shares.turn(decided.principal.key):
                return await self._rewriter.rewrite(
                    decided.analysed, decided.decision.masks, decided.decision.row_filters
                )

    async def plan(self, principal: Principal, request: QueryRequest, decided: Decided) -> Planned:
        """Make the plan of a query that policy did not deny.

        Raises `RefusedError` when it cannot be masked or the second witness disagrees, and
        BigQuery's own error when it does not accept the query.
        """
        if request.transfer:
            await self.masked(request, decided)
            bigquery = self._accounts.at(decided.account)
            own_tables = self._own_tables_of(request.transfer, decided)
            return await planned_transfer(request.transfer, request, decided, bigquery, own_tables)
        heard = decided.heard or await self._heard(principal, request, decided)
        request, rewritten, query, witness = heard[:4]
        masked = seen_masked(decided, rewritten)
        self._metrics.masked_columns.inc(len(masked))
        return Planned(
            plan_of(request, decided, rewritten, masked, witness),
            query,
            witness.location or query.location or DEFAULT,
            decided.session,
            left_by(decided.analysed, request, rewritten),
            charge_of(decided.analysed, request, witness, decided.decision),
        )

    async def measured(self, request: QueryRequest, decided: Decided) -> Decided:
        """Ask BigQuery what a query reads that policy did not deny yet, and decide for good.

        Of a transfer nobody knows. Raises as `plan` does.
        """
        if request.transfer:
            found = settled(decided, None)
        else:
            heard = await self._heard(decided.principal, request, decided)
            found = settled(decided, bytes_of(decided.facts, heard.witness))._replace(heard=heard)
        self._count(found.decision)
        return found

    async def _heard(self, principal: Principal, request: QueryRequest, decided: Decided) -> Heard:
        """Mask a query, and hear the second witness of the text that would run."""
        rewritten = await self.masked(request, decided)
        bigquery = self._accounts.at(decided.account)
        if request.into:
            there = await lies_in(bigquery, request.into.table)
            request = msgspec.structs.replace(request, location=request.location or there)
        results = await places(self._accounts, decided.account, decided.results)
        where = (*results, *decided.own)
        if where:
            rewritten = await self._rewriter.moved(decided.analysed, rewritten, where)
        query = query_of(principal, request, rewritten)
        if session := decided.session:
            query = msgspec.structs.replace(
                query, session=session.upstream, location=session.location
            )
        witness = await self._witness(bigquery, query, decided, where)
        return Heard(request, rewritten, query, witness)

    def _own_tables_of(self, transfer: Transfer, decided: Decided) -> OwnTables | None:
        is_own = self._analysing.is_own(transfer, decided.principal)
        return self._own_tables if is_own else None

    async def _witness(
        self, bigquery: BigQuery, query: UpstreamQuery, decided: Decided, where: tuple[Place, ...]
    ) -> DryRun:
        """Hear what BigQuery says of a query, and refuse it unless both read it alike."""
        analysed = decided.analysed
        with self._metrics.query_seconds.labels(Phase.DRY_RUN).time():
            witness = await bigquery.dry_run(query)
        if analysed.session:
            witness = without_temporary(witness, analysed.session.temporary)
        agree(analysed.facts, analysed.schema, as_named(witness, where))
        return witness


def _labels(policy: Policy, known: Understood) -> dict[str, tuple[str, ...]]:
    labels = {table.id: policy.labels(table) for table in known.tables}
    return {
        str(use.column): labels[use.column.table].get(use.column.path, ())
        for use in known.facts.columns
        if use.column.table in labels
    }
