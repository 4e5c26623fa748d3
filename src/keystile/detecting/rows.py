"""Rows in BigQuery's JSON, taken apart into their texts and put together again.

A cell is a text, None, a list of `{"v": cell}` for an ARRAY, or `{"f": [{"v": cell} …]}` for a
STRUCT; one of type JSON is a document as text. INVARIANT: every text of a column that is looked at
is given, at any depth, names in a document's objects included; what is no such cell is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from keystile.model.schema import Field, Mode

Rows = tuple[msgspec.Raw, ...]

_TEXTS = frozenset({"JSON", "STRING"})
# Numbers keep the digits that they came with.
_document = msgspec.json.Decoder(float_hook=lambda text: msgspec.Raw(text.encode())).decode
_plain_encoder = msgspec.json.Encoder()


class _Text(msgspec.Struct):
    v: str | None


class _Other(msgspec.Struct):
    v: msgspec.Raw


class _Document:
    """What stands in the place of a JSON document while it is open."""

    def __init__(self, text: str) -> None:
        """Read a document. Raises `msgspec.DecodeError` for none."""
        self.root = {"": _document(text)}
        self._text = text
        self.changed = False

    @property
    def text(self) -> str:
        """The document as text: as it came, where nothing is changed."""
        return _plain_encoder.encode(self.root[""]).decode() if self.changed else self._text


class _Spot(NamedTuple):
    """A text below a row: where it stands, and the row and column that it belongs to."""

    row: int
    column: int
    path: str
    holder: Any = None
    key: Any = None
    is_name: bool = False
    document: _Document | None = None


def has_texts(field: Field) -> bool:
    """Tell whether any value of the column is text."""
    return field.type in _TEXTS or any(map(has_texts, field.fields))


class TextRows:
    """Takes rows of one schema apart."""

    def __init__(self, fields: Sequence[Field], columns: Collection[int]) -> None:
        """Look at these columns of `fields`, by their places."""
        looked = [at for at in columns if has_texts(fields[at])]
        self._fields = fields
        self._plain = [at for at in looked if _is_plain(fields[at])]
        self._nested = [at for at in looked if at not in self._plain]
        cells: list[Any] = [_Other] * len(fields)
        for at in self._plain:
            cells[at] = _Text
        for at in self._nested:
            cells[at] = dict[str, Any]
        row: Any = msgspec.defstruct("Row", [("f", tuple.__class_getitem__(tuple(cells)))])
        self._decode: Callable[[bytes], list[Any]] = msgspec.json.Decoder(list[row]).decode

    @property
    def is_empty(self) -> bool:
        """Whether there is no text to look at."""
        return not self._plain and not self._nested

    def opened(self, rows: Rows) -> OpenRows:
        """Take rows apart. Raises `ValueError` for what is no row of the schema."""
        decoded = self._decode(b"[" + b",".join(map(bytes, rows)) + b"]")
        spots: list[_Spot] = []
        for at in self._nested:
            field = self._fields[at]
            for number, row in enumerate(decoded):
                spots += _below(field, row.f[at], _Spot(number, at, field.name))
        return OpenRows(rows, decoded, self._plain, spots, [field.name for field in self._fields])


class OpenRows:
    """Rows whose texts can be read and replaced."""

    def __init__(
        self,
        rows: Rows,
        decoded: list[Any],
        plain: Sequence[int],
        spots: list[_Spot],
        names: Sequence[str],
    ) -> None:
        """`plain` are the places of columns with one text a cell, `spots` are all other texts."""
        self._rows = rows
        self._decoded = decoded
        self._plain = plain
        self._spots = spots
        self._names = names
        self._changed: set[int] = set()

    @property
    def texts(self) -> list[str]:
        """All texts: an empty one where there is none."""
        texts = [row.f[at].v or "" for at in self._plain for row in self._decoded]
        texts += [spot.key if spot.is_name else spot.holder[spot.key] for spot in self._spots]
        return texts

    def column(self, place: int) -> tuple[int, str]:
        """Say in which column of the result a text stands, and the path of its field."""
        size = len(self._decoded)
        if place < size * len(self._plain):
            at = self._plain[place // size]
            return at, self._names[at]
        spot = self._spots[place - size * len(self._plain)]
        return spot.column, spot.path

    def replace(self, place: int, text: str) -> None:
        """Put a text in the place of another."""
        size = len(self._decoded)
        if place < size * len(self._plain):
            row = place % size
            self._decoded[row].f[self._plain[place // size]].v = text
            self._changed.add(row)
            return
        spot = self._spots[place - size * len(self._plain)]
        if spot.is_name:
            spot.holder[_free(spot.holder, text)] = spot.holder.pop(spot.key)
        else:
            spot.holder[spot.key] = text
        if spot.document:
            spot.document.changed = True
        self._changed.add(spot.row)

    def closed(self) -> Rows:
        """Put the rows together again; those in which nothing was replaced are as they came."""
        if not self._changed:
            return self._rows
        return tuple(
            msgspec.Raw(_encoder.encode(self._decoded[at])) if at in self._changed else row
            for at, row in enumerate(self._rows)
        )


def _is_plain(field: Field) -> bool:
    return field.type == "STRING" and field.mode is not Mode.REPEATED


def _below(field: Field, cell: dict[str, Any], spot: _Spot) -> Iterator[_Spot]:
    """Yield the texts of a cell, `{"v": …}`."""
    value = cell["v"]
    if value is None:
        return
    if field.mode is Mode.REPEATED and isinstance(value, list):
        single = msgspec.structs.replace(field, mode=Mode.NULLABLE)
        for item in value:
            yield from _below(single, item, spot)
    elif field.type == "STRUCT":
        for inner, part in zip(field.fields, value["f"], strict=True):
            if has_texts(inner):
                yield from _below(inner, part, spot._replace(path=f"{spot.path}.{inner.name}"))
    elif not isinstance(value, str):
        raise TypeError
    elif field.type == "JSON":
        yield from _in_document(cell, value, spot)
    else:
        yield spot._replace(holder=cell, key="v")


def _in_document(cell: dict[str, Any], text: str, spot: _Spot) -> Iterator[_Spot]:
    try:
        document = _Document(text)
    except msgspec.DecodeError:
        yield spot._replace(holder=cell, key="v")
        return
    cell["v"] = document
    spot = spot._replace(document=document)
    waiting: list[Any] = [document.root]
    while waiting:
        holder = waiting.pop()
        pairs = holder.items() if isinstance(holder, dict) else enumerate(holder)
        for key, value in pairs:
            if isinstance(value, str):
                yield spot._replace(holder=holder, key=key)
            elif isinstance(value, (dict, list)):
                waiting.append(value)
        if isinstance(holder, dict):
            # After its values, whose places the names are.
            yield from (spot._replace(holder=holder, key=name, is_name=True) for name in holder)


def _free(holder: dict[str, Any], name: str) -> str:
    """Give the name, or one that is not taken yet: nothing is lost where two become one."""
    number, free = 1, name
    while free in holder:
        number += 1
        free = f"{name} {number}"
    return free


def _written(value: Any) -> str:
    if isinstance(value, _Document):
        return value.text
    raise TypeError


_encoder = msgspec.json.Encoder(enc_hook=_written)
