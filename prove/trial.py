"""One query, put to the gateway's own analysis and masking, and run in two worlds."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from keystile.analysis.analysed import Analysed
from keystile.analysis.analyst import Analyst
from keystile.analysis.statement import Statement
from keystile.googlesql.engine import Engine
from keystile.googlesql.inline import InlineRunner
from keystile.masking.rewrite import Rewriter
from keystile.model.decision import ColumnMask
from keystile.model.errors import KeystileError, RefusedError
from keystile.model.schema import ColumnRef, Parameter
from prove.evaluator import Answer, Given, World, runnable
from prove.shop import DATASET, MASKS, PROJECT, TABLES, Shop, world


class Outcome(Enum):
    """How a trial ended."""

    SAME = "same"
    """Both worlds gave the same answer."""
    LEAK = "leak"
    """The answers differ, so the query tells something of protected values."""
    REFUSED = "refused"
    """The gateway did not let it through."""
    INVALID = "invalid"
    """It is no valid query, so nothing was shown."""


class Trial(NamedTuple):
    """What came of one query. `answers` are those of the two worlds, `text` the masked query."""

    outcome: Outcome
    why: str = ""
    text: str = ""
    answers: tuple[Answer, ...] = ()


class Court:
    """Tries queries under the shop's fixed masks."""

    def __init__(self, runner: InlineRunner, engine: Engine) -> None:
        """`runner` is for the gateway's part, `engine` evaluates."""
        self.analyst = Analyst(runner, 262_144)
        self.rewriter = Rewriter(runner, bytes(range(32)))
        self.worlds = [World(engine, world(secret)) for secret in (1, 2)]

    async def try_query(self, sql: str, given: Iterable[Given] = ()) -> Trial:
        """Analyse, mask and run a query in both worlds."""
        given = tuple(given)
        parameters = tuple(Parameter(one.name, one.type, {}) for one in given)
        try:
            statement = Statement(sql, PROJECT, DATASET, parameters)
            analysed = await self.analyst.analyse(statement, Shop())
            rewritten = await self.rewriter.rewrite(analysed, masks_for(analysed))
        except RefusedError as error:
            return Trial(Outcome.REFUSED, str(error))
        except KeystileError as error:
            return Trial(Outcome.INVALID, str(error))
        text = runnable(rewritten.sql, TABLES)
        answers = tuple(one.run(text, given) for one in self.worlds)
        same = answers[0].same(answers[1], ordered="order by" in sql.lower())
        return Trial(Outcome.SAME if same else Outcome.LEAK, "", text, answers)

    def reveals_unmasked(self, sql: str, given: Iterable[Given] = ()) -> bool:
        """Tell whether the query as it stands tells the worlds apart: whether it is an attack."""
        given = tuple(given)
        answers = [one.run(sql, given) for one in self.worlds]
        return not answers[0].same(answers[1], ordered="order by" in sql.lower())


def masks_for(analysed: Analysed) -> tuple[ColumnMask, ...]:
    """Decide as policy does: a column gets its mask where the facts say that the query touches it.

    So a use that the analysis misses shows as a leak.
    """
    used = [use.column for use in analysed.facts.columns]
    return tuple(mask for mask in MASKS if any(_covers(mask.column, column) for column in used))


def _covers(masked: ColumnRef, used: ColumnRef) -> bool:
    depth = len(masked.path)
    return masked.table == used.table and used.path[:depth] == masked.path
