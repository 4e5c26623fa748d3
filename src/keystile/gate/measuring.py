"""Deciding once more when it is known how much a query reads.

What is sent for that, BigQuery's dry run, is the text that will run. So it has to be masked first,
by a decision in which every condition on `query.bytes` goes the way that lets the query on.
INVARIANT: nothing runs by that first decision, and no condition on `query.bytes` has a part in what
is hidden (`compile.py` refuses it), so that the text is the same under the second.
"""

from __future__ import annotations

import msgspec

from keystile.gate.basis import Basis, protection_of
from keystile.gate.decided import Decided, refuse_denied
from keystile.gate.plan import hides_bytes
from keystile.model.decision import Effect
from keystile.model.errors import RefusedError
from keystile.model.facts import Action, QueryFacts
from keystile.policy.budget import size
from keystile.upstream.values import DryRun

_NOT_KNOWN = "how many bytes it reads is not known before it runs, and a rule asks for that"
_SCRIPTS = "; send its statements one by one"


def is_known(facts: QueryFacts) -> bool:
    """Tell whether a dry run says what a query reads: not of scripts, nor of training a model."""
    return facts.statement != "SCRIPT" and Action.MODEL not in facts.actions


def bytes_of(facts: QueryFacts, witness: DryRun) -> int | None:
    """Give what a query reads by BigQuery's estimate; None where that is none."""
    return witness.bytes_processed if witness.is_bound and is_known(facts) else None


def sized(basis: Basis, count: int | None) -> Basis:
    """Say in a basis what a query reads."""
    if basis.context is None:
        return basis
    return msgspec.structs.replace(
        basis, context=msgspec.structs.replace(basis.context, bytes=count)
    )


def settled(decided: Decided, count: int | None) -> Decided:
    """Decide for good, where that was left until now; None is a number that nobody knows."""
    if decided.once_measured is None:
        return decided
    decision = decided.once_measured(count)
    hidden = protection_of(decided.decision)
    if decision.effect is not Effect.DENY and protection_of(decision) != hidden:
        raise RefusedError(
            "what is hidden from you would depend on how much the query reads",
            hint="tell the gateway's operator",
        )
    rests_on = decided.rests_on._replace(basis=sized(decided.rests_on.basis, count))
    return decided._replace(decision=decision, rests_on=rests_on, once_measured=None)


def refuse_for_size(first: Decided, second: Decided) -> None:
    """Raise `RefusedError` for a query that is denied by now, and say for what.

    INVARIANT: no number is told that ADR 9 hides.
    """
    context = second.rests_on.basis.context
    if context is None or context.bytes is None:
        hint = _NOT_KNOWN + (_SCRIPTS if first.facts.statement == "SCRIPT" else "")
    else:
        told = not hides_bytes(first.decision)
        hint = f"it would read {size(context.bytes)}" if told else ""
    refuse_denied(second.decision, hint=hint)
