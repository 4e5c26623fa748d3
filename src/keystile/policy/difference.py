"""What one policy says that another does not: by name, with file and line, whatever the layout.

Labels and masks are known by their label, all else by its name. Order, comments and the file that
something stands in mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from keystile.policy.document import Document
from keystile.policy.parse import parse

Sign = Literal["added", "removed", "changed"]
_SIGNS: Mapping[Sign, str] = {"added": "+", "removed": "-", "changed": "~"}
_SET = "columns", "policy_tags"
# What `include` names are files of the policy, which are compared themselves.
_SECTIONS = [word for word in Document.__struct_fields__ if word != "include"]


class Place(NamedTuple):
    """Where something stands in a policy; lines count from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        """Say it as errors do."""
        return f"`{self.file}` line {self.line}"


class Word(NamedTuple):
    """A word of an entry that says something else: what it was and is, as JSON, empty for nothing.

    Of a list `added` and `removed` are what differs.
    """

    word: str
    was: str
    now: str
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Say it in a phrase."""
        return f"`{self.word}` {self.told}"

    @property
    def told(self) -> str:
        """What is to be said of the word."""
        if self.added or self.removed:
            signed = [f"+{one}" for one in self.added] + [f"-{one}" for one in self.removed]
            return " ".join(signed)
        if not self.was:
            return f"is now {self.now}"
        return f"was {self.was}, is {self.now or 'gone'}"


class Change(msgspec.Struct, frozen=True):
    """One entry that was added, removed or changed.

    `kind` is `rule`, `mask` and so on; `place` is where it stands now, or stood if it is gone.
    `words` are those that differ of one that changed.
    """

    change: Sign
    kind: str
    name: str
    place: Place
    words: tuple[Word, ...] = ()

    def __str__(self) -> str:
        """Say it in a line, as a diff begins it."""
        told = f": {'; '.join(map(str, self.words))}" if self.words else ""
        return f"{_SIGNS[self.change]} {self.kind} `{self.name}` ({self.place}){told}"


class _Entry(NamedTuple):
    place: Place
    words: dict[str, Any]


_Entries = dict[tuple[str, str], list[_Entry]]


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Change, ...]:
    """Compare two policies, each as YAML texts by file name; gives changes by kind and name.

    Policies of one digest have none. Raises `UnsafeConfigurationError` as `parse` does.
    """
    old, new = _entries(before), _entries(after)
    kinds = [_kind(section) for section in _SECTIONS]
    keys = sorted({*old, *new}, key=lambda key: (kinds.index(key[0]), key[1]))
    return tuple(_changes(keys, old, new))


def _changes(keys: list[tuple[str, str]], old: _Entries, new: _Entries) -> Iterator[Change]:
    for kind, name in keys:
        was, now = old.get((kind, name), []), new.get((kind, name), [])
        if not was:
            yield Change("added", kind, name, now[0].place)
        elif not now:
            yield Change("removed", kind, name, was[0].place)
        elif words := tuple(_words(_united(was), _united(now))):
            yield Change("changed", kind, name, now[0].place, words)


def _words(was: Mapping[str, Any], now: Mapping[str, Any], above: str = "") -> Iterator[Word]:
    for word in dict.fromkeys((*was, *now)):
        old, new = was.get(word), now.get(word)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _words(old, new, f"{above}{word}.")
        elif old != new:
            added: tuple[str, ...] = ()
            removed: tuple[str, ...] = ()
            if isinstance(old, list) and isinstance(new, list):
                added = tuple(_json(one) for one in new if one not in old)
                removed = tuple(_json(one) for one in old if one not in new)
            yield Word(above + word, _told(old), _told(new), added, removed)


def _united(entries: list[_Entry]) -> dict[str, Any]:
    """Give what entries of one name say together: of several under a label, each counts."""
    if len(entries) == 1:
        return entries[0].words
    found: dict[str, list[Any]] = {}
    for entry in entries:
        for word, value in entry.words.items():
            found.setdefault(word, []).extend(value if word in _SET else [value])
    return {word: _set(values) for word, values in found.items()}


def _entries(documents: Mapping[str, str]) -> _Entries:
    found: _Entries = {}
    for file, text in sorted(documents.items()):
        parsed = parse(file, text)
        for section in _SECTIONS:
            for number, entry in enumerate(getattr(parsed.document, section)):
                word = "name" if "name" in entry.__struct_fields__ else "label"
                place = Place(file, parsed.lines.get(f"$.{section}[{number}]", 0))
                key = _kind(section), getattr(entry, word)
                found.setdefault(key, []).append(_Entry(place, _said(entry, word)))
    return found


def _kind(section: str) -> str:
    return section.removesuffix("s").replace("_", " ")


def _said(entry: msgspec.Struct, name: str) -> dict[str, Any]:
    """Give what an entry says beside its name; what it leaves at its default it does not say."""
    plain = msgspec.json.decode(msgspec.json.encode(entry))
    defaults = {
        field.encode_name: msgspec.to_builtins(field.default)
        for field in msgspec.structs.fields(entry)
        if field.default is not msgspec.NODEFAULT
    }
    return {
        word: _sorted(value)
        for word, value in plain.items()
        if word != name and (word not in defaults or value != _plain(defaults[word]))
    }


def _plain(default: Any) -> Any:
    return [*default] if isinstance(default, tuple) else default


def _sorted(value: Any) -> Any:
    """Give a value with its lists in order: every list of the language is a set.

    What is left out of a section is not there.
    """
    if isinstance(value, dict):
        return {word: _sorted(inner) for word, inner in value.items() if inner is not None}
    return _set(value) if isinstance(value, list) else value


def _set(values: list[Any]) -> list[Any]:
    return [msgspec.json.decode(one) for one in sorted({*map(_json, values)})]


def _told(value: Any) -> str:
    return "" if value is None else _json(value)


def _json(value: Any) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()
