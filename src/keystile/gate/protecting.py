"""What masks and filters ask of a query beside its rewriting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from keystile.gate.decided import Decided
from keystile.gate.plan import hides_bytes
from keystile.masking.rewrite import Rewritten
from keystile.model.decision import Decision
from keystile.model.errors import EngineFailedError, RefusedError, UnmaskableError
from keystile.model.schema import ColumnRef
from keystile.wire.requests import QueryRequest


@contextmanager
def unmaskable() -> Iterator[None]:
    """Say of a refusal that what policy hides is the reason: raises it as `UnmaskableError`.

    An engine that gave no answer is no such refusal.
    """
    try:
        yield
    except (EngineFailedError, UnmaskableError):
        raise
    except RefusedError as error:
        raise UnmaskableError(error.message, hint=error.hint, place=error.place) from error


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


def seen_masked(decided: Decided, rewritten: Rewritten) -> tuple[ColumnRef, ...]:
    """Give the columns that a query uses and its agent sees masked."""
    used = {use.column for use in decided.analysed.facts.columns}
    here = (column for column in rewritten.masked if column in used)
    behind = (column for job in decided.results.values() for column in job.plan.masked)
    return tuple(dict.fromkeys((*here, *behind)))
