"""What names mean at each place of a script: variables, and what statements make of tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from keystile.analysis import names
from keystile.analysis.calls import routine_id
from keystile.analysis.kinds import KINDS
from keystile.analysis.made_routines import changed
from keystile.analysis.outlined import OutlineRequest
from keystile.analysis.parsing import identifiers
from keystile.analysis.scripts.parts import Variable
from keystile.analysis.scripts.state import BEFORE, CHANGED, makers
from keystile.analysis.scripts.texts import Texts, tables_of
from keystile.analysis.temporary import is_certain, is_temporary, temporary, temporary_name
from keystile.analysis.tree import kind
from keystile.googlesql.protos import has, inherited, unwrapped
from keystile.model.errors import InvalidQueryError, KeystileError
from keystile.model.facts import Action
from keystile.model.schema import TableId

_DEFINITIONS = frozenset(
    {
        "ASTCreateFunctionStatement",
        "ASTCreateMaterializedViewStatement",
        "ASTCreateTableFunctionStatement",
        "ASTCreateViewStatement",
    }
)
"""Statements whose text is kept, and read whenever what they define is used."""


class Meanings(Texts):
    """The texts of a script, and what becomes of the names in it."""

    def __init__(self, request: OutlineRequest) -> None:
        """Begin at the start of the script, where only the default names have a meaning."""
        super().__init__(request.sql)
        self.request = request
        self.variables: list[Variable] = []
        self._declared: dict[tuple[int, str], int] = {}

    def declare(self, name: Any, part: int, *, row: bool = False) -> int:
        """Give a variable its number, which is seen from here on; a `row` is that of a FOR."""
        key = (part, name.id_string.lower())
        if key not in self._declared:
            self._declared[key] = len(self.variables)
            self.variables.append(Variable(name.id_string, part, row))
        self.visible[key[1]] = self._declared[key]
        return self._declared[key]

    def variable(self, name: Any) -> int:
        """Give the number of the variable that is meant here. Raises `InvalidQueryError`."""
        number = self.visible.get(name.id_string.lower())
        if number is None:
            place = self.in_engine_words(name)
            raise InvalidQueryError(f"Undeclared variable: {name.id_string} at {place}")
        return number

    def gives(self, part: int, variables: Iterable[int]) -> None:
        """Note which variables a part of the script sets."""
        self.change(part, sets=tuple(variables))

    def apply(self, node: Any, number: int) -> None:
        """Note what a statement makes of tables and routines."""
        if kind(node) in _DEFINITIONS:
            self._check_definition(node)
        if routine := changed(node):
            home = (self.request.project, self.request.dataset)
            self.change(number, changes=routine_id(routine, *home))
        known = KINDS.get(kind(node))
        if known is None or Action.SCHEMA_CHANGE not in known.actions:
            return
        for field in known.targets:
            path = unwrapped(inherited(node, field)) if has(node, field) else None
            if path is None or kind(path) != "ASTPathExpression":
                continue
            if kind(node) == "ASTCreateTableStatement":
                self._create(node, names.split(identifiers(path)), number)
            else:
                for table in self._targets(names.split(identifiers(path))):
                    dropped = kind(node) == "ASTDropStatement" and is_temporary(table)
                    self.flow.make(table, BEFORE if dropped else CHANGED)

    def _check_definition(self, node: Any) -> None:
        for table in sorted(tables_of(node)):
            if makers(self.flow.here, temporary(table)) != {BEFORE}:
                # INVARIANT: when it is used, the name may mean the table in the default dataset.
                hint = "read the temporary table in the query that uses it"
                what = f"temporary table `{table}` in the text of a function or a view"
                self.note(what, node, hint)

    def _create(self, node: Any, path: names.Path, number: int) -> None:
        table: TableId | None = temporary(path[-1]) if inherited(node, "scope") else None
        table = table or self._resolved(path)
        if table is None:
            return
        odd = ("like_table_name", "clone_data_source", "copy_data_source")
        known = not any(has(node, field) for field in odd)
        missing = bool(inherited(node, "is_if_not_exists"))
        self.change(number, makes=table if known else None, only_if_missing=missing)
        self.flow.make(table, number if known else CHANGED, only_if_missing=missing and known)

    def _targets(self, path: names.Path) -> list[TableId]:
        """Give what a path of a DROP or an ALTER may mean here."""
        found = []
        by = makers(self.flow.here, temporary(temporary_name(path)))
        if temporary_name(path) and by != {BEFORE}:
            found.append(temporary(temporary_name(path)))
        if not is_certain(path) and BEFORE in by and (table := self._resolved(path)):
            found.append(table)
        return found

    def _resolved(self, path: names.Path) -> TableId | None:
        try:
            return names.resolve(path, self.request.project, self.request.dataset)
        except KeystileError:
            return None  # the statement itself is refused for it
