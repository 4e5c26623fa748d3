"""A query with its facts and the decision on it, before anything is planned."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from keystile.analysis.analysed import Analysed
from keystile.gate.basis import RestsOn
from keystile.gate.held_labels import Lost
from keystile.gate.jobs import Job
from keystile.gate.read_results import Understood
from keystile.gate.sessions import QuerySession
from keystile.masking.moved import Place
from keystile.masking.rewrite import Rewritten
from keystile.model.decision import Decision, Effect, NewLabel
from keystile.model.errors import RefusedError
from keystile.model.facts import QueryFacts
from keystile.model.principal import Principal
from keystile.model.schema import TableId
from keystile.upstream.values import NOBODY, Account, DryRun, UpstreamQuery
from keystile.wire.requests import QueryRequest

_ADVICE = re.compile(r"[;.:!?]\s")
"""What stands between what is so and what to do, in the words of an author."""


class Heard(NamedTuple):
    """What BigQuery says of the text that would run; `request` says where it would."""

    request: QueryRequest
    rewritten: Rewritten
    query: UpstreamQuery
    witness: DryRun


class Decided(NamedTuple):
    """A query with its facts and the decision on it.

    `understood` is what was decided on: that of `analysed`, and of the queries behind `results`
    that it reads. `instead` is a query that would be allowed, where one was found for a query that
    is not. `session` is the one that it is to run in, `account` who it is that runs it at BigQuery.
    `own` are tables of the agent's own data. `lost` is a column that the query would take a label
    from. `rests_on` is what it was decided on beside agent and query. `inherits` are labels that
    the query gives to what it writes. Where `once_measured` is there, the decision is not final: it
    gives the one that is, for the bytes that the query reads. Then `heard` is what BigQuery said.
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
    once_measured: Callable[[int | None], Decision] | None = None
    heard: Heard | None = None

    @property
    def facts(self) -> QueryFacts:
        """What the query does."""
        return self.understood.facts


def refuse_denied(decision: Decision, instead: str = "", hint: str = "") -> None:
    """Raise `RefusedError` with every reason and its rule when the decision is a denial.

    `instead` is a query that would be allowed.
    """
    if decision.effect is not Effect.DENY:
        return
    sentence, advice = refusal_of(decision)
    hint = f"this would be allowed: {instead}" if instead else hint
    raise RefusedError(sentence, hint=hint or advice)


def refusal_of(decision: Decision) -> tuple[str, str]:
    """Say every reason of a denial that the agent may hear, each with its rule, and what to do.

    Who reads words of an author's that say no more than that it is so is told whom to ask.
    """
    told = [reason for reason in decision.reasons if not reason.untold]
    said = "; ".join(f"{one.message.rstrip('.')} (rule `{one.rule}`)" for one in told)
    advised = any(_ADVICE.search(one.message) for one in told)
    hint = "" if advised else "ask the owner of the policy if you need it"
    return f"refused by policy: {said}", hint


def labelled_columns(decided: Decided) -> tuple[str, ...]:
    """Give the labelled columns without which a SELECT may be allowed; none where it cannot be.

    They are top-level columns of tables that its own text names.
    """
    facts = decided.analysed.facts
    if facts.statement != "SELECT" or facts.opaque or decided.session:
        return ()
    named = {mention.named for mention in decided.analysed.mentions}
    labelled = {
        use.column.path[0]
        for use in facts.columns
        if use.column.table in named and decided.labels.get(str(use.column))
    }
    return tuple(sorted(labelled))
