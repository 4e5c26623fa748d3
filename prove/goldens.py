"""Reads the `.test` files of GoogleSQL: cases divided by `==`, parts of a case divided by `--`.

A case begins with comments and `[options]`; its first part is a statement and the second what the
engine is expected to say of it. `{{a|b}}` stands for as many cases as it has alternatives.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

_ALTERNATION = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_OPTION = re.compile(r"\s*(?:#[^\n]*\n\s*)*\[([^\]]*)\][^\S\n]*\n?")
_MOST_VARIANTS = 64


class Golden(NamedTuple):
    """One case. `options` are the file's defaults and its own; those without `=` are `""`."""

    file: str
    line: int
    sql: str
    options: dict[str, str]
    expected: str

    @property
    def expects_error(self) -> bool:
        """Whether the engine's own test says that the statement is wrong."""
        return self.expected.lstrip().startswith("ERROR")


def goldens(folder: Path, pattern: str = "*.test") -> Iterator[Golden]:
    """Give the cases of all files in a folder, in the order of their names."""
    for path in sorted(folder.glob(pattern)):
        yield from read(path.read_text(encoding="utf-8", errors="replace"), path.name)


def read(text: str, file: str) -> Iterator[Golden]:
    """Give the cases of one file's text."""
    defaults: dict[str, str] = {}
    line = 1
    for section in re.split(r"(?m)^==[^\S\n]*\n?", text):
        first = section.split("\n--", 1)[0]
        for variant in _variants(section):
            yield _case(variant, file, line + _leading(first), defaults)
        line += section.count("\n") + 1


def _leading(text: str) -> int:
    """Count the lines before the statement begins."""
    rest = _without_options(text, {}, {}).lstrip()
    return text.count("\n") - rest.count("\n")


def _variants(section: str) -> Iterator[str]:
    statement, mark, rest = section.partition("\n--\n")
    pieces = _ALTERNATION.split(statement)
    choices = [piece.split("|") if index % 2 else [piece] for index, piece in enumerate(pieces)]
    for number, chosen in enumerate(product(*choices)):
        if number == _MOST_VARIANTS:
            return
        yield "".join(chosen) + mark + rest


def _case(section: str, file: str, line: int, defaults: dict[str, str]) -> Golden:
    statement, _, rest = section.partition("\n--\n")
    options: dict[str, str] = {}
    sql = _without_options(statement, options, defaults)
    lines = (re.sub(r"\A\\(?=[\\#\[=-])", "", line) for line in sql.split("\n"))
    return Golden(file, line, "\n".join(lines).strip(), {**defaults, **options}, rest)


def _without_options(text: str, options: dict[str, str], defaults: dict[str, str]) -> str:
    while found := _OPTION.match(text):
        target, body = options, found[1].strip()
        if body.startswith("default "):
            target, body = defaults, body.removeprefix("default ")
        name, _, value = body.partition("=")
        target[name.strip()] = value.strip()
        text = text[found.end() :]
    return re.sub(r"\A(?:\s*#[^\n]*(?:\n|\Z))+", "", text)
