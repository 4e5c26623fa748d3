"""Locations: a dataset has one, and a job reads and writes in its own only."""

from __future__ import annotations

import re
from collections.abc import Iterable

from keystile.model.errors import InvalidRequestError, NotFoundError
from keystile.model.schema import TableId
from keystile.sandbox.store import LOCATION, Store

_MULTIPLE = frozenset(("US", "EU"))
_REGION = re.compile(r"[a-z]+(?:-[a-z]+)+\d+")


def location_name(given: str) -> str:
    """Spell a location as BigQuery does; nothing is `US`. Raises `InvalidRequestError`."""
    if not given or given.upper() in _MULTIPLE:
        return given.upper() or LOCATION
    if not _REGION.fullmatch(given.lower()):
        raise InvalidRequestError(f"Invalid location: `{given[:60]}`")
    return given.lower()


def location_of(store: Store, ids: Iterable[TableId]) -> str:
    """Give the one location that tables have in common, or nothing."""
    found = {location for id_ in ids if (location := store.location(id_))}
    return found.pop() if len(found) == 1 else ""


def check_location(store: Store, ids: Iterable[TableId], location: str) -> None:
    """Raise `NotFoundError` for a table in another location, in BigQuery's words."""
    for id_ in ids:
        if store.location(id_) not in ("", location):
            raise NotFoundError(
                f"Not found: Dataset {id_.project}:{id_.dataset} was not found in location "
                f"{location}"
            )
