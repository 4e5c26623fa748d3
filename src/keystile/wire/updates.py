"""What a body of patch or update changes, as far as a statement can say it.

A body says what a dataset or table shall be. What in it differs from what that is now is an option,
a column to add, or refused by its name: nothing that a client asks for is passed over in silence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from keystile.model.errors import InvalidRequestError, PreconditionError, RefusedError
from keystile.model.schema import Field
from keystile.wire.jsonbody import parse_object
from keystile.wire.keys import ChangedKeys, changed_keys
from keystile.wire.metadata import DATASET_FIELDS, TABLE_FIELDS
from keystile.wire.resources import (
    BY_STATEMENT,
    REFUSED,
    NewColumn,
    Rounding,
    clustered_by,
    new_fields,
)
from keystile.wire.responses import Resource
from keystile.wire.schema import MAX_DEPTH, standard_type
from keystile.wire.strict import Int64, Strict, converted, int64, plain_labels

Option = str | int | dict[str, str] | None

# What BigQuery alone says. Clients send it back as they got it, and it may have changed since.
_OUTPUT = frozenset(("kind", "etag", "id", "selfLink", "creationTime", "lastModifiedTime"))
_CLUSTERING, _KEYS = "clustering", "tableConstraints"
_OUTPUT_OF_TABLES = frozenset(("numBytes", "numRows", "numLongTermBytes"))


class _Words(Strict, frozen=True):
    description: str | None = None
    friendly_name: str | None = None
    labels: dict[str, str | None] | None = None


class _OfDataset(_Words, frozen=True):
    default_table_expiration_ms: Int64 | None = None
    default_partition_expiration_ms: Int64 | None = None
    default_rounding_mode: Rounding | None = None
    max_time_travel_hours: Int64 | None = None


class _OfTable(_Words, frozen=True):
    expiration_time: Int64 | None = None


class Update(msgspec.Struct, frozen=True):
    """A body of patch, or with `whole` of update, which takes away the options it does not name.

    `etag` is the state that the client knows (`If-Match`); empty or `*` for any.
    """

    given: dict[str, object]
    whole: bool = False
    etag: str = ""


class Changed(msgspec.Struct, frozen=True):
    """What differs. `options` have the API's names, and None for one that is to be taken away.

    `clustering` are the columns that rows are to be clustered by; None leaves that as it is.
    """

    options: dict[str, Option] = {}
    added: tuple[Field, ...] = ()
    keys: ChangedKeys = ChangedKeys()
    clustering: tuple[str, ...] | None = None

    @property
    def is_nothing(self) -> bool:
        """Whether all is as it shall be already."""
        return self == Changed()


def parse_update(body: bytes, *, whole: bool, etag: str) -> Update:
    """Read a body of patch or update. Raises `InvalidRequestError` where it is malformed."""
    return Update(parse_object(body), whole, etag)


def check_state(etag: str, now: Resource) -> None:
    """Raise `PreconditionError` where the client knows another state; empty or `*` is any."""
    if etag.strip('"') not in {"", "*", now.get("etag")}:
        raise PreconditionError(
            "Precondition check failed.", hint="read it again and make the change anew"
        )


def dataset_changed(now: Resource, update: Update) -> Changed:
    """Compare with what datasets.get says now.

    Raises `RefusedError` for what no statement made here can change, `InvalidRequestError` for what
    is malformed or unknown, and `PreconditionError` where something differs and the client knows
    another state.
    """
    options = _options(_OfDataset, now, update)
    _check_rest(now, update, DATASET_FIELDS, _OUTPUT | _names(_OfDataset))
    return _checked(Changed(options), now, update)


def table_changed(now: Resource, update: Update) -> Changed:
    """Compare with what tables.get says now. Raises as `dataset_changed` does."""
    options = _options(_OfTable, now, update)
    known = _OUTPUT | _OUTPUT_OF_TABLES | _names(_OfTable) | {"schema", _CLUSTERING, _KEYS}
    _check_rest(now, update, TABLE_FIELDS, known)
    added: tuple[Field, ...] = ()
    if update.given.get("schema") is not None:  # `bq` sends null where it has no schema to say
        added = _added(_columns(now.get("schema") or {}), update.given["schema"])
    changed = Changed(options, added, _keys(now, update), _clustering(now, update))
    return _checked(changed, now, update)


def _keys(now: Resource, update: Update) -> ChangedKeys:
    if _KEYS not in update.given and not update.whole:
        return ChangedKeys()
    given = update.given.get(_KEYS)
    if given is not None and not isinstance(given, dict):
        raise InvalidRequestError(f"`{_KEYS}` is not understood")
    return changed_keys(now.get(_KEYS), given, whole=update.whole)


def _clustering(now: Resource, update: Update) -> tuple[str, ...] | None:
    if _CLUSTERING not in update.given and not update.whole:
        return None
    wanted = clustered_by(update.given.get(_CLUSTERING))
    return None if wanted == clustered_by(now.get(_CLUSTERING)) else wanted


def _checked(changed: Changed, now: Resource, update: Update) -> Changed:
    # Where nothing differs the request was carried out before, by a job that its client left.
    if not changed.is_nothing:
        check_state(update.etag, now)
    return changed


def _names(type_: type[_Words]) -> frozenset[str]:
    return frozenset(field.encode_name for field in msgspec.structs.fields(type_))


def _options(type_: type[_Words], now: Resource, update: Update) -> dict[str, Option]:
    names = _names(type_)
    said = converted({name: v for name, v in update.given.items() if name in names}, type_)
    found: dict[str, Option] = {}
    for field in msgspec.structs.fields(type_):
        name, value = field.encode_name, getattr(said, field.name)
        if name not in update.given and not update.whole:
            continue
        before: Any = now.get(name) or None
        wanted = value or None
        if name == "labels":
            wanted = _labels({} if update.whole else before or {}, value)
        elif field.name.endswith(("_ms", "_time", "_hours")):
            before, wanted = int64(before, name), int64(value, name)
        if wanted != before:
            found[name] = wanted
    return found


def _labels(before: dict[str, str], given: dict[str, str | None] | None) -> dict[str, str] | None:
    """Lay labels over those there are; null takes one away, or all of them."""
    if given is None:
        return None
    said = plain_labels({key: value for key, value in given.items() if value is not None})
    kept = {key: value for key, value in before.items() if key not in given}
    return {**kept, **said} or None


def _check_rest(
    now: Resource, update: Update, shown: frozenset[str], known: frozenset[str]
) -> None:
    """Refuse what differs, or what the agent cannot know to be the same."""
    for name, value in update.given.items():
        in_part = not update.whole or name.endswith("Reference")
        if name in REFUSED and in_part and value == {}:
            continue  # it is laid over what there is; `bq` sends such `resourceTags`
        if name in known or (name in shown and _is_as_now(value, now.get(name), in_part=in_part)):
            continue
        if name not in shown and name not in REFUSED and name != "view":
            raise InvalidRequestError(f"the request has an unknown field `{name[:100]}`")
        raise RefusedError(f"`{name}` is refused: {REFUSED.get(name, BY_STATEMENT)}")


def _is_as_now(value: object, now: object, *, in_part: bool) -> bool:
    if in_part and isinstance(value, Mapping) and isinstance(now, Mapping):
        return all(now.get(name) == inner for name, inner in value.items())
    return value == now


def _columns(schema: object) -> list[dict[str, Any]]:
    """Read a schema's columns. Raises `InvalidRequestError`."""
    fields = schema.get("fields", []) if isinstance(schema, Mapping) else None
    if not isinstance(fields, list) or not all(map(_is_object, fields)):
        raise InvalidRequestError("`schema` is not understood")
    return fields


def _added(before: list[dict[str, Any]], schema: object) -> tuple[Field, ...]:
    """Give the columns that come after those there are, which must be as they are."""
    given = _columns(schema)
    for place, column in enumerate(before):
        name = str(column.get("name"))
        if place >= len(given) or str(given[place].get("name")).lower() != name.lower():
            raise RefusedError(
                f"`schema` does not have the column `{name}` where it is now",
                hint="name all columns in their order and new ones last; drop one by a statement",
            )
        if differing := next(_differing(column, given[place]), ""):
            raise RefusedError(f"`{differing}` of column `{name}` is refused: {BY_STATEMENT}")
    said = schema if isinstance(schema, dict) else {}
    added = new_fields({**said, "fields": given[len(before) :]})
    for new in added:
        if isinstance(new, NewColumn) and new.default:
            # BigQuery takes no default in ADD COLUMN; ALTER COLUMN SET DEFAULT comes after it.
            raise RefusedError(
                f"`defaultValueExpression` of the new column `{new.name}` is refused:"
                f" {BY_STATEMENT}"
            )
    return added


def _differing(column: dict[str, Any], given: dict[str, Any]) -> Iterator[str]:
    """Name what differs in a column and the fields in it."""
    one, other = _said(column), _said(given)
    yield from (name for name in sorted(one | other) if one.get(name) != other.get(name))


def _said(field: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """Give what a column's resource says, in one spelling."""
    name, inner = str(field.get("name")), field.get("fields") or []
    if depth > MAX_DEPTH or not (isinstance(inner, list) and all(map(_is_object, inner))):
        raise InvalidRequestError(f"the schema of `{name[:100]}` is not understood")
    said = {name: value for name, value in field.items() if value}
    if inner:
        said["fields"] = [_said(one, depth + 1) for one in inner]
    return said | {
        "name": name.lower(),
        "type": standard_type(field.get("type"), name),
        "mode": str(field.get("mode") or "NULLABLE").upper(),
    }


def _is_object(value: object) -> bool:
    return isinstance(value, dict)
