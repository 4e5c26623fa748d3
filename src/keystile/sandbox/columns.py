"""The schema of a table resource: its fields, and what `Field` does not say of them.

Source of fact: `TableFieldSchema` of the API.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from keystile.model.errors import InvalidRequestError
from keystile.model.schema import Field, Mode, TableId
from keystile.sandbox.errors import unsupported
from keystile.wire.responses import Resource
from keystile.wire.schema import field_json, fields_from_json, schema_json

Attributes = dict[str, dict[str, object]]
"""By the dotted path of a field what its resource tells as it stands: `maxLength`, `scale` …"""

_ATTRIBUTES = frozenset(
    ("collation", "maxLength", "precision", "roundingMode", "scale", "timestampPrecision")
)
_READ = frozenset(
    (
        "defaultValueExpression",
        "description",
        "fields",
        "mode",
        "name",
        "policyTags",
        "rangeElementType",
        "type",
    )
)
_UNSERVED = frozenset(("categories", "dataPolicies", "foreignTypeDefinition", "generatedColumn"))


class Columns(msgspec.Struct, frozen=True):
    """A schema. `defaults` are SQL by top-level column.

    `tagged` are the paths of the fields that say something of their policy tags, if only that they
    have none.
    """

    fields: tuple[Field, ...] = ()
    attributes: Attributes = {}
    defaults: dict[str, str] = {}
    tagged: frozenset[str] = frozenset()


def read_columns(schema: object) -> Columns:
    """Read a `TableSchema`.

    Raises `InvalidRequestError` naming what is not understood, `UnsupportedError` for an
    attribute that the sandbox has not.
    """
    fields = fields_from_json(schema)
    _check_names(fields, "")
    attributes: Attributes = {}
    defaults: dict[str, str] = {}
    tagged = set()
    for path, item in _items(schema, ""):
        _check_item(item, path)
        if kept := {name: item[name] for name in item if name in _ATTRIBUTES and item[name]}:
            attributes[path] = kept
        if default := item.get("defaultValueExpression"):
            if "." in path:
                raise InvalidRequestError(
                    f"Default value expression is not allowed on the nested field `{path}`"
                )
            defaults[path] = str(default)
        if item.get("policyTags") is not None:
            tagged.add(path)
    return Columns(fields, attributes, defaults, frozenset(tagged))


def _items(schema: Any, before: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    items = schema.get("fields", ()) if isinstance(schema, Mapping) else schema
    for item in items or ():
        path = f"{before}{item['name']}"
        yield path, item
        yield from _items(item, f"{path}.")


def _check_names(fields: Sequence[Field], before: str) -> None:
    seen = set()
    for field in fields:
        if field.name.lower() in seen:
            raise InvalidRequestError(
                f"Duplicate field names: `{before}{field.name}` is there more than once"
            )
        seen.add(field.name.lower())
        _check_names(field.fields, f"{before}{field.name}.")


def _check_item(item: Mapping[str, Any], path: str) -> None:
    for name, value in item.items():
        if name in _UNSERVED and value:
            raise unsupported(f"`{name}` of the column `{path}`")
        if name not in _ATTRIBUTES | _READ | _UNSERVED:
            raise InvalidRequestError(
                f'Invalid JSON payload received. Unknown name "{name[:100]}" at '
                f"'schema.fields': Cannot find field."
            )


def columns_json(
    fields: Sequence[Field], attributes: Attributes, defaults: Mapping[str, str]
) -> Resource:
    """Write a `TableSchema` with all that is told of the fields."""
    schema = schema_json(fields)
    if attributes or defaults:
        for path, item in _items(schema, ""):
            told: dict[str, Any] = dict(attributes.get(path, {}))
            if path in defaults:
                told["defaultValueExpression"] = defaults[path]
            item.update(told)  # type: ignore[attr-defined]  # a dict of our own making
    return schema


def changed_columns(before: Columns, after: Columns, table: TableId) -> Columns:
    """Give a table's schema after it is set to another.

    A field that says nothing of its policy tags keeps them. Raises `InvalidRequestError` in
    BigQuery's words for a change that its rows do not allow.
    """
    fields = _changed(before.fields, after.fields, after.tagged, "", table)
    return msgspec.structs.replace(after, fields=fields)


def _changed(
    before: Sequence[Field],
    after: Sequence[Field],
    tagged: frozenset[str],
    path: str,
    table: TableId,
) -> tuple[Field, ...]:
    new = {field.name.lower(): field for field in after}
    made = []
    for old in before:
        where = f"{path}{old.name}"
        field = new.pop(old.name.lower(), None)
        if field is None:
            raise _differs(table, f"Field {where} is missing in new schema")
        _check_change(old, field, where, table)
        inner = _changed(old.fields, field.fields, tagged, f"{where}.", table)
        kept = field.policy_tags if where in tagged else old.policy_tags
        made.append(msgspec.structs.replace(field, fields=inner, policy_tags=kept))
    for field in new.values():
        if field.mode is Mode.REQUIRED:
            raise _differs(
                table,
                f"Cannot add required fields to an existing schema. (field: {path}{field.name})",
            )
        made.append(field)
    return tuple(made)


def _check_change(old: Field, new: Field, where: str, table: TableId) -> None:
    if (old.type, old.range_element) != (new.type, new.range_element):
        was, is_ = field_json(old)["type"], field_json(new)["type"]
        raise _differs(table, f"Field {where} has changed type from {was} to {is_}")
    relaxed = (old.mode, new.mode) == (Mode.REQUIRED, Mode.NULLABLE)
    if old.mode is not new.mode and not relaxed:
        raise _differs(
            table, f"Field {where} has changed mode from {old.mode.value} to {new.mode.value}"
        )


def _differs(id_: TableId, what: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"Provided Schema does not match Table {id_.project}:{id_.dataset}.{id_.table}. {what}"
    )
