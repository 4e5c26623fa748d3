"""YAML text to a `Document`, with the file and the line in every complaint.

Stricter than YAML: a word given twice, an alias and a merge key are refused, because each makes a
rule say something else than what stands on the line that a reviewer reads.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import TypeVar

import msgspec
import yaml
from msgspec import inspect

from keystile.model.errors import UnsafeConfigurationError
from keystile.model.facts import Action
from keystile.model.masks import Mask
from keystile.policy.document import Document, Section

_UNKNOWN_FIELD = re.compile(r"unknown field `(.*?)`")
_INVALID_VALUE = re.compile(r"Invalid .*value '(.*?)'")
_SHADOW = "shadow"
_HINT = "see docs/reference/policy.md"

SectionT = TypeVar("SectionT", bound=Section)

_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Parsed(msgspec.Struct, frozen=True):
    """A document and where its parts stand: `lines` maps paths like `$.rules[0].when` to lines."""

    file: str
    document: Document
    lines: dict[str, int]

    def error(self, path: str, message: str, hint: str = _HINT) -> UnsafeConfigurationError:
        """Make the error for the part at `path`."""
        return _error(self.file, _line(self.lines, path), message, hint)

    def place(self, path: str) -> str:
        """Say where the part at `path` stands."""
        return _place(self.file, _line(self.lines, path))


def parse(file: str, text: str) -> Parsed:
    """Read one document. Raises `UnsafeConfigurationError`."""
    return Parsed(file, *read_as(Document, file, text))


def read_as(type_: type[SectionT], file: str, text: str) -> tuple[SectionT, dict[str, int]]:
    """Read YAML as a section, and give where its parts stand. Raises `UnsafeConfigurationError`."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        lines = dict(_walk(file, node, "$")) if node else {}
        data = loader.construct_document(node) if node else None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise _error(file, mark.line + 1 if mark else 0, f"not valid YAML: {problem}") from error
    except (ValueError, RecursionError) as error:  # a date that is none, text nested too deep
        raise _error(file, 0, f"not valid YAML: {error}") from error
    finally:
        loader.dispose()
    try:
        return msgspec.convert({} if data is None else data, type_), lines
    except msgspec.ValidationError as error:
        raise _refusal(file, str(error), lines, type_) from error


def suggestion(word: str, words: Iterable[str], otherwise: str = _HINT) -> str:
    """Give `did you mean …?` where a known word is close to `word`, else the general hint."""
    close = difflib.get_close_matches(word, sorted(set(words)), n=1)
    return f"did you mean `{close[0]}`?" if close else otherwise


def _walk(file: str, node: yaml.Node, path: str) -> Iterator[tuple[str, int]]:
    """Yield every part's path and line; refuse what makes a line say less than it seems."""
    seen: set[int] = set()
    waiting = [(path, node)]
    while waiting:
        path, node = waiting.pop()
        line = node.start_mark.line + 1
        yield path, line
        if id(node) in seen:
            raise _error(file, line, "an alias is used", "write the value out")
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += [(f"{path}[{n}]", child) for n, child in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            words: set[str] = set()
            for key, value in node.value:
                at = key.start_mark.line + 1
                if not isinstance(key, yaml.ScalarNode) or key.tag.endswith(":merge"):
                    raise _error(file, at, "a key is not a plain word", "write the keys out")
                if key.value in words:
                    raise _error(file, at, f"`{key.value}` is given twice", "keep one of them")
                words.add(key.value)
                waiting.append((f"{path}.{key.value}", value))
                yield f"{path}.{key.value}", at


def _refusal(
    file: str, problem: str, lines: dict[str, int], type_: type[Section]
) -> UnsafeConfigurationError:
    """Turn msgspec's complaint into ours; `type_` is the language."""
    message, _, place = problem.partition(" - at ")
    path = place.strip("`")
    hint = _HINT
    if field := _UNKNOWN_FIELD.search(message):
        path = f"{path or '$'}.{field[1]}"
        message = f"unknown word `{field[1]}`"
        hint = suggestion(field[1], [*_words_at(place.strip("`"), type_)])
        if field[1] == _SHADOW and type_ is Document:
            message = "`shadow` goes with rules, masks and row filters alone, not"
            hint = "see what the change would do with `keystile policy simulate`"
    elif value := _INVALID_VALUE.search(message):
        message = f"unknown value `{value[1]}`"
        hint = suggestion(value[1], _values())
    message = message[:1].lower() + message[1:]
    where = f" at `{path.removeprefix('$.')}`" if path not in {"", "$"} else ""
    return _error(file, _line(lines, path), message + where, hint)


def _error(file: str, line: int, message: str, hint: str = _HINT) -> UnsafeConfigurationError:
    return UnsafeConfigurationError(f"{_place(file, line)}: {message}", hint=hint)


def _place(file: str, line: int) -> str:
    return f"`{file}` line {line}" if line else f"`{file}`"


def _line(lines: dict[str, int], path: str) -> int:
    """Give the line of `path`, or of the nearest part around it."""
    while path and path not in lines:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return lines.get(path, 0)


def _words_at(path: str, type_: type[Section]) -> Iterator[str]:
    """Yield the words that may stand at a path such as `$.rules[0].agents`."""
    here: list[inspect.Type] = [inspect.type_info(type_)]
    for word in re.findall(r"\.(\w+)|\[", path):
        here = [inner for one in here for inner in _inner(one, word)]
    for one in (alternative for each in here for alternative in _alternatives(each)):
        if isinstance(one, inspect.StructType):
            yield from (field.encode_name for field in one.fields)


def _inner(type_: inspect.Type, word: str) -> Iterator[inspect.Type]:
    """Yield what a type has under a word, or as its items where there is none."""
    for one in _alternatives(type_):
        if isinstance(one, inspect.StructType):
            yield from (field.type for field in one.fields if field.encode_name == word)
        elif isinstance(one, inspect.VarTupleType):
            yield one.item_type
        elif isinstance(one, inspect.DictType):
            yield one.value_type


def _alternatives(type_: inspect.Type) -> Iterator[inspect.Type]:
    if isinstance(type_, inspect.Metadata):
        yield from _alternatives(type_.type)
    elif isinstance(type_, inspect.UnionType):
        yield from (one for each in type_.types for one in _alternatives(each))
    else:
        yield type_


def _values() -> Iterator[str]:
    """Yield every fixed value: actions and kinds of masks."""
    yield from Action
    yield from (str(struct.__struct_config__.tag) for struct in Mask.__args__)
