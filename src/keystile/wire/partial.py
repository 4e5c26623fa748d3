"""Partial responses: the `fields` parameter of Google's APIs, such as `rows,schema/fields`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NoReturn

import msgspec

from keystile.model.errors import InvalidRequestError

_MAX_LENGTH = 4096
_MAX_DEPTH = 32

_Path = tuple[str, ...]
_Tree = dict[str, "_Tree"]


def select(resource: dict[str, object], fields: str) -> dict[str, object]:
    """Keep what `fields` names; an empty text keeps all.

    Raises `InvalidRequestError` where the text is malformed.
    """
    return _kept(resource, _tree(_Parser(fields).parse())) if fields else resource


def _tree(paths: list[_Path]) -> _Tree:
    """Lay paths into one tree. A leaf means all below it, so shorter paths come first and win."""
    root: _Tree = {}
    for path in sorted(paths, key=len):
        node = root
        for at, name in enumerate(path):
            if name in node and not node[name]:
                break
            node = node.setdefault(name, {} if at + 1 == len(path) else {"": {}})
    return root


def _merged(one: _Tree | None, other: _Tree | None) -> _Tree | None:
    """Want what either wants; None wants nothing, an empty tree everything."""
    if one is None or other is None:
        return other if one is None else one
    if not one or not other:
        return {}
    found = {name: _merged(one.get(name), other.get(name)) for name in one.keys() | other.keys()}
    return {name: tree for name, tree in found.items() if tree is not None}


def _kept(value: Mapping[str, object], tree: _Tree) -> dict[str, object]:
    kept: dict[str, object] = {}
    for name, item in value.items():
        below = _merged(tree.get(name), tree.get("*"))
        inner = msgspec.UNSET if below is None else _inner(item, below)
        if inner is not msgspec.UNSET:
            kept[name] = inner
    return kept


def _inner(value: object, tree: _Tree) -> object:
    """Keep what a tree wants of a value; UNSET where it wants something below a plain value."""
    if not tree:
        return value
    if isinstance(value, msgspec.Raw):
        value = msgspec.json.decode(value)
    if isinstance(value, list):
        inner = (_inner(item, tree) for item in value)
        return [item for item in inner if item is not msgspec.UNSET]
    return _kept(value, tree) if isinstance(value, Mapping) else msgspec.UNSET


class _Parser:
    """`list = path ("," path)*`, `path = name ("/" name)* ["(" list ")"]`."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def parse(self) -> list[_Path]:
        if len(self._text) > _MAX_LENGTH:
            self._refuse()
        paths = list(self._list(()))
        if self._at != len(self._text):
            self._refuse()
        return paths

    def _list(self, before: _Path) -> Iterator[_Path]:
        yield from self._path(before)
        while self._take(","):
            yield from self._path(before)

    def _path(self, before: _Path) -> Iterator[_Path]:
        path = (*before, self._name())
        while self._take("/"):
            path = (*path, self._name())
        if len(path) > _MAX_DEPTH:
            self._refuse()
        if not self._take("("):
            yield path
            return
        yield from self._list(path)
        if not self._take(")"):
            self._refuse()

    def _name(self) -> str:
        start = self._at
        while self._at < len(self._text) and (
            self._text[self._at].isalnum() or self._text[self._at] in "_-.*$"
        ):
            self._at += 1
        return self._text[start : self._at] or self._refuse()

    def _take(self, mark: str) -> bool:
        found = self._text.startswith(mark, self._at)
        self._at += found
        return found

    def _refuse(self) -> NoReturn:
        raise InvalidRequestError("the `fields` parameter is malformed")
