"""The first look at a text: which statement it is and which tables it names.

It reads the parse tree, so it needs no schema. What it cannot vouch for becomes opaque here, before
any table is looked up.
"""

from __future__ import annotations

import re
from typing import Any

from keystile.analysis import names
from keystile.analysis.acts import dropped, extra_actions, kind_of, own_business, replaces
from keystile.analysis.calls import called, calls, doubt_of_any_type, function, routine_id
from keystile.analysis.doubts import DOUBTED, doubt
from keystile.analysis.effects import connections, copies, copies_rows, renamed, uris
from keystile.analysis.kinds import KINDS, SCRIPT, UNKNOWN, Depth
from keystile.analysis.made_routines import changed, takes_any_type
from keystile.analysis.outlined import NamedRoutine, NamedTable, Outline, OutlineRequest
from keystile.analysis.parsing import Parsed, identifiers, parse
from keystile.analysis.places import line_and_column
from keystile.analysis.redefining import begins_anew, redefined
from keystile.analysis.temporary import (
    is_certain,
    is_temporary_table,
    runs_as_script,
    temporary,
    temporary_name,
)
from keystile.analysis.text import unspliced
from keystile.analysis.tree import kind, span
from keystile.googlesql.engine import Engine
from keystile.googlesql.protos import has, inherited, unwrapped
from keystile.model.errors import KeystileError
from keystile.model.facts import Action, Opaque, Redefined, WrittenColumn
from keystile.model.schema import ColumnRef, TableId

# BigQuery once took this first line for a switch to its old dialect.
LEGACY = re.compile(r"\s*#\s*legacysql", re.IGNORECASE)
"""The directive at the beginning of a text."""

_HINTS = {
    "CALL": "run what the procedure does as statements of your own",
    "CREATE PROCEDURE": "run its statements as a script",
    "DESCRIBE": "read the dataset's `INFORMATION_SCHEMA.COLUMNS`",
    "EXPLAIN": "make a dry run",
    "RUN": "run what it does as statements of your own",
    "SHOW": "read the dataset's `INFORMATION_SCHEMA.TABLES`",
}
"""What to do instead of statements that are not served."""

_QUERIES = frozenset({"ASTQuery", "ASTExpressionSubquery"})

_PLAIN_IN = {
    "ASTExportDataStatement": frozenset({"ASTConnectionClause", "ASTWithConnectionClause"})
}
"""What is a doubt elsewhere and none in these statements, where it is a fact."""

_CHANGE_COLUMNS = frozenset({"ASTAlterTableStatement"})
"""Statements whose target must be looked up, though the engine does not list it."""


def outline(engine: Engine, request: OutlineRequest) -> Outline:
    """Parse the text and say what it is.

    Raises `InvalidQueryError` where it does not parse, and `RefusedError` where its names are
    ambiguous or malformed.
    """
    look = _Look(request, parse(engine, request.sql))
    return look.script() if look.is_script else look.outline()


class _Look:
    """Gathers what one parse tree says."""

    def __init__(self, request: OutlineRequest, parsed: Parsed) -> None:
        self._request = request
        self._parsed = parsed
        self._nodes = parsed.nodes
        self._callers = [node for node in parsed.nodes if calls(node)]
        in_script = request.temporary is not None
        self._temporary = request.temporary or ()
        self.is_script = parsed.script or (runs_as_script(parsed.tree) and not in_script)
        self._kind = SCRIPT if self.is_script else kind_of(parsed.tree)
        self._opaque: list[Opaque] = []

    def script(self) -> Outline:
        """Say that it is a script, which is taken apart before anything of it is looked at."""
        self._look_for_legacy()
        return Outline(
            sql=self._parsed.sql,
            statement=SCRIPT.statement,
            actions=SCRIPT.actions,
            named=(),
            writes=(),
            opaque=tuple(self._opaque),
            resolve=False,
        )

    def outline(self) -> Outline:
        """Say what a single statement is, with all in it that nobody vouches for."""
        self._look_for_legacy()
        self._look_at_kind()
        tree = self._parsed.tree
        actions, writes = self._acts()
        self._look_for_queries()
        named = self._named()
        routines, functions = self._calls(), self._functions()
        self._look_at_any_type((*named, *routines), functions)
        actions -= own_business(tree)
        if {table.id for table in named} - writes:
            actions.add(Action.READ)
        return Outline(
            sql=self._parsed.sql,
            statement=self._statement_type(),
            actions=tuple(action for action in Action if action in actions),
            named=named,
            writes=tuple(sorted(writes)),
            opaque=tuple(self._opaque),
            resolve=(self._kind.depth is Depth.RESOLVED and not self._opaque and not copies(tree)),
            uris=tuple(dict.fromkeys(uris(self._nodes))),
            connections=tuple(dict.fromkeys(connections(self._nodes))),
            renamed=_renamed(tree, sorted(writes)),
            replaces=replaces(tree),
            copied=copies_rows(tree),
            calls=routines,
            functions=functions,
            splits=tuple(self._parsed.splits),
            redefined=_redefined(tree, sorted(writes)),
            anew=tuple(sorted(writes)) if begins_anew(tree) else (),
        )

    def _look_for_legacy(self) -> None:
        if LEGACY.match(self._parsed.sql):
            what, hint = "`#legacySQL` directive", "write GoogleSQL, and leave this line out"
            self._opaque.append(Opaque(what, *self._first_word(), hint))

    def _look_at_kind(self) -> None:
        if self._kind.depth is Depth.OPAQUE:
            words = self._statement_type().replace("_", " ")
            hint = _HINTS.get(words, "ask somebody with access of their own to run it")
            self._note(f"{words} statement", self._parsed.tree, hint)

    def _acts(self) -> tuple[set[Action], set[TableId]]:
        """Give what every statement in the text does, and to what, noting doubts on the way."""
        actions = set(self._kind.actions)
        writes: set[TableId] = set()
        plain = _PLAIN_IN.get(kind(self._parsed.tree), frozenset[str]())
        for node in self._nodes:
            name = kind(node)
            if name in KINDS or name.endswith("Statement"):
                actions.update(kind_of(node).actions)
                writes.update(self._targets(node))
                actions.update(extra_actions(node))
            if name in DOUBTED and name not in plain and (found := doubt(node)):
                self._note(found.what, found.node or node, found.hint)
        return actions, writes

    def _look_for_queries(self) -> None:
        """Find what a statement computes that the engine does not look into: it must not."""
        if self._kind.depth is Depth.NAMED or copies(self._parsed.tree):
            for node in self._nodes:
                if kind(node) in _QUERIES:
                    self._note("query in this statement", node, "write its value out")

    def _first_word(self) -> tuple[int, int]:
        sql = self._request.sql
        return line_and_column(sql, len(sql[: len(sql) - len(sql.lstrip())].encode()))

    def _statement_type(self) -> str:
        tree = self._parsed.tree
        if kind(tree) == "ASTDropStatement":
            return f"DROP_{dropped(tree)}"
        if kind(tree) == "ASTCreateTableStatement" and has(tree, "query"):
            return "CREATE_TABLE_AS_SELECT"
        if kind(tree) == "ASTCreateIndexStatement" and tree.is_vector:
            return "CREATE_VECTOR_INDEX"
        if self._kind is UNKNOWN:
            return kind(tree).removeprefix("AST").removesuffix("Statement").upper()
        return self._kind.statement

    def _functions(self) -> tuple[str, ...]:
        return tuple(sorted({name for node in self._callers if (name := function(node))}))

    def _look_at_any_type(self, named: tuple[object, ...], functions: tuple[str, ...]) -> None:
        tree = self._parsed.tree
        if takes_any_type(tree) and (what := doubt_of_any_type(named, functions)):
            self._note(f"function with {what}", tree, "declare the types of its arguments")

    def _calls(self) -> tuple[NamedRoutine, ...]:
        found: dict[names.Path, NamedRoutine] = {}
        for node in self._callers:
            if (path := called(node)) and path not in found:
                id_ = routine_id(path, self._request.project)
                place = self._line_and_column(node)
                found[path] = NamedRoutine(path, id_, kind(node) == "ASTTVF", *place)
        names.check_cases(found, lambda path: (found[path].line, found[path].column))
        return tuple(found.values())

    def _named(self) -> tuple[NamedTable, ...]:
        plain = []
        for path in self._parsed.paths:
            if not self._own(path) and (strange := names.strange(path)):
                self._note(strange.what, self._where_named(path), strange.hint)
            else:
                plain.append(path)
        if kind(self._parsed.tree) in _CHANGE_COLUMNS:
            plain += [names.split(identifiers(inherited(self._parsed.tree, "path")))]
        names.check_cases(plain, self._place_named)
        return tuple(
            NamedTable(path, id_, *self._place_named(path))
            for path in plain
            for id_ in self._resolved(path)
        )

    def _where_named(self, path: names.Path) -> Any:
        paths = (node for node in self._nodes if kind(node) == "ASTPathExpression")
        return next((node for node in paths if identifiers(node) == path), None)

    def _place_named(self, path: names.Path) -> tuple[int, int]:
        return self._line_and_column(self._where_named(path))

    def _targets(self, statement: Any) -> list[TableId]:
        """Name what a statement changes; a dataset has an empty table name."""
        targets = []
        if path := changed(statement):
            id_ = routine_id(path, self._request.project, self._request.dataset)
            if id_.dataset.startswith("_"):
                self._note(f"hidden dataset in `{id_}`", statement, "name a dataset of yours")
            targets.append(TableId(id_.project, id_.dataset, ""))
        for field in kind_of(statement).targets:
            node = unwrapped(inherited(statement, field)) if has(statement, field) else None
            if node is None or kind(node) != "ASTPathExpression":
                hint = "set the whole column, to an array made by a subquery over UNNEST"
                self._note("DML on a nested field", statement, hint)
                continue
            path = names.split(identifiers(node))
            if is_temporary_table(statement):
                targets.append(temporary(path[-1]))
            elif "Schema" in kind(statement) or dropped(statement) == "SCHEMA":
                if path[-1].startswith("_"):
                    self._note(f"changing the hidden or temporary dataset `{path[-1]}`", node)
                targets.append(TableId((self._request.project, *path)[-2], path[-1], ""))
            elif not self._own(path) and (strange := names.strange(path, written=True)):
                self._note(strange.what, node, strange.hint)
            elif dropped(statement) in {"", "TABLE", "VIEW", "EXTERNAL_TABLE"}:
                targets.extend(self._resolved(path))
        return targets

    def _own(self, path: names.Path) -> str:
        """Give the name of the script's temporary table that a path means; empty for no such."""
        name = temporary_name(path)
        if self._request.temporary is None or not (is_certain(path) or name in self._temporary):
            return ""
        return name

    def _resolved(self, path: names.Path) -> tuple[TableId, ...]:
        if own := self._own(path):
            return (temporary(own),)
        try:
            return (names.resolve(path, self._request.project, self._request.dataset),)
        except KeystileError as error:
            if self._kind.depth is Depth.OPAQUE:
                return ()  # refused anyway
            raise error.at(self._place_named(path)) from None

    def _note(self, what: str, node: Any, hint: str = "") -> None:
        found = Opaque(what, *self._line_and_column(node), hint)
        if found not in self._opaque:
            self._opaque.append(found)

    def _line_and_column(self, node: Any) -> tuple[int, int]:
        place = span(node) if node is not None else None
        if place is None:
            return 0, 0
        return line_and_column(self._request.sql, unspliced(place.start, self._parsed.splits))


def _renamed(tree: Any, targets: list[TableId]) -> tuple[WrittenColumn, ...]:
    return tuple(
        WrittenColumn(ColumnRef(table, (new,)), (was,), was)
        for old, new in renamed(tree)
        for table in targets
        for was in (ColumnRef(table, (old,)),)
    )


def _redefined(tree: Any, targets: list[TableId]) -> tuple[Redefined, ...]:
    return tuple(
        Redefined(ColumnRef(table, path), description)
        for path, description in redefined(tree)
        for table in targets
    )
