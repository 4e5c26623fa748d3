"""Primary and foreign keys: `tableConstraints` of a table, as typed data.

BigQuery enforces none of them. Source of fact: `TableConstraints` of the API.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from keystile.model.errors import RefusedError
from keystile.model.schema import TableId
from keystile.wire.responses import Resource
from keystile.wire.strict import Strict, converted


class _PrimaryKey(Strict, frozen=True):
    columns: tuple[str, ...]


class _Referenced(Strict, frozen=True):
    project_id: str
    dataset_id: str
    table_id: str


class _ColumnReference(Strict, frozen=True):
    referencing_column: str
    referenced_column: str


class _ForeignKey(Strict, frozen=True):
    referenced_table: _Referenced
    column_references: tuple[_ColumnReference, ...]
    name: str | None = None


class _Constraints(Strict, frozen=True):
    primary_key: _PrimaryKey | None = None
    foreign_keys: tuple[_ForeignKey, ...] | None = None


class ForeignKey(msgspec.Struct, frozen=True):
    """Columns that hold values of another table's columns, in the same order."""

    name: str
    columns: tuple[str, ...]
    table: TableId
    referenced: tuple[str, ...]

    @property
    def unnamed(self) -> ForeignKey:
        """The same without its name."""
        return msgspec.structs.replace(self, name="")


class Keys(msgspec.Struct, frozen=True):
    """The columns of a table's primary key, and its foreign keys."""

    primary: tuple[str, ...] = ()
    foreign: tuple[ForeignKey, ...] = ()


class ChangedKeys(msgspec.Struct, frozen=True):
    """What is to be dropped, foreign keys by their names, and what is to be added after that."""

    drops_primary: bool = False
    dropped: tuple[str, ...] = ()
    added: Keys = Keys()

    @property
    def is_nothing(self) -> bool:
        """Whether all is as it shall be already."""
        return self == ChangedKeys()


def keys_from_json(given: object) -> Keys:
    """Read a `TableConstraints`. Raises `InvalidRequestError` for what is not understood."""
    read = converted(given or {}, _Constraints)
    return Keys(
        read.primary_key.columns if read.primary_key else (),
        tuple(map(_foreign, read.foreign_keys or ())),
    )


def changed_keys(now: object, given: Mapping[str, Any] | None, *, whole: bool) -> ChangedKeys:
    """Compare keys with those that there shall be.

    What `given` does not name stays unless it is the `whole`; null takes it away. Raises
    `InvalidRequestError` for what is not understood, and `RefusedError` where no statement drops a
    key: it has no name.
    """
    before, wanted = keys_from_json(now), keys_from_json(given)
    if given is not None and not whole:
        primary = wanted.primary if "primaryKey" in given else before.primary
        foreign = wanted.foreign if "foreignKeys" in given else before.foreign
        wanted = Keys(primary, foreign)
    kept = {one for one in before.foreign if one in wanted.foreign or one.unnamed in wanted.foreign}
    gone = [one for one in before.foreign if one not in kept]
    if not all(one.name for one in gone):
        raise RefusedError(
            "a foreign key without a name is not dropped here", hint="ask the table's owner"
        )
    there = kept | {one.unnamed for one in kept}
    changes = before.primary != wanted.primary
    return ChangedKeys(
        changes and bool(before.primary),
        tuple(one.name for one in gone),
        Keys(
            wanted.primary if changes else (),
            tuple(one for one in wanted.foreign if one not in there),
        ),
    )


def visible_keys(constraints: Mapping[str, Any], sees: Callable[[TableId], bool]) -> Resource:
    """Leave out foreign keys that name a table which the agent does not see."""
    listed = constraints.get("foreignKeys") or ()
    seen = [one for one in listed if sees(_referenced(one))]
    rest = {name: constraints[name] for name in ("primaryKey",) if name in constraints}
    return rest | ({"foreignKeys": seen} if seen else {})


def _referenced(key: Mapping[str, Any]) -> TableId:
    table = key.get("referencedTable") or {}
    return TableId(*(str(table.get(name, "")) for name in ("projectId", "datasetId", "tableId")))


def _foreign(given: _ForeignKey) -> ForeignKey:
    table, columns = given.referenced_table, given.column_references
    return ForeignKey(
        given.name or "",
        tuple(one.referencing_column for one in columns),
        TableId(table.project_id, table.dataset_id, table.table_id),
        tuple(one.referenced_column for one in columns),
    )
