"""One query, put to the gateway's own analysis and masking, and run in two worlds."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

import msgspec

from keystile.analysis.analysed import Analysed
from keystile.analysis.analyst import Analyst
from keystile.analysis.statement import Statement
from keystile.googlesql.engine import Engine
from keystile.googlesql.task import TaskRunner
from keystile.masking.keyed import always
from keystile.masking.rewrite import Rewriter
from keystile.model.decision import ColumnMask
from keystile.model.errors import KeystileError, RefusedError
from keystile.model.schema import ColumnRef, Parameter
from prove.alike import blinded, hidden_values
from prove.evaluator import Answer, Content, Given, World, literal_rows, runnable
from prove.schemas import SHOP
from prove.shop import DATASET, PROJECT, world
from prove.worlds import Schema, SchemaSource, rows


class Outcome(Enum):
    """How a trial ended."""

    SAME = "same"
    """Both worlds gave the same answer."""
    LEAK = "leak"
    """The answers differ, so the query tells something of protected values."""
    REFUSED = "refused"
    """The gateway did not let it through, though it may be a valid query."""
    INVALID = "invalid"
    """It is no valid query, so nothing was shown."""


class Trial(NamedTuple):
    """What came of one query. `answers` are those of the two worlds, `text` the masked query."""

    outcome: Outcome
    why: str = ""
    text: str = ""
    answers: tuple[Answer, ...] = ()


class Court:
    """Tries queries about one schema under its fixed masks."""

    def __init__(
        self,
        runner: TaskRunner,
        engine: Engine,
        schema: Schema = SHOP,
        secrets: tuple[int, int] = (1, 2),
        shape: int = 7,
    ) -> None:
        """`runner` is for the gateway's part, `engine` evaluates.

        The two worlds have these `secrets`; all that is open in them follows from `shape`.
        """
        self.analyst = Analyst(runner, 262_144)
        self.rewriter = Rewriter(runner, always(bytes(range(32))))
        self.engine = engine
        self.schema = schema
        self.source = SchemaSource(schema.tables, schema.routines)
        self.contents = [contents(engine, schema, secret, shape) for secret in secrets]
        short = not schema.cased
        texts = [
            msgspec.structs.replace(routine, body=runnable(routine.body, schema.tables))
            for routine in schema.routines
        ]
        self.worlds = [
            World(engine, content, short_names=short, routines=texts) for content in self.contents
        ]

    async def try_query(self, sql: str, given: Iterable[Given] = ()) -> Trial:
        """Analyse, mask and run a query in both worlds."""
        given = tuple(given)
        parameters = tuple(Parameter(one.name, one.type, {}) for one in given)
        try:
            statement = Statement(sql, PROJECT, DATASET, parameters)
            analysed = await self.analyst.analyse(statement, self.source)
            rewritten = await self.rewriter.rewrite(
                analysed,
                masks_for(analysed, self.schema),
                tuple(one.filter for one in self.schema.filtered),
            )
        except RefusedError as error:
            return Trial(Outcome.REFUSED, str(error))
        except KeystileError as error:
            # What the gateway calls invalid and the evaluator runs was refused by mistake.
            runs = not self._run(sql, given)[0].error
            return Trial(Outcome.REFUSED if runs else Outcome.INVALID, str(error))
        text = rewritten.sql
        added = hidden_values(rewritten.parameters, rewritten.hidden_parameters)
        answers = self._run(blinded(text), (*given, *added))
        same = answers[0].same(answers[1])
        return Trial(Outcome.SAME if same else Outcome.LEAK, "", text, answers)

    def reveals_unmasked(self, sql: str, given: Iterable[Given] = ()) -> bool:
        """Tell whether the query as it stands tells the worlds apart: whether it is an attack."""
        answers = self._run(sql, tuple(given))
        return not answers[0].same(answers[1])

    def close(self) -> None:
        """Let the engine forget the worlds."""
        for one in self.worlds:
            one.close()

    def _run(self, sql: str, given: tuple[Given, ...]) -> tuple[Answer, ...]:
        text = runnable(sql, self.schema.tables)
        return tuple(one.run(text, given) for one in self.worlds)


def contents(engine: Engine, schema: Schema, secret: int, shape: int) -> list[Content]:
    """Give what the tables of a schema hold in the world of a secret."""
    if schema.name == SHOP.name:
        return world(secret)
    return [
        Content(table, literal_rows(engine, table, rows(schema, table, secret, shape)))
        for table in schema.base_tables
    ]


def masks_for(analysed: Analysed, schema: Schema = SHOP) -> tuple[ColumnMask, ...]:
    """Decide as policy does: a column gets its mask where the facts say that the query touches it.

    So a use that the analysis misses shows as a leak.
    """
    used = [use.column for use in analysed.facts.columns]
    return tuple(mask for mask in schema.masks if any(_covers(mask.column, one) for one in used))


def _covers(masked: ColumnRef, used: ColumnRef) -> bool:
    depth = len(masked.path)
    return masked.table == used.table and used.path[:depth] == masked.path
