"""Takes a script apart: every text in it that computes something, and what its names mean there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from keystile.analysis.functions import ALIASES, ALLOWED, DENIED
from keystile.analysis.made_routines import temporary_function
from keystile.analysis.outlined import OutlineRequest
from keystile.analysis.parsing import identifiers, statement_tree
from keystile.analysis.scripts.constant import constant_text
from keystile.analysis.scripts.meanings import Meanings
from keystile.analysis.scripts.parts import Role, Script, Using
from keystile.analysis.scripts.state import united
from keystile.analysis.scripts.texts import skeleton
from keystile.analysis.tree import children, kind
from keystile.analysis.words import in_bigquery_words
from keystile.googlesql.engine import Engine
from keystile.googlesql.messages import service
from keystile.googlesql.protos import has, inherited, language_options, unwrapped
from keystile.model.errors import InvalidQueryError
from keystile.model.facts import Action

_TAKEN = ALLOWED | ALIASES | DENIED
"""What a temporary function cannot be called: the engine stops where a name has two meanings."""


def split(engine: Engine, request: OutlineRequest) -> Script:
    """Take a script apart.

    Raises `InvalidQueryError` where it does not parse or sets a variable that it does not declare,
    and `RefusedError` where it has too many parts.
    """
    return _Split(engine, request, script_tree(engine, request.sql)).script()


def script_tree(engine: Engine, sql: str) -> Any:
    """Parse a text as a script, which one statement is too. Raises `InvalidQueryError`."""
    request = service.ParseRequest(
        sql_statement=sql, options=language_options(engine), allow_script=True
    )
    with in_bigquery_words():
        return engine.call("Parse", request, service.ParseResponse).parsed_script


class _Split(Meanings):
    """One pass over a script."""

    def __init__(self, engine: Engine, request: OutlineRequest, tree: Any) -> None:
        super().__init__(request)
        self._engine = engine
        self._tree = tree
        self._actions = {Action.SCRIPT}

    def script(self) -> Script:
        self._statements(self._tree.statement_list_node)
        statements = [unwrapped(one) for one in self._tree.statement_list_node.statement_list]
        parts = self.parts()
        self.check_cases()
        return Script(
            parts=parts,
            variables=tuple(self.variables),
            actions=tuple(action for action in Action if action in self._actions),
            opaque=tuple(self.opaque),
            skeleton=skeleton(self._tree, parts),
            plain=len(statements) > 1
            and kind(statements[-1]) == "ASTQueryStatement"
            and all(temporary_function(statement) for statement in statements[:-1]),
        )

    def _statements(self, holder: Any) -> None:
        for statement in holder.statement_list:
            node = unwrapped(statement)
            method = self._methods.get(kind(node), _Split._plain)
            method(self, node)

    def _plain(self, node: Any) -> None:
        self.apply(node, self.part(Role.STATEMENT, node))

    def _function(self, node: Any) -> None:
        number = self.part(Role.STATEMENT, node)
        self.apply(node, number)
        name = temporary_function(node)
        if not name:
            return
        known = name.lower()
        if all(node is not unwrapped(one) for one in self._tree.statement_list_node.statement_list):
            # INVARIANT: what a temporary function is does not depend on the way through the script.
            self.note("temporary function in a block", node, "make it before the block")
        elif self.functions.get(known, number) != number:
            hint = "give each function a name of its own"
            self.note(f"second temporary function `{name}`", node, hint)
        elif "." in name or known in _TAKEN:
            self.note(f"temporary function `{name}`", node, "give it a plain name of its own")
        else:
            self.functions[known] = number
            self.change(number, function=name)

    def _block(self, node: Any) -> None:
        around = dict(self.visible)
        with self.flow.labelled(_label(node)):
            with self.flow.trying() as seen:
                self._statements(node.statement_list_node)
            self.visible = dict(around)
            if has(node, "handler_list"):
                end = self.flow.now()
                self.flow.handle(seen)
                for handler in node.handler_list.exception_handler_list:
                    self._statements(handler.statement_list)
                self.flow.resume(united(end, self.flow.now()))
        self.visible = around

    def _if(self, node: Any) -> None:
        branches = [(node.condition, node.then_list)]
        if has(node, "elseif_clauses"):
            clauses = node.elseif_clauses.elseif_clauses
            branches += [(clause.condition, clause.body) for clause in clauses]
        self._branches(branches, node)

    def _case(self, node: Any) -> None:
        if has(node, "expression"):
            self.part(Role.CONDITION, unwrapped(node.expression))
        clauses = node.when_then_clauses.when_then_clauses
        self._branches([(clause.condition, clause.body) for clause in clauses], node)

    def _branches(self, branches: list[tuple[Any, Any]], node: Any) -> None:
        for condition, _ in branches:
            self.part(Role.CONDITION, unwrapped(condition))
        ways = self.flow.ways()
        for _, body in branches:
            with ways.way():
                self._statements(body)
        with ways.way():
            if has(node, "else_list"):
                self._statements(node.else_list)
        ways.meet()

    def _while(self, node: Any) -> None:
        ends = has(node, "condition")
        for _ in self.flow.rounds(_label(node), skippable=ends, ends=ends):
            if ends:
                self.part(Role.CONDITION, unwrapped(node.condition))
            self._statements(inherited(node, "body"))

    def _repeat(self, node: Any) -> None:
        until = unwrapped(node.until_clause.condition)
        for _ in self.flow.rounds(_label(node), skippable=False):
            self._statements(inherited(node, "body"))
            self.part(Role.CONDITION, until)
        self.part(Role.CONDITION, until)  # CONTINUE comes here too

    def _for(self, node: Any) -> None:
        rows = self.part(Role.ROWS, node.query)
        around = dict(self.visible)
        self.gives(rows, [self.declare(node.variable, rows, row=True)])
        for _ in self.flow.rounds(_label(node), skippable=True):
            self._statements(inherited(node, "body"))
        self.visible = around

    def _break(self, node: Any) -> None:
        self.flow.leave(_label(node), again=False)

    def _continue(self, node: Any) -> None:
        self.flow.leave(_label(node), again=True)

    def _raise(self, node: Any) -> None:
        if has(node, "message"):
            self.part(Role.VALUE, unwrapped(node.message))
        self.flow.stop()

    def _return(self, _: Any) -> None:
        self.flow.stop()

    def _transaction(self, node: Any) -> None:
        self._actions.add(Action.SESSION)
        if kind(node) == "ASTBeginStatement":
            self.flow.begin_transaction()
        elif kind(node) == "ASTRollbackStatement":
            self.flow.roll_back()
        for _, child in children(node):
            self.note("transaction mode", child, "write BEGIN TRANSACTION alone")

    def _declaration(self, node: Any) -> None:
        part = -1
        if has(node, "default_value"):
            part = self.part(Role.VALUE, unwrapped(node.default_value))
        default = part
        if has(node, "type"):
            part = self.part(Role.TYPE, unwrapped(node.type))
        found = [self.declare(name, part) for name in node.variable_list.identifier_list]
        if default >= 0:
            self.gives(default, found)

    def _assignment(self, node: Any) -> None:
        value = self.part(Role.VALUE, unwrapped(node.expression))
        self.gives(value, [self.variable(node.variable)])

    def _assignments(self, node: Any) -> None:
        value = self.part(Role.VALUE, unwrapped(node.struct_expression))
        self.gives(value, map(self.variable, node.variables.identifier_list))

    def _setting(self, node: Any) -> None:
        self._actions.add(Action.SESSION)
        path = ".".join(identifiers(node.system_variable.path))
        hint = "leave it out, and name tables and time zones in full"
        self.note(f"setting the system variable `@@{path}`", node, hint)

    def _parameter(self, node: Any) -> None:
        self.note("setting a query parameter", node, "use a variable, with DECLARE and SET")

    def _execute(self, node: Any) -> None:
        text = constant_text(unwrapped(node.sql))
        if text is None:
            self._actions.update((Action.READ, Action.WRITE))
            hint = "write the text as a literal, with values handed in by USING"
            self.note("EXECUTE IMMEDIATE of a text that is no constant", unwrapped(node.sql), hint)
            return
        using = []
        if has(node, "using_clause"):
            for argument in node.using_clause.arguments:
                value = self.part(Role.VALUE, unwrapped(argument.expression))
                alias = argument.alias.identifier.id_string if has(argument, "alias") else ""
                using.append(Using(alias, value))
        inner = self._parsed(text, unwrapped(node.sql))
        if kind(inner) in _TRANSACTIONS:
            # It would change what names mean without being seen to.
            self.note("a transaction in EXECUTE IMMEDIATE", node, "write it out")
        number = self.part(Role.DYNAMIC, unwrapped(node.sql), text, inner)
        self.change(number, using=tuple(using))
        if has(node, "into_clause"):
            into = node.into_clause.identifiers.identifier_list
            self.gives(number, map(self.variable, into))
        self.apply(inner, number)
        if temporary_function(inner):
            self.note("temporary function in EXECUTE IMMEDIATE", node, "write the statement out")

    def _parsed(self, text: str, node: Any) -> Any:
        try:
            return statement_tree(self._engine, text)
        except InvalidQueryError as error:
            place = self.in_engine_words(node)
            words = f"Invalid EXECUTE IMMEDIATE sql string at {place}: {error.message}"
            raise InvalidQueryError(words, hint=error.hint) from error

    _methods: ClassVar[dict[str, Callable[[_Split, Any], None]]] = {
        "ASTBeginEndBlock": _block,
        "ASTCreateFunctionStatement": _function,
        "ASTIfStatement": _if,
        "ASTCaseStatement": _case,
        "ASTWhileStatement": _while,
        "ASTRepeatStatement": _repeat,
        "ASTForInStatement": _for,
        "ASTBreakStatement": _break,
        "ASTContinueStatement": _continue,
        "ASTRaiseStatement": _raise,
        "ASTReturnStatement": _return,
        "ASTBeginStatement": _transaction,
        "ASTCommitStatement": _transaction,
        "ASTRollbackStatement": _transaction,
        "ASTVariableDeclaration": _declaration,
        "ASTSingleAssignment": _assignment,
        "ASTAssignmentFromStruct": _assignments,
        "ASTSystemVariableAssignment": _setting,
        "ASTParameterAssignment": _parameter,
        "ASTExecuteImmediateStatement": _execute,
    }


_TRANSACTIONS = frozenset({"ASTBeginStatement", "ASTCommitStatement", "ASTRollbackStatement"})


def _label(node: Any) -> str:
    """Give the label of a loop or a block, or the one that BREAK and CONTINUE name."""
    return inherited(node, "label").name.id_string if has(node, "label") else ""
