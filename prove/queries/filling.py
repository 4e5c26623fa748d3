"""Fills templates: what stands in braces becomes an expression over what the query reads.

A slot may name its source after a colon: `{t:i}` is a text of what `{from:i}` reads, `{t:b}` one of
both that and what stands around.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable
from functools import cache
from typing import ClassVar

from prove.queries import words
from prove.queries.calls import Call, calls, own_calls
from prove.queries.columns import LITERALS, MADE, NUMBER, TEXT, Column, Source, both, ways
from prove.queries.expressions import Expressions

Kinds = list[str]

_SLOT = re.compile(r"\{([^{}:]+)(?::(\w))?\}")
_FROM = re.compile(r"\{from(?::(\w))?\}")
_NOTHING = Source("", [], [], [], [])
_CALLED = 0.3
_OWN = 0.6
_ASKED = 0.15
_FAILING = 0.05


class Scope:
    """What the slots of one template are filled from."""

    def __init__(self, source: Source | None, kinds: Kinds) -> None:
        """`source` is what stands around; `kinds` are those of the columns that are put out."""
        self.sources = {"": source or _NOTHING}
        self.kinds = kinds
        self.keys: dict[str, str] = {}

    def of(self, letter: str) -> Source:
        """Give a source by its letter; both at once for `b`."""
        if letter == "b":
            return both(self.sources[""], self.sources["i"], "")
        return self.sources[letter]


class Filling(Expressions):
    """Makes expressions of templates."""

    @abstractmethod
    def select(self, kinds: Kinds) -> str:
        """Make a query with columns `c0`, `c1` … of these kinds."""

    @abstractmethod
    def base(self) -> Source:
        """Give a table."""

    @abstractmethod
    def joined(self) -> Source:
        """Join two sources."""

    @abstractmethod
    def shaped(self) -> Source:
        """Turn rows and columns, or match rows."""

    def fill(self, template: str, source: Source | None = None, kinds: Kinds | None = None) -> str:
        """Fill every slot; what a template reads is made first, then slots from left to right."""
        scope = Scope(source, kinds or [])
        for letter in dict.fromkeys(_FROM.findall(template)):
            scope.sources[letter] = self.source()
        return self.fill_in(template, scope)

    def fill_in(self, template: str, scope: Scope) -> str:
        """Fill every slot from a scope."""
        return _SLOT.sub(lambda found: self._slot(found[1], found[2] or "", scope), template)

    def _slot(self, name: str, letter: str, scope: Scope) -> str:
        if name[0].isdigit() or name == "name":  # a count in a pattern; a name is put in later
            return f"{{{name}}}"
        if name == "base":
            scope.sources[letter] = self.base()
        if name in {"from", "base"}:
            return scope.sources[letter].sql
        if name in self._of_scope:
            return self._of_scope[name](self, scope)
        source = scope.of(letter)
        if name in self._of_source:
            return self._of_source[name](self, source)
        return self.typed(source, name)

    def value(self, source: Source, kind: str) -> str:
        """Give an expression that is a text or a number."""
        if not self.grows():
            return self.column(source, kind)
        pick = self.random.random()
        if pick < _FAILING:
            failing = self.fails(source)
            return failing if kind == TEXT else f"LENGTH({failing})"
        if pick < _FAILING + _ASKED:
            asked = words.TEXT_QUERIES if kind == TEXT else words.NUMBER_QUERIES
            return self.fill(self.one(*asked), source)
        if pick < _FAILING + _ASKED + _CALLED:
            return self._called(source, kind, aggregate=False)
        return self.fill(self.one(*(words.TEXTS if kind == TEXT else words.NUMBERS)), source)

    def typed(self, source: Source, type_: str) -> str:
        """Give an expression of any type that a column may have."""
        if type_ in {TEXT, NUMBER}:
            return self.value(source, type_)
        if self.chance(0.8) and (named := self.of_type(source, type_)):
            return named
        if type_.startswith("ARRAY<"):
            inner = type_[len("ARRAY<") : -1]
            return f"[{self.typed(source, inner)}, {self.typed(source, inner)}]"
        return self.fill(self.one(*MADE[type_]), source)

    def condition(self, source: Source) -> str:
        """Give an expression that is true or false."""
        before = self._aside
        if self.chance(0.8):  # a filter may be what decides, or something else alone
            self._aside = 0.0
        asks = self.grows(0.3)
        found = self.fill(
            self.one(*(words.CONDITION_QUERIES if asks else words.CONDITIONS)), source
        )
        if self.grows(0.15):
            more = self.fill(self.one(*words.CONDITIONS), source)
            found = f"{found} {self.one('AND', 'OR')} {more}"
        self._aside = before
        return f"NOT ({found})" if self.chance(0.15) else f"({found})"

    def aggregate(self, source: Source, kind: str) -> str:
        """Give an aggregate that is a text or a number."""
        if self.chance(_CALLED):
            return self._called(source, kind, aggregate=True)
        each: tuple[str, ...] = words.TEXT_AGGREGATES
        if kind == NUMBER:
            each = words.NUMBER_AGGREGATES
        if self._aside and self.chance(0.5):
            each = tuple(one for one in each if "{ot}" in one or "{on}" in one or "{by}" in one)
        return self.fill(self.one(*each), source)

    def window(self, source: Source, kind: str) -> str:
        """Give a window function that is a text or a number."""
        each = words.TEXT_WINDOWS if kind == TEXT else words.NUMBER_WINDOWS
        return self.fill(self.one(*each), source)

    def fails(self, source: Source) -> str:
        """Give a text whose evaluation may fail."""
        return self.fill(self.one(*words.FAILING), source)

    def _called(self, source: Source, kind: str, *, aggregate: bool) -> str:
        """Make a text or a number of what a function gives."""
        called, type_ = self._call(source, aggregate=aggregate)
        return self.one(*ways(type_ or "STRUCT", kind)).format(called)

    def _call(self, source: Source, *, aggregate: bool) -> tuple[str, str]:
        """Call any function that there is; give its type as well."""
        each = own_calls(self.schema.routines, aggregate=aggregate)
        if not each or not self.chance(_OWN):
            each = _calls(aggregate=aggregate)
        call: Call = self.random.choice(each)
        return self.fill(call.template, source), call.type

    def _text_array(self, source: Source) -> str:
        arrays = [one for one in self.allowed(source.columns) if one.type == "ARRAY<STRING>"]
        if arrays and self.chance(0.6):
            return self.mark(self.random.choice(arrays)).sql
        return self.fill(self.one("SPLIT({t}, '')", "[{t}, {ct}]", "SPLIT({t}, '-')"), source)

    def direction(self) -> str:
        """Give which way to order."""
        return self.one("", "", "", " DESC", " DESC NULLS LAST", " NULLS LAST", " ASC NULLS FIRST")

    def _by(self, source: Source) -> str:
        if self.grows(0.2):
            return f"{self.aside(source, self.one(TEXT, NUMBER))}{self.direction()}"
        return f"{self.any_column(source).sql}{self.direction()}"

    def _ordered(self, source: Source) -> str:
        return f"{self._parted(source)} ORDER BY {self._by(source)}".strip()

    def _parted(self, source: Source) -> str:
        return f"PARTITION BY {self.any_column(source).sql}" if self.chance(0.4) else ""

    def _framed(self, source: Source) -> str:
        return self._ordered(source) + self.one(*words.FRAMES)

    def where(self, source: Source) -> str:
        """Give a WHERE clause or nothing."""
        return f" WHERE {self.condition(source)}" if self.grows(0.5) else ""

    def _key(self, scope: Scope, name: str) -> str:
        """Give a key that stays the same wherever the template names it."""
        if name not in scope.keys:
            scope.keys[name] = self.any_column(scope.of("")).sql
        return scope.keys[name]

    def listed(self, scope: Scope, make: Callable[[Source, str], str]) -> str:
        """Name values `c0`, `c1` … of the scope's kinds."""
        source = scope.of("")
        items = (f"{make(source, kind)} AS c{index}" for index, kind in enumerate(scope.kinds))
        return ", ".join(items)

    _of_scope: ClassVar[dict[str, Callable[[Filling, Scope], str]]] = {
        "items": lambda self, scope: self.listed(scope, self.value),
        "aggregates": lambda self, scope: self.listed(scope, self.aggregate),
        "windows": lambda self, scope: self.listed(scope, self.window),
        "query": lambda self, scope: self.select(scope.kinds),
        "k": lambda self, scope: self._key(scope, "k"),
        "k2": lambda self, scope: self._key(scope, "k2"),
    }

    _of_source: ClassVar[dict[str, Callable[[Filling, Source], str]]] = {
        "t": lambda self, source: self.value(source, TEXT),
        "n": lambda self, source: self.value(source, NUMBER),
        "c": lambda self, source: self.condition(source),
        "p": lambda self, source: self.fill(self.one(*words.PLAIN_CONDITIONS), source),
        "ct": lambda self, source: self.column(source, TEXT),
        "cn": lambda self, source: self.column(source, NUMBER),
        "ot": lambda self, source: self.aside(source, TEXT),
        "on": lambda self, source: self.aside(source, NUMBER),
        "hit": lambda self, source: f"RIGHT({self.aside(source, TEXT)}, 1) > '4'",
        "lt": lambda _, __: LITERALS[TEXT],
        "d": lambda self, _: str(self.random.randint(1, 9)),
        "raw": lambda self, source: self.raw_column(source),
        "row": lambda self, source: self.row(source),
        "at": lambda self, source: self._text_array(source),
        "any": lambda self, source: self.any_column(source).sql,
        "by": lambda self, source: self._by(source),
        "fails": lambda self, source: self.fails(source),
        "where": lambda self, source: self.where(source),
        "aggregated": lambda self, source: self.aggregate(source, TEXT),
        "counted": lambda self, source: self.aggregate(source, NUMBER),
        "wt": lambda self, source: self.window(source, TEXT),
        "wn": lambda self, source: self.window(source, NUMBER),
        "text": lambda self, source: self.fill(self.one(*words.TEXTS), source),
        "number": lambda self, source: self.fill(self.one(*words.NUMBERS), source),
        "called": lambda self, source: self._call(source, aggregate=False)[0],
        "summed": lambda self, source: self._call(source, aggregate=True)[0],
        "asked": lambda self, source: self.fill(self.one(*words.CONDITION_QUERIES), source),
        "text_asked": lambda self, source: self.fill(self.one(*words.TEXT_QUERIES), source),
        "number_asked": lambda self, source: self.fill(self.one(*words.NUMBER_QUERIES), source),
        "joined": lambda self, _: self.joined().sql,
        "shaped": lambda self, _: self.shaped().sql,
        "ordered": lambda self, source: self._ordered(source),
        "parted": lambda self, source: self._parted(source),
        "framed": lambda self, source: self._framed(source),
    }


def named(kinds: Kinds, before: str = "") -> list[Column]:
    """Give the columns of a query with these kinds."""
    return [Column(f"{before}c{index}", kind) for index, kind in enumerate(kinds)]


@cache
def _calls(*, aggregate: bool) -> tuple[Call, ...]:
    return tuple(one for one in calls() if one.aggregate == aggregate)
