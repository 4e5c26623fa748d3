"""Cutting results and lists into pages, and the tokens that lead from one to the next."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from keystile.model.errors import InvalidRequestError
from keystile.model.schema import Field
from keystile.sandbox.cells import with_float_times
from keystile.sandbox.errors import unsupported
from keystile.wire.list_parameters import parse_page
from keystile.wire.paths import Call
from keystile.wire.requests import PageRequest
from keystile.wire.responses import Row

PAGE_ROWS = 10_000
"""Rows on a page where the client asks for no number or for more."""

PAGE_BYTES = 10 << 20
"""BigQuery's bound on a page of rows; one row that is larger makes a page of its own."""

_ItemT = TypeVar("_ItemT")


def page_of_rows(
    rows: Sequence[dict[str, Any]], fields: tuple[Field, ...], page: PageRequest, what: str
) -> tuple[list[Row], str]:
    """Cut a page out of the rows of `what`, and give the token of the next one or nothing."""
    start = _offset(page.page_token, what) if page.page_token else page.start_index or 0
    wanted = PAGE_ROWS if page.max_results is None else min(page.max_results, PAGE_ROWS)
    shown: list[Row] = []
    size = 0
    for row in rows[start : start + wanted]:
        size += len(msgspec.json.encode(row))
        if shown and size > PAGE_BYTES:
            break
        shown.append(row if page.use_int64_timestamp else with_float_times(row, fields))
    end = start + len(shown)
    return shown, _token(end, what) if end < len(rows) and wanted else ""


def page_of_list(items: Sequence[_ItemT], call: Call) -> tuple[Sequence[_ItemT], str]:
    """Cut a page out of a list of jobs, datasets, tables or routines."""
    page = parse_page(call)
    what = f"{call.method}|{call.project}|{call.dataset}"
    start = _offset(page.page_token, what) if page.page_token else 0
    end = start + (len(items) if page.max_results is None else page.max_results)
    return items[start:end], _token(end, what) if end < len(items) else ""


def _token(offset: int, what: str) -> str:
    """Make a page token that is good for this one result or list."""
    return base64.urlsafe_b64encode(f"{offset}|{what}".encode()).decode()


def _offset(token: str, what: str) -> int:
    try:
        offset, _, named = base64.b64decode(token, b"-_", validate=True).decode().partition("|")
    except (binascii.Error, ValueError) as error:
        raise InvalidRequestError("Invalid page token") from error
    if named != what or not offset.isdecimal():
        raise InvalidRequestError("Invalid page token")
    return int(offset)


def selected(rows: Sequence[Row], fields: tuple[Field, ...], names: tuple[str, ...]) -> list[Row]:
    """Keep the named columns. Raises `InvalidQueryError` for what is no top-level column."""
    places = {field.name.lower(): at for at, field in enumerate(fields)}
    for name in names:
        if name.lower() not in places:
            what = "nested fields in `selectedFields`" if "." in name else f"a field `{name[:80]}`"
            raise unsupported(what)
    # In the order of the schema, which is how clients read the cells.
    kept = sorted({places[name.lower()] for name in names})
    return [{"f": _cells(row, kept)} for row in rows]


def _cells(row: Any, kept: Sequence[int]) -> list[object]:
    return [row["f"][at] for at in kept]
