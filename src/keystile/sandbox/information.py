"""INFORMATION_SCHEMA: what a dataset or a region holds, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystile.model.schema import TableId
from keystile.sandbox.data import Stored
from keystile.sandbox.errors import unsupported

if TYPE_CHECKING:
    from keystile.sandbox.queries import Catalog


async def table(catalog: Catalog, id_: TableId) -> Stored:
    """Give a view of INFORMATION_SCHEMA. Raises `InvalidQueryError` for one that is not had."""
    raise unsupported(f"the table `{catalog and id_}`")
