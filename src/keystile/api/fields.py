"""Partial responses: the `fields` query parameter of Google's APIs, applied last and exactly.

`a,b/c,d(e,f/g)` keeps `a` whole, of `b` only `c`, of `d` only `e` and `g` of `f`; `*` stands for
any name. An array is looked through: the selection applies to each element. A name that the answer
does not have selects nothing.
"""

from __future__ import annotations

import re
from typing import TypeAlias

import msgspec

from keystile.model.errors import InvalidRequestError

# What to keep below a name; an empty tree keeps everything.
Tree: TypeAlias = "dict[str, Tree]"

_MAX_LENGTH = 2048
_MAX_DEPTH = 16
_TOKEN = re.compile(r"[A-Za-z0-9_$.-]+|[*/(),]")
_MARKS = frozenset("/(),")


def parse(text: str) -> Tree:
    """Read a `fields` value.

    Raises `InvalidRequestError`, quoting it, when it does not parse.
    """
    return _Parser(text).whole()


def apply(tree: Tree, body: bytes) -> bytes:
    """Keep of a JSON object only what `tree` selects; what is kept whole is not decoded."""
    kept = _keep(tree, msgspec.Raw(body))
    return b"{}" if kept is None else msgspec.json.encode(kept)


class _Parser:
    """Recursive descent over the tokens of one `fields` value."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _TOKEN.findall(text)
        self._at = 0
        if len(text) > _MAX_LENGTH or "".join(self._tokens) != text:
            raise self._invalid()

    def whole(self) -> Tree:
        tree = self._list(1)
        if self._peek():
            raise self._invalid()
        return tree

    def _list(self, depth: int) -> Tree:
        if depth > _MAX_DEPTH:
            raise self._invalid()
        tree: Tree = {}
        self._item(tree, depth)
        while self._peek() == ",":
            self._at += 1
            self._item(tree, depth)
        return tree

    def _item(self, tree: Tree, depth: int) -> None:
        name = self._peek()
        if not name or name in _MARKS:
            raise self._invalid()
        self._at += 1
        below: Tree = {}
        if self._peek() == "/":
            self._at += 1
            if depth == _MAX_DEPTH:
                raise self._invalid()
            self._item(below, depth + 1)
        elif self._peek() == "(":
            self._at += 1
            below = self._list(depth + 1)
            if self._peek() != ")":
                raise self._invalid()
            self._at += 1
        tree[name] = _union(tree[name], below) if name in tree else below

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _invalid(self) -> InvalidRequestError:
        return InvalidRequestError(
            f"Invalid field selection `{self._text[:100]}`",
            hint="write names as in `jobReference,rows` or `schema(fields/name)`",
        )


def _union(one: Tree, other: Tree) -> Tree:
    if not one or not other:
        return {}
    merged = dict(one)
    for name, below in other.items():
        merged[name] = _union(merged[name], below) if name in merged else below
    return merged


def _below(tree: Tree, name: str) -> Tree | None:
    """Find what to keep below `name`: by its own entry, by `*`, or both; None is nothing."""
    if name in tree and "*" in tree:
        return _union(tree[name], tree["*"])
    return tree.get(name, tree.get("*"))


def _keep(tree: Tree, value: msgspec.Raw) -> object | None:
    """Apply a tree to one JSON value; None when a selection goes below a plain value."""
    if not tree:
        return value
    mark = bytes(memoryview(value)[:1])
    if mark == b"[":
        items = msgspec.json.decode(value, type=list[msgspec.Raw])
        return [kept for item in items if (kept := _keep(tree, item)) is not None]
    if mark != b"{":
        return None
    answer: dict[str, object] = {}
    for name, inner in msgspec.json.decode(value, type=dict[str, msgspec.Raw]).items():
        below = _below(tree, name)
        kept = None if below is None else _keep(below, inner)
        if kept is not None:
            answer[name] = kept
    return answer
