"""Autodetect: the schema that a file's first rows have.

Source of fact: BigQuery's description of schema auto-detection, which looks at up to 500 rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from keystile.model.schema import Field, Mode
from keystile.sandbox.transfer.delimited import Value
from keystile.sandbox.transfer.values import Number

SAMPLE_ROWS = 500

_MAX_INT64 = (1 << 63) - 1
_DAY = r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
_CLOCK = r"[0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}(\.[0-9]{1,6})?"
_PATTERNS = (
    ("BOOL", re.compile(r"true|false|t|f|yes|no|y|n", re.IGNORECASE)),
    ("INT64", re.compile(r"[+-]?[0-9]+")),
    ("FLOAT64", re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)),
    ("DATE", re.compile(_DAY)),
    ("TIME", re.compile(_CLOCK)),
    (
        "TIMESTAMP",
        re.compile(rf"{_DAY}[T ]{_CLOCK}(Z| UTC|[+-][0-9]{{1,2}}(:[0-9]{{2}})?)?", re.IGNORECASE),
    ),
)
_NO_NAME = re.compile(r"[^A-Za-z0-9_]")


def text_type(text: str) -> str:
    """Name the type that a text looks like; `STRING` where it looks like none."""
    for name, pattern in _PATTERNS:
        if pattern.fullmatch(text.strip()):
            big = name == "INT64" and abs(int(text)) > _MAX_INT64
            return "FLOAT64" if big else name
    return "STRING"


def joined(types: Iterable[str]) -> str:
    """Name the one type that holds all; no types at all are a `STRING`."""
    found = set(types)
    if len(found) == 1:
        return found.pop()
    return "FLOAT64" if found == {"INT64", "FLOAT64"} else "STRING"


def delimiter_of(line: str) -> str:
    """Guess what stands between the values of a first line."""
    return next((each for each in (",", "|", "\t") if each in line), ",")


class Detected(msgspec.Struct, frozen=True):
    """The columns of a CSV file, and whether its first row names them."""

    fields: tuple[Field, ...]
    header: bool


def csv_columns(rows: Sequence[Sequence[Value]], null_markers: Sequence[str]) -> Detected:
    """Detect columns from the first rows, the one that may be a header among them.

    It is a header where all of it is text and some column beneath it is not.
    """
    first, rest = rows[0], rows[1:]
    width = max(map(len, rows))

    def types(among: Sequence[Sequence[Value]]) -> list[str]:
        found: list[set[str]] = [set() for _ in range(width)]
        for row in among:
            for at, value in enumerate(row):
                if value.text not in null_markers:
                    found[at].add(text_type(value.text))
        return [joined(each) for each in found]

    beneath = types(rest)
    texts = all(value.text and text_type(value.text) == "STRING" for value in first)
    header = bool(rest) and texts and any(each != "STRING" for each in beneath)
    kinds = beneath if header else types(rows)
    names = _names([value.text for value in first]) if header else []
    names += [f"{kind.lower()}_field_{at}" for at, kind in enumerate(kinds)][len(names) :]
    fields = (Field(name, kind) for name, kind in zip(names, kinds, strict=False))
    return Detected(tuple(fields), header)


def _names(given: Sequence[str]) -> list[str]:
    """Make column names of a header, each of them once."""
    names: list[str] = []
    for text in given:
        name = _NO_NAME.sub("_", text.strip()) or "_"
        name = f"_{name}" if name[0].isdigit() else name
        taken = {each.lower() for each in names}
        at = 1
        unique = name
        while unique.lower() in taken:
            unique, at = f"{name}_{at}", at + 1
        names.append(unique)
    return names


def json_fields(rows: Sequence[Mapping[str, object]]) -> tuple[Field, ...]:
    """Detect the fields of JSON objects, in the order in which they come up."""
    by_name: dict[str, list[object]] = {}
    for row in rows:
        for name, value in row.items():
            by_name.setdefault(name, []).append(value)
    return tuple(_field(name, values) for name, values in by_name.items())


def _field(name: str, values: Sequence[object]) -> Field:
    repeated = any(isinstance(value, list) for value in values)
    items: list[object] = []
    for value in values:
        items.extend(value if isinstance(value, list) else [value])
    items = [item for item in items if item is not None]
    mode = Mode.REPEATED if repeated else Mode.NULLABLE
    records = [item for item in items if isinstance(item, Mapping)]
    if records:
        return Field(name, "STRUCT", mode, json_fields(records))
    return Field(name, joined(map(_json_type, items)), mode)


def _json_type(value: object) -> str:
    if isinstance(value, bool):
        return "BOOL"
    if isinstance(value, Number):
        return text_type(value)
    return text_type(str(value))
