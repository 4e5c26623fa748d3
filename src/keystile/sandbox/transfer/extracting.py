"""Extract jobs: the rows of a table become files."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from keystile.model.errors import InvalidRequestError
from keystile.model.schema import Field, Mode, TableKind
from keystile.sandbox.errors import unsupported
from keystile.sandbox.queries import Catalog
from keystile.sandbox.targets import other_kind
from keystile.sandbox.transfer.delimited import written
from keystile.sandbox.transfer.reading import CSV, JSON
from keystile.sandbox.transfer.requests import Extract, named_table
from keystile.sandbox.transfer.storage import Storage
from keystile.wire.responses import Resource

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # in UTC, which the text says once
_DELIMITERS = {"\\t": "\t", "tab": "\t", "": ","}


async def extract(catalog: Catalog, storage: Storage, project: str, asked: Extract) -> Resource:
    """Run an extract job and give its statistics.

    Raises `NotFoundError` for a table or bucket, `InvalidRequestError` for a table that CSV has no
    form for, `UnsupportedError` for formats other than CSV and JSON.
    """
    id_ = named_table(asked.source_table, project, "sourceTable")
    stored = catalog.store.table(id_)
    if stored.kind is not TableKind.TABLE:
        raise other_kind(id_, stored.kind)
    if asked.destination_format not in (CSV, JSON):
        raise unsupported(f"the format `{asked.destination_format[:40]}`; use CSV or {JSON}")
    if asked.compression not in ("NONE", "GZIP"):
        raise unsupported(f"the compression `{asked.compression[:40]}`; use GZIP or NONE")
    uris = asked.destination_uris or tuple(filter(None, [asked.destination_uri]))
    if not uris:
        raise InvalidRequestError("Required parameter is missing: destinationUris")
    targets = [storage.target(uri, 0) for uri in uris]
    if asked.destination_format == CSV:
        _check_flat(stored.fields)
    rows = await catalog.rows(id_)
    # Several URIs share the rows, as workers of BigQuery do.
    share = -(-len(rows) // len(uris)) if rows else 0
    for at, target in enumerate(targets):
        part = rows[at * share : (at + 1) * share]
        _write(target, _text(part, stored.fields, asked), packed=asked.compression == "GZIP")
    size = str(sum(stored.sizes.values()))
    return {"extract": {"destinationUriFileCounts": ["1"] * len(uris), "inputBytes": size}}


def _check_flat(fields: Sequence[Field]) -> None:
    for field in fields:
        if field.type == "STRUCT":
            raise InvalidRequestError(
                f"Operation cannot be performed on a nested schema. Field: {field.name}"
            )
        if field.mode is Mode.REPEATED:
            raise InvalidRequestError(
                f"Operation cannot be performed on a repeated field. Field: {field.name}"
            )


def _text(
    rows: Sequence[Mapping[str, Any]], fields: Sequence[Field], asked: Extract
) -> Iterator[str]:
    if asked.destination_format == JSON:
        for row in rows:
            yield json_record(row, fields) + "\n"
        return
    delimiter = _DELIMITERS.get(asked.field_delimiter, asked.field_delimiter)
    if len(delimiter) != 1:
        raise InvalidRequestError("`fieldDelimiter` is one character")
    if asked.print_header:
        yield written([field.name for field in fields], delimiter)
    for row in rows:
        values = zip(row["f"], fields, strict=True)
        yield written([plain_text(cell["v"], field) for cell, field in values], delimiter)


def _write(target: Path, text: Iterator[str], *, packed: bool) -> None:
    """Write a file at once: nobody sees a part of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("wb", dir=target.parent, delete=False) as made:
        made_at = Path(made.name)
        try:
            with gzip.GzipFile(fileobj=made, mode="wb", filename="") if packed else made as file:
                for line in text:
                    file.write(line.encode())
        except BaseException:
            made_at.unlink()
            raise
    made_at.replace(target)


def plain_text(value: str | None, field: Field) -> str | None:
    """Give a scalar cell as extract jobs write it: a moment is `2020-01-01 00:00:00 UTC`."""
    if value is None or field.type != "TIMESTAMP":
        return value
    at = _EPOCH + timedelta(microseconds=int(value))
    return f"{at.isoformat(sep=' ')} UTC"


def json_record(row: Mapping[str, Any], fields: Sequence[Field]) -> str:
    """Write a row of cells as a JSON object. A field that is NULL is left out."""
    parts = [
        f"{json.dumps(field.name)}:{_json_value(cell['v'], field)}"
        for cell, field in zip(row["f"], fields, strict=True)
        if cell["v"] is not None
    ]
    return "{" + ",".join(parts) + "}"


def _json_value(value: Any, field: Field) -> str:
    if field.mode is Mode.REPEATED:
        return "[" + ",".join(_one(item["v"], field) for item in value) + "]"
    return _one(value, field)


def _one(value: Any, field: Field) -> str:
    if field.type == "STRUCT":
        return json_record(value, field.fields)
    if field.type in ("BOOL", "JSON"):
        return str(value)
    if field.type == "FLOAT64" and value not in ("NaN", "Infinity", "-Infinity"):
        return str(value)
    return json.dumps(plain_text(value, field), ensure_ascii=False)
