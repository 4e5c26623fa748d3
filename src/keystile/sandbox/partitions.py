"""Partitions: what a row's partition is, and how BigQuery names it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from keystile.googlesql.messages import service
from keystile.model.errors import InvalidQueryError
from keystile.model.schema import Field
from keystile.sandbox.cells import scalar_text
from keystile.sandbox.data import Stored
from keystile.sandbox.sizes import value_bytes

_DAY_SECONDS = 86_400


def partition_cells(stored: Stored, rows: Sequence[list[Any]]) -> None:
    """Give new rows of a table that is partitioned by ingestion time their pseudo columns.

    A row that names its `_PARTITIONTIME` keeps it; the others came now.
    """
    if not stored.hidden:
        return
    at = len(stored.fields)
    for row in rows:
        if row[at].WhichOneof("value") is None:
            row[at].timestamp_value.seconds = _start(stored)
        if len(stored.hidden) > 1:
            row[at + 1].date_value = row[at].timestamp_value.seconds // _DAY_SECONDS


def time_text(seconds: float) -> str:
    """Give a moment as the text that a data file has for it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _start(stored: Stored) -> int:
    """Give the start of the partition that rows go to now, in seconds since 1970."""
    partitioning = stored.details.get("timePartitioning")
    unit = partitioning.get("type", "DAY") if isinstance(partitioning, dict) else "DAY"
    now = datetime.fromtimestamp(time.time(), UTC).replace(minute=0, second=0, microsecond=0)
    if unit != "HOUR":
        now = now.replace(hour=0)
    if unit in ("MONTH", "YEAR"):
        now = now.replace(day=1)
    if unit == "YEAR":
        now = now.replace(month=1)
    return int(now.timestamp())


_DATE_PART = re.compile(
    r"(?:TIMESTAMP|DATETIME|DATE)_TRUNC\s*\(\s*`?(\w+)`?\s*,\s*(\w+)\s*\)", re.IGNORECASE
)
_DATE_OF = re.compile(r"DATE\s*\(\s*`?(\w+)`?\s*\)", re.IGNORECASE)
_COLUMN = re.compile(r"`?(\w+)`?")
_RANGE = re.compile(
    r"RANGE_BUCKET\s*\(\s*`?(\w+)`?\s*,\s*GENERATE_ARRAY\s*\(\s*(-?\d+)\s*,\s*(-?\d+)\s*,\s*(\d+)\s*\)\s*\)",
    re.IGNORECASE,
)
_INGESTION = ("_PARTITIONDATE", "_PARTITIONTIME")


def partitioning(clause: str, options: Mapping[str, object]) -> dict[str, object]:
    """Read `PARTITION BY …` as the parts of a table's resource.

    Raises `InvalidQueryError` for an expression that BigQuery does not partition by.
    """
    if not clause:
        return {}
    sql = re.sub(r"^PARTITION\s+BY\s+", "", clause.strip(), flags=re.IGNORECASE)
    if found := _RANGE.fullmatch(sql):
        column, start, end, interval = found.groups()
        bounds = {"start": start, "end": end, "interval": interval}
        return {"rangePartitioning": {"field": column, "range": bounds}}
    if found := _DATE_PART.fullmatch(sql):
        column, unit = found[1], found[2].upper()
    elif found := _DATE_OF.fullmatch(sql) or _COLUMN.fullmatch(sql):
        column, unit = found[1], "DAY"
    else:
        raise InvalidQueryError(
            "PARTITION BY expression must be DATE(<timestamp_column>), DATE(<datetime_column>), "
            "DATETIME_TRUNC(<datetime_column>, DAY/HOUR/MONTH/YEAR), a DATE column, "
            "TIMESTAMP_TRUNC(<timestamp_column>, DAY/HOUR/MONTH/YEAR), DATE_TRUNC(<date_column>, "
            "MONTH/YEAR), or RANGE_BUCKET(<int64_column>, GENERATE_ARRAY(<int64_value>, "
            "<int64_value>[, <int64_value>]))"
        )
    made: dict[str, object] = {"type": unit}
    if column.upper() not in _INGESTION:
        made["field"] = column
    if days := options.get("partition_expiration_days"):
        made["expirationMs"] = str(int(float(str(days)) * _DAY_SECONDS * 1000))
    return {"timePartitioning": made}


def partition_ids(stored: Stored, content: bytes) -> list[tuple[str | None, tuple[int, int]]]:
    """Give each partition's id with its rows and logical bytes; None where there is just one."""
    columns = stored.fields + stored.hidden
    rows = service.TableContent.FromString(content).table_data.row
    found: dict[str | None, tuple[int, int]] = {}
    for row in rows:
        size = sum(
            value_bytes(cell, field.sql_type)
            for cell, field in zip(row.cell[: len(stored.fields)], stored.fields, strict=True)
        )
        id_ = _partition_id(stored, columns, row.cell)
        count, total = found.get(id_, (0, 0))
        found[id_] = count + 1, total + size
    if not found and not stored.details.keys() & {"timePartitioning", "rangePartitioning"}:
        found[None] = 0, 0
    return sorted(found.items(), key=lambda item: item[0] or "")


def _partition_id(stored: Stored, columns: Sequence[Field], cells_: Any) -> str | None:
    by_range, by_time = (
        stored.details.get(key) for key in ("rangePartitioning", "timePartitioning")
    )
    names = [field.name.lower() for field in columns]
    if isinstance(by_range, dict):
        value = cells_[names.index(str(by_range["field"]).lower())]
        bounds = {key: int(bound) for key, bound in by_range["range"].items()}
        if value.WhichOneof("value") is None:
            return "__NULL__"
        if not bounds["start"] <= value.int64_value < bounds["end"]:
            return "__UNPARTITIONED__"
        over = (value.int64_value - bounds["start"]) % bounds["interval"]
        return str(value.int64_value - over)
    if not isinstance(by_time, dict):
        return None
    at = names.index(str(by_time.get("field") or _INGESTION[1]).lower())
    value = cells_[at]
    if value.WhichOneof("value") is None:
        return "__NULL__"
    text = scalar_text(value, columns[at].sql_type)
    if columns[at].type == "TIMESTAMP":
        text = datetime.fromtimestamp(int(text) // 1_000_000, UTC).isoformat()
    return re.sub(r"\D", "", text)[: _DIGITS[str(by_time.get("type", "DAY"))]]


_DIGITS = {"HOUR": 10, "DAY": 8, "MONTH": 6, "YEAR": 4}
