"""What surrounds the statements of a running script: its variables, its hidden dataset, its texts.

Every error is told in BigQuery's words for scripts, with its place in the script.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from keystile.googlesql.messages import service, value_pb2
from keystile.model.errors import InvalidQueryError, KeystileError
from keystile.model.schema import SqlType, TableId
from keystile.sandbox.binding import Question, Scope
from keystile.sandbox.bound import Bound
from keystile.sandbox.data import Stored
from keystile.sandbox.dialect import Given
from keystile.sandbox.effects import Effects
from keystile.sandbox.errors import UnsupportedError, unsupported
from keystile.sandbox.names import Names
from keystile.sandbox.plans import Answer, Plan
from keystile.sandbox.queries import Catalog
from keystile.sandbox.running import run
from keystile.sandbox.script_steps import Text
from keystile.sandbox.store import Dataset
from keystile.wire.scripts import StackFrame, frame_at

MOST_STEPS = 2_000
"""How many statements and expressions a script may run; BigQuery bounds hours instead."""

STRING = SqlType("STRING")
_QUERY_ERROR = "Query error: "


class Ran(NamedTuple):
    """One statement of a script that has run: what it gave, or why it failed.

    `frames` are where it stands, the innermost first. It may be the query of an `expression` too.
    """

    plan: Plan
    started: float
    done: Answer | Effects | None = None
    error: KeystileError | None = None
    frames: tuple[StackFrame, ...] = ()
    expression: bool = False

    def rows(self) -> Any:
        """Give the rows of a query as values."""
        content = self.done.content if isinstance(self.done, Answer) else b""
        return service.TableContent.FromString(content).table_data.row


class ScriptContext:
    """The surroundings of one run of one script. `errors` are those being handled, innermost last.

    `result` is the last query that ran.
    """

    def __init__(
        self,
        catalog: Catalog,
        question: Question,
        told: Callable[[Ran], None] = lambda _: None,
        most_billed: int | None = None,
    ) -> None:
        """`told` hears of each statement that has run; `most_billed` bounds each one's bytes."""
        self._most_billed = most_billed
        self._catalog = catalog
        self._question = question
        self._told = told
        self._session = question.scope.dataset
        self._dataset = self._session or f"_script{uuid.uuid4().hex}"
        self._variables = {given.name.lower(): given for given in question.scope.variables}
        self._row_count: int | None = None
        self._steps = 0
        self._before: Mapping[TableId, Stored] | None = None
        self._touched: set[TableId] = set()
        self.errors: list[KeystileError] = []
        self.result: Ran | None = None

    def begin(self) -> None:
        """Make the hidden dataset, but for a script in a session, which has one."""
        if self._session:
            return
        self._catalog.store.put_dataset(Dataset((self._question.project, self._dataset), 0.0))

    def end(self) -> None:
        """Undo what was not committed, and drop all that is temporary."""
        if self._before is not None:
            self._undo(self._before)
        if not self._session:
            self._catalog.store.drop_dataset((self._question.project, self._dataset))

    # Variables

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of all variables in sight."""
        return tuple(self._variables)

    @property
    def given(self) -> tuple[Given, ...]:
        """All variables in sight, with their values."""
        return tuple(self._variables.values())

    def keep(self, names: Iterable[str]) -> None:
        """Forget all variables but these: a block or a loop has ended."""
        self._variables = {name: self._variables[name] for name in names}

    def declare(self, name: str, type_: SqlType, at: Text, value: bytes = b"") -> None:
        """Add a variable, without a value NULL."""
        if name.lower() in self._variables:
            raise placed(InvalidQueryError(f"Variable '{name}' redeclaration"), at)
        self._variables[name.lower()] = Given(name, type_, value)

    def replace(self, name: str, value: bytes) -> None:
        """Give a variable a value of its own type."""
        known = self._variables[name.lower()]
        self._variables[name.lower()] = msgspec.structs.replace(known, value=value)

    async def put(self, name: str, value: Any, type_: SqlType, at: Text) -> None:
        """Assign a value of this type to a variable."""
        known = self._variables.get(name.lower())
        if known is None:
            raise placed(InvalidQueryError(f"Undeclared variable: {name}"), at)
        made = await self._as(value, type_, known.type, at)
        self.replace(name, made.SerializeToString())

    # Statements and expressions

    async def statement(self, text: Text) -> Ran:
        """Run one statement of SQL."""
        return await self._ran(self._asked(text), text, (text.frame,))

    async def dynamic(self, sql: str, using: tuple[Given, ...], at: Text) -> Ran:
        """Run a text that sees no variables, only the values handed to it."""
        scope = Scope(self._dataset, (), self._system())
        question = msgspec.structs.replace(
            self._question, sql=sql, parameters=(), scope=scope, using=using
        )
        return await self._ran(question, at, (frame_at((1, 1), sql), at.frame))

    async def holds(self, text: Text) -> bool:
        """Evaluate a condition; NULL does not hold."""
        type_, value = await self.value(text)
        return bool((await self._as(value, type_, SqlType("BOOL"), text)).bool_value)

    async def string(self, text: Text) -> str:
        """Evaluate an expression that gives text."""
        type_, value = await self.value(text)
        return str((await self._as(value, type_, STRING, text)).string_value)

    async def value(self, text: Text) -> tuple[SqlType, Any]:
        """Evaluate an expression: its type and its `ValueProto`."""
        plan, rows = await self.rows(text)
        return type_of(plan), rows[0].cell[0]

    async def rows(self, text: Text) -> tuple[Plan, Any]:
        """Evaluate a query. One that reads no table is no job, as in BigQuery."""
        self.count()
        started = time.time()
        plan = await self.planned(text)
        told = self._told if plan.tables else lambda _: None
        ran = Ran(plan, started, frames=(text.frame,), expression=True)
        try:
            plan.refuse_beyond(self._most_billed)
            answer = await self._catalog.evaluated(plan)
        except KeystileError as error:
            told(ran._replace(error=placed(error, text)))
            raise placed(error, text) from error
        told(ran._replace(done=answer))
        return plan, service.TableContent.FromString(answer.content).table_data.row

    async def planned(self, text: Text) -> Plan:
        """Resolve an expression or a statement."""
        try:
            return await self._catalog.plan(self._asked(text))
        except KeystileError as error:
            raise placed(error, text) from error

    def count(self) -> None:
        """Take one step more."""
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise unsupported(f"scripts that run more than {MOST_STEPS:,} statements")

    # Transactions

    def transaction(self, kind: str, at: Text) -> None:
        """Begin, commit or roll back. Others see at once what a transaction does."""
        if kind == "begin":
            if self._before is not None:
                raise placed(InvalidQueryError("Transaction is already in progress"), at)
            self._before, self._touched = self._catalog.store.tables(), set()
            return
        if self._before is None:
            raise placed(InvalidQueryError("There is no active transaction"), at)
        if kind == "rollback":
            self._undo(self._before)
        self._before = None

    def _undo(self, before: Mapping[TableId, Stored]) -> None:
        store = self._catalog.store
        for id_ in self._touched:
            if id_ in before:
                store.put_table(before[id_])
            elif store.has_table(id_):
                store.drop_table(id_)

    async def _ran(self, question: Question, text: Text, frames: tuple[StackFrame, ...]) -> Ran:
        self.count()
        started = time.time()
        plan = Plan(question, "", Names(question.sql, question.sql), None, Bound())
        try:
            plan = await self._catalog.plan(question)
            plan.refuse_beyond(self._most_billed)
            done = await run(self._catalog, plan)
        except KeystileError as error:
            told = placed(error, text)
            self._told(Ran(plan, started, error=told, frames=frames))
            raise told from error
        ran = Ran(plan, started, done, frames=frames)
        if isinstance(done, Answer):
            self.result = ran
        else:
            self._row_count = done.affected
            self._touched.update(id_ for id_ in (done.destination, done.table) if id_)
        self._told(ran)
        return ran

    def _asked(self, text: Text) -> Question:
        given = self._question.parameters
        if given and not given[0].name:
            given = given[text.first : text.first + text.count]
        scope = Scope(self._dataset, self.given, self._system())
        return msgspec.structs.replace(self._question, sql=text.sql, parameters=given, scope=scope)

    def _system(self) -> tuple[Given, ...]:
        value = value_pb2.ValueProto
        message = value(string_value=str(self.errors[-1])) if self.errors else value()
        count = value() if self._row_count is None else value(int64_value=self._row_count)
        return (
            Given("error.message", STRING, message.SerializeToString()),
            Given("row_count", SqlType("INT64"), count.SerializeToString()),
        )

    async def _as(self, value: Any, type_: SqlType, wanted: SqlType, at: Text) -> Any:
        content = service.TableContent()
        content.table_data.row.add().cell.append(value)
        try:
            made = await self._catalog.recast(content.SerializeToString(), [type_], [wanted])
        except KeystileError as error:
            raise placed(error, at) from error
        return service.TableContent.FromString(made).table_data.row[0].cell[0]


def type_of(plan: Plan) -> SqlType:
    """Give the type of an expression, which is the only column of its query."""
    return plan.described.columns[0][1] if plan.described else STRING


def placed(error: KeystileError, text: Text) -> KeystileError:
    """Say where in the script an error came from, as BigQuery does."""
    message = str(error)
    if isinstance(error, UnsupportedError) or message.startswith(_QUERY_ERROR):
        return error
    return type(error)(f"{_QUERY_ERROR}{text.moved(message)}")
