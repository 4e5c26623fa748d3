"""One script, put to the gateway's own analysis and masking, and run in two worlds.

The sandbox's interpreter runs it; all that any statement of it says is compared, and what the
script has written.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from keystile.analysis.analysed import Analysed
from keystile.analysis.statement import Statement
from keystile.googlesql.inline import InlineRunner
from keystile.googlesql.messages import service
from keystile.masking.rewrite import Rewritten
from keystile.model.errors import KeystileError
from keystile.model.schema import Parameter, TableId
from keystile.sandbox.binding import Question
from keystile.sandbox.data import Folder, Stored
from keystile.sandbox.plans import Answer
from keystile.sandbox.queries import Catalog
from keystile.sandbox.script_context import Ran
from keystile.sandbox.scripting import run_script
from prove.evaluator import Content, table_data
from prove.schemas import SHOP
from prove.shop import DATASET, PROJECT
from prove.trial import Court, masks_for


class Said(NamedTuple):
    """What one statement of a script said: its result, how many rows it changed, or its error."""

    kind: str
    columns: tuple[tuple[str, str], ...] = ()
    rows: bytes = b""
    affected: int | None = None
    error: str = ""


class Told(NamedTuple):
    """All that a script told: of each statement, at its end, and by what it has written."""

    said: tuple[Said, ...]
    error: str
    written: tuple[tuple[TableId, bytes], ...]

    @property
    def last(self) -> list[tuple[Any, ...]]:
        """The rows of the last query, as the engine's values."""
        found = [said.rows for said in self.said if said.columns]
        content = service.TableContent.FromString(found[-1] if found else b"")
        return [tuple(row.cell) for row in content.table_data.row]


class ScriptTrial(NamedTuple):
    """What came of one script: why it was refused, or its masked text and what that told."""

    refusal: str = ""
    text: str = ""
    told: tuple[Told, ...] = ()
    analysed: Analysed | None = None
    rewritten: Rewritten | None = None

    @property
    def same(self) -> bool:
        """Whether both worlds told the same."""
        return len(self.told) > 1 and self.told[0] == self.told[1]


class ScriptCourt:
    """Tries scripts about the shop under its fixed masks."""

    def __init__(self, court: Court, runner: InlineRunner) -> None:
        """Analyse and mask as `court` does; run with `runner`."""
        self._court = court
        self._runner = runner

    async def try_script(self, sql: str, parameters: Iterable[Parameter] = ()) -> ScriptTrial:
        """Analyse, mask and run a script in both worlds."""
        trial = await self.analysed(sql, parameters)
        if trial.refusal or trial.rewritten is None:
            return trial
        told = await self.run(trial.text, trial.rewritten.parameters)
        return trial._replace(told=told)

    async def analysed(self, sql: str, parameters: Iterable[Parameter] = ()) -> ScriptTrial:
        """Analyse and mask a script; run nothing."""
        court = self._court
        try:
            statement = Statement(sql, PROJECT, DATASET, tuple(parameters))
            analysed = await court.analyst.analyse(statement, court.source)
            rewritten = await court.rewriter.rewrite(analysed, masks_for(analysed, SHOP))
        except KeystileError as error:
            return ScriptTrial(str(error))
        return ScriptTrial("", rewritten.sql, analysed=analysed, rewritten=rewritten)

    async def reveals_unmasked(self, sql: str, parameters: Iterable[Parameter] = ()) -> bool:
        """Tell whether a script as it stands tells the worlds apart: whether it is an attack."""
        first, second = await self.run(sql, tuple(parameters))
        return first != second

    async def run(self, sql: str, parameters: tuple[Parameter, ...] = ()) -> tuple[Told, ...]:
        """Run a script as it stands in each world."""
        worlds = self._court.contents
        return tuple([await run_in(each, self._runner, sql, parameters) for each in worlds])


async def run_in(
    contents: list[Content], runner: InlineRunner, sql: str, parameters: tuple[Parameter, ...] = ()
) -> Told:
    """Run a script as it stands in a world of these contents, which it leaves as it was."""
    before = {content.table.id: _stored(content) for content in contents}
    catalog = Catalog(Folder(((PROJECT, DATASET),), before), runner)
    question = Question(sql, PROJECT, PROJECT, DATASET, parameters)
    ran: list[Ran] = []
    error = ""
    try:
        await run_script(catalog, question, ran.append)
    except KeystileError as failure:
        error = str(failure)
    after = catalog.store.tables()
    written = tuple(
        (id_, after[id_].content or b"")
        for id_ in sorted(after)
        if after[id_] is not before.get(id_)
    )
    return Told(tuple(map(_said, ran)), error, written)


def _stored(content: Content) -> Stored:
    rows = service.TableContent(table_data=table_data(content))
    return Stored(
        id=content.table.id,
        kind=content.table.kind,
        etag=content.table.etag,
        modified=0,
        fields=content.table.fields,
        content=rows.SerializeToString(deterministic=True),
        row_count=len(content.rows),
    )


def _said(ran: Ran) -> Said:
    kind = ran.plan.statement
    if ran.error:
        return Said(kind, error=str(ran.error))
    if isinstance(ran.done, Answer):
        columns = tuple((field.name, str(field.sql_type)) for field in ran.plan.fields)
        return Said(kind, columns, ran.done.content)
    return Said(kind, affected=ran.done.affected if ran.done else None)
