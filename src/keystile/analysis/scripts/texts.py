"""Gathers the texts of a script, and on which ways each is reached."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from keystile.analysis.kinds import KINDS
from keystile.analysis.names import split
from keystile.analysis.parsing import identifiers
from keystile.analysis.places import Place, in_engine_words, line_and_column
from keystile.analysis.scripts.parts import Meaning, Part, Role
from keystile.analysis.scripts.state import Flow, State, makers, united
from keystile.analysis.temporary import is_temporary, temporary_name
from keystile.analysis.tree import Span, children, descendants, kind, span
from keystile.googlesql.protos import has, inherited, unwrapped
from keystile.model.errors import RefusedError
from keystile.model.facts import Opaque

MOST_PARTS = 1000
"""How many statements and expressions a script may have."""

_AROUND = {
    Role.VALUE: ("SELECT (", ")"),
    Role.CONDITION: ("SELECT (", ")"),
    Role.TYPE: ("SELECT CAST(NULL AS ", ")"),
}

_LISTS = frozenset({"ASTScript", "ASTStatementList"})


class Texts:
    """What a pass over a script gathers. The same text may be reached more than once."""

    def __init__(self, sql: str) -> None:
        """Begin at the script's beginning."""
        self._sql = sql
        self._data = sql.encode()
        self._numbers: dict[tuple[int, int, Role], int] = {}
        self._parts: list[Part] = []
        self._mentioned: list[frozenset[str]] = []
        self._states: list[State | None] = []
        self.flow = Flow()
        self._spelled: dict[str, dict[str, Place]] = {}
        self.visible: dict[str, int] = {}
        self.functions: dict[str, int] = {}
        self.opaque: dict[Opaque, None] = {}

    def parts(self) -> tuple[Part, ...]:
        """Give all texts, with what names may mean in them by any way."""
        return tuple(
            msgspec.structs.replace(
                part,
                meanings=tuple(
                    Meaning(table, tuple(sorted(makers(state, table)))) for table in sorted(state)
                ),
            )
            for part, found in zip(self._parts, self._states, strict=True)
            for state in [found or {}]
        )

    def part(self, role: Role, node: Any, text: str | None = None, inner: Any = None) -> int:
        """Note that a text is reached here, and give its number.

        `text` and `inner` are what EXECUTE IMMEDIATE runs, and its parse tree.
        """
        place = self._span(node)
        key = (*place, role)
        if key not in self._numbers:
            if len(self._parts) >= MOST_PARTS:
                raise RefusedError(
                    f"the script has more than {MOST_PARTS:,} statements and expressions",
                    hint="run it in several pieces",
                    place=self.place(node),
                )
            self._numbers[key] = len(self._parts)
            mentioned = _mentioned(node if inner is None else inner)
            for name in tables_of(node if inner is None else inner):
                self._spelled.setdefault(name.lower(), {}).setdefault(name, self.place(node))
            self._parts.append(self._made(role, node, text, mentioned))
            self._mentioned.append(mentioned)
            self._states.append(None)
        number = self._numbers[key]
        here = self.flow.now()
        if here is not None:
            mentioned = self._mentioned[number]
            known = {table: by for table, by in here.items() if table.table.lower() in mentioned}
            self._states[number] = united(self._states[number], known)
        return number

    def check_cases(self) -> None:
        """Refuse names that differ from that of a temporary table by case alone.

        INVARIANT: a name is taken for a temporary table where BigQuery takes it for one; whether
        case counts there is not documented.
        """
        for part in self._parts:
            name = part.makes.table if part.makes and is_temporary(part.makes) else ""
            for other, place in self._spelled.get(name.lower(), {}).items():
                if other != name:
                    raise RefusedError(
                        f"`{other}` and the temporary table `{name}` differ by upper and lower case"
                        " only",
                        hint="give the temporary table another name",
                        place=place,
                    )

    def change(self, number: int, **fields: Any) -> None:
        """Say more of a text."""
        self._parts[number] = msgspec.structs.replace(self._parts[number], **fields)

    def note(self, what: str, node: Any, hint: str = "") -> None:
        """Note something that is not understood, and what to write instead."""
        self.opaque[Opaque(what, *self.place(node), hint)] = None

    def place(self, node: Any) -> Place:
        """Give a node's line and column; zeros where they are not known."""
        where = span(node)
        return line_and_column(self._sql, where.start) if where else Place(0, 0)

    def in_engine_words(self, node: Any) -> str:
        """Write a node's place as the engine does."""
        return in_engine_words(self._sql, self._span(node).start)

    def _made(self, role: Role, node: Any, text: str | None, mentioned: frozenset[str]) -> Part:
        place = self._span(node)
        before, after = _AROUND.get(role, ("", ""))
        own = self._data[place.start : place.end].decode()
        dynamic = role is Role.DYNAMIC
        marks = [] if dynamic else [n for n in map(_position, descendants(node)) if n]
        return Part(
            role,
            f"{before}{own}{after}" if text is None else text,
            place.start,
            place.end,
            len(before),
            # INVARIANT: what EXECUTE IMMEDIATE runs sees no variable, only what USING hands in.
            variables=() if dynamic else tuple(sorted(self.visible.values())),
            uses=tuple(
                number for name, number in self.visible.items() if name in mentioned and not dynamic
            ),
            calls=()
            if dynamic
            else tuple(number for name, number in self.functions.items() if name in mentioned),
            first=min(marks, default=1) - 1,
            count=len(marks),
        )

    def _span(self, node: Any) -> Span:
        place = span(node)
        if place is None:
            raise RefusedError("a part of the script has no place in it", hint="write it plainly")
        return place


def skeleton(tree: Any, parts: Iterable[Part]) -> tuple[str, ...]:
    """Give every node of a script outside its parts, with its names, in the order of the text."""
    spans = {Span(part.start, part.end) for part in parts}
    found: list[str] = []

    def look_at(field: str, node: Any) -> None:
        if span(node) in spans and kind(node) not in _LISTS:
            found.append(f"{field}: part")
            return
        found.append(f"{field}: {kind(node)} {getattr(node, 'id_string', '')}")
        for name, child in children(node):
            look_at(name, child)
        found.append("end")

    look_at("", tree)
    return tuple(found)


def _position(node: Any) -> int:
    """Give the number of a positional parameter, counted from 1; 0 for anything else."""
    return node.position if kind(node) == "ASTParameterExpr" else 0


_TABLES = {"ASTTablePathExpression": ("path_expr",), "ASTTableClause": ("table_path",)}


def tables_of(node: Any) -> Iterator[str]:
    """Give each name that may be a temporary table's, as spelled."""
    for inner in descendants(node):
        known = KINDS.get(kind(inner))
        for field in known.targets if known else _TABLES.get(kind(inner), ()):
            path = unwrapped(inherited(inner, field)) if has(inner, field) else None
            if path is not None and kind(path) == "ASTPathExpression":
                yield temporary_name(split(identifiers(path)))


def _mentioned(node: Any) -> frozenset[str]:
    """Give every name that a text holds, however it is quoted, in small letters."""
    paths = (inner for inner in descendants(node) if kind(inner) == "ASTPathExpression")
    names = (name for path in paths for name in identifiers(path))
    return frozenset(part.lower() for name in names for part in name.split("."))
