"""A script read into steps, for `scripting` to take one by one."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import msgspec

from keystile.googlesql import protos
from keystile.googlesql.engine import Engine
from keystile.googlesql.task import Task
from keystile.sandbox.dialect import kind_of, nodes, place
from keystile.sandbox.names import parse
from keystile.wire.scripts import StackFrame, frame_at

_PLACE = re.compile(r" ?\[(?:at )?(\d+):(\d+)\]")
_IN_SELECT = "SELECT ("


class Text(msgspec.Struct, frozen=True):
    """A statement, or an expression within a SELECT of its own.

    `own` is the expression as it stands; `line` and `column` are where it begins. `first` and
    `count` tell which positional parameters it has.
    """

    sql: str
    line: int
    column: int
    own: str = ""
    first: int = 0
    count: int = 0

    @property
    def frame(self) -> StackFrame:
        """Where it stands in the script."""
        return frame_at((self.line, self.column), self.own or self.sql)

    def moved(self, message: str) -> str:
        """Say the places of a message as places in the script, and where there is none, this."""
        found = _PLACE.search(message)
        if found is None:
            return f"{message} at [{self.line}:{self.column}]"
        line, column = int(found[1]), int(found[2])
        if line == 1:
            column += self.column - 1 - (len(_IN_SELECT) if self.own else 0)
        at = f"[{self.line + line - 1}:{max(column, 1)}]"
        return f"{_PLACE.sub('', message).removesuffix(' at')} at {at}"


class Step(msgspec.Struct, frozen=True):
    """One statement of the scripting language, or one that runs as it stands (`run`).

    What the fields hold follows the `kind`: `text` is what it evaluates or runs, `type` the type
    that DECLARE gives, `names` are variables, `using` the values of EXECUTE IMMEDIATE with their
    names, `body` the statements of a branch, a loop or a block and `other` those of ELSE or of an
    exception handler, which a block has where it is `handled`. `words` describe an ASSERT. `whole`
    is all of an EXECUTE IMMEDIATE.
    """

    kind: str
    line: int
    column: int
    text: Text | None = None
    type: Text | None = None
    names: tuple[str, ...] = ()
    using: tuple[tuple[str, Text], ...] = ()
    label: str = ""
    body: tuple[Step, ...] = ()
    other: tuple[Step, ...] = ()
    handled: bool = False
    words: str = ""
    whole: str = ""

    @property
    def place(self) -> Text:
        """Where it begins, with its text where it is known."""
        return Text(self.whole, self.line, self.column)

    def needs(self) -> Text:
        """Give the text that steps of this kind always have."""
        return self.text or self.place


class Script(msgspec.Struct, frozen=True):
    """A script's steps, and whether they are temporary functions and one query alone."""

    steps: tuple[Step, ...]
    plain: bool = False


def read_script(engine: Engine, sql: str) -> Script:
    """Read a script. Raises `InvalidQueryError` for a syntax error."""
    found = parse(engine, sql).statement_list_node
    kinds = [kind_of(each, "AST", "StatementProto") for each in found.statement_list]
    plain = kinds[-1:] == ["Query"] and {*kinds[:-1]} == {"CreateFunction"}
    return Script(_Reader(sql).steps(found), plain)


class _Reader:
    """Reads the parse tree of one script."""

    def __init__(self, sql: str) -> None:
        self._data = sql.encode()

    def steps(self, holder: Any) -> tuple[Step, ...]:
        return tuple(self._step(protos.unwrapped(each)) for each in holder.statement_list)

    def _step(self, node: Any) -> Step:
        read = self._readers.get(node.DESCRIPTOR.name)
        return read(self, node) if read else self._made("run", node, text=self._text(node))

    def _made(self, kind: str, node: Any, **fields: Any) -> Step:
        return Step(kind, *self._line_and_column(place(node)[0]), **fields)

    def _line_and_column(self, offset: int) -> tuple[int, int]:
        before = self._data[:offset].decode()
        return before.count("\n") + 1, len(before) - before.rfind("\n")

    def _text(self, node: Any, own: str = "") -> Text:
        node = protos.unwrapped(node)
        start, end = place(node)
        text = self._data[start:end].decode()
        marks = [mark.position for mark in nodes(node, "ASTParameterExprProto") if mark.position]
        return Text(
            own or text,
            *self._line_and_column(start),
            first=min(marks, default=1) - 1,
            count=len(marks),
        )

    def _value(self, node: Any, field: str) -> Text | None:
        """Give an expression that the node may have."""
        if not protos.has(node, field):
            return None
        text = self._text(protos.inherited(node, field))
        return msgspec.structs.replace(text, sql=f"{_IN_SELECT}{text.sql}\n)", own=text.sql)

    def _declare(self, node: Any) -> Step:
        type_ = None
        if protos.has(node, "type"):
            text = self._text(node.type)
            type_ = msgspec.structs.replace(text, sql=f"SELECT CAST(NULL AS {text.sql})")
        names = tuple(name.id_string for name in node.variable_list.identifier_list)
        value = self._value(node, "default_value")
        return self._made("declare", node, text=value, type=type_, names=names)

    def _set(self, node: Any) -> Step:
        value = self._value(node, "expression")
        return self._made("set", node, text=value, names=(node.variable.id_string,))

    def _unpack(self, node: Any) -> Step:
        names = tuple(name.id_string for name in node.variables.identifier_list)
        value = self._value(node, "struct_expression")
        return self._made("unpack", node, text=value, names=names)

    def _if(self, node: Any) -> Step:
        branches: list[Any] = [node]
        if protos.has(node, "elseif_clauses"):
            branches += node.elseif_clauses.elseif_clauses
        last = self.steps(node.else_list) if protos.has(node, "else_list") else ()
        for branch in reversed(branches):
            body = self.steps(branch.then_list if branch is node else branch.body)
            value = self._value(branch, "condition")
            last = (self._made("if", branch, text=value, body=body, other=last),)
        return last[0]

    def _case(self, node: Any) -> Step:
        subject = self._value(node, "expression")
        last = self.steps(node.else_list) if protos.has(node, "else_list") else ()
        for branch in reversed(node.when_then_clauses.when_then_clauses):
            value = self._value(branch, "condition")
            if subject and value:
                sql = f"{_IN_SELECT}({subject.own}\n) = ({value.own}\n))"
                both = subject.count + value.count
                value = msgspec.structs.replace(value, sql=sql, first=subject.first, count=both)
            step = self._made("if", branch, text=value, body=self.steps(branch.body), other=last)
            last = (step,)
        return last[0]

    def _while(self, node: Any) -> Step:
        body = self.steps(protos.inherited(node, "body"))
        value = self._value(node, "condition")
        return self._made("while", node, text=value, body=body, label=_label(node))

    def _repeat(self, node: Any) -> Step:
        body = self.steps(protos.inherited(node, "body"))
        value = self._value(node.until_clause, "condition")
        return self._made("repeat", node, text=value, body=body, label=_label(node))

    def _for(self, node: Any) -> Step:
        return self._made(
            "for",
            node,
            text=self._text(node.query),
            names=(node.variable.id_string,),
            body=self.steps(protos.inherited(node, "body")),
            label=_label(node),
        )

    def _block(self, node: Any) -> Step:
        handlers = (
            node.handler_list.exception_handler_list if protos.has(node, "handler_list") else ()
        )
        return self._made(
            "block",
            node,
            body=self.steps(node.statement_list_node),
            other=tuple(
                step for handler in handlers for step in self.steps(handler.statement_list)
            ),
            handled=bool(handlers),
            label=_label(node),
        )

    def _execute(self, node: Any) -> Step:
        using: Sequence[Any] = ()
        if protos.has(node, "using_clause"):
            using = node.using_clause.arguments
        into = node.into_clause.identifiers.identifier_list if node.HasField("into_clause") else ()
        return self._made(
            "execute",
            node,
            text=self._value(node, "sql"),
            whole=self._text(node).sql,
            names=tuple(name.id_string for name in into),
            using=tuple(
                (argument.alias.identifier.id_string, value)
                for argument in using
                if (value := self._value(argument, "expression"))
            ),
        )

    def _raise(self, node: Any) -> Step:
        return self._made("raise", node, text=self._value(node, "message"))

    def _assert(self, node: Any) -> Step:
        words = node.description.string_value if node.HasField("description") else ""
        return self._made("assert", node, text=self._value(node, "expr"), words=words)

    def _leave(self, node: Any) -> Step:
        return self._made("leave", node, label=_label(node))

    def _continue(self, node: Any) -> Step:
        return self._made("continue", node, label=_label(node))

    def _return(self, node: Any) -> Step:
        return self._made("return", node)

    def _transaction(self, node: Any) -> Step:
        return self._made(_TRANSACTIONS[node.DESCRIPTOR.name], node)

    _readers: ClassVar[dict[str, Callable[[_Reader, Any], Step]]] = {
        "ASTAssertStatementProto": _assert,
        "ASTAssignmentFromStructProto": _unpack,
        "ASTBeginEndBlockProto": _block,
        "ASTBeginStatementProto": _transaction,
        "ASTBreakStatementProto": _leave,
        "ASTCaseStatementProto": _case,
        "ASTCommitStatementProto": _transaction,
        "ASTContinueStatementProto": _continue,
        "ASTExecuteImmediateStatementProto": _execute,
        "ASTForInStatementProto": _for,
        "ASTIfStatementProto": _if,
        "ASTRaiseStatementProto": _raise,
        "ASTRepeatStatementProto": _repeat,
        "ASTReturnStatementProto": _return,
        "ASTRollbackStatementProto": _transaction,
        "ASTSingleAssignmentProto": _set,
        "ASTVariableDeclarationProto": _declare,
        "ASTWhileStatementProto": _while,
    }


_TRANSACTIONS = {
    "ASTBeginStatementProto": "begin",
    "ASTCommitStatementProto": "commit",
    "ASTRollbackStatementProto": "rollback",
}


def _label(node: Any) -> str:
    if not protos.has(node, "label"):
        return ""
    name: str = protos.inherited(node, "label").name.id_string
    return name.lower()


READ_SCRIPT = Task(read_script, str, Script)
