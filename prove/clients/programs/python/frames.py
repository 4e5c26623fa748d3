"""How the programs show data frames: the types of their columns, and every value."""

from __future__ import annotations

from typing import Any

FRAME_SQL = "SELECT id, email, ssn, phone, created FROM shop.customers ORDER BY id LIMIT 25"
TYPES_SQL = """
SELECT id, total, placed, deliver_by, status, items FROM shop.orders ORDER BY id LIMIT 10
"""
PAGES_SQL = """
SELECT 100 * a + b AS x, CAST(b AS STRING) AS s
FROM UNNEST(GENERATE_ARRAY(0, 249)) AS a, UNNEST(GENERATE_ARRAY(1, 100)) AS b ORDER BY x
"""
"""More than two pages of rows."""


def frame(found: Any) -> dict[str, Any]:
    """Give a pandas data frame as columns with their types, and rows."""
    types = {str(name): str(kind) for name, kind in found.dtypes.items()}
    return {"types": types, "rows": [[str(cell) for cell in row] for row in found.to_numpy()]}


def table(found: Any) -> dict[str, Any]:
    """Give an Arrow table likewise."""
    return {"types": [str(field) for field in found.schema], "rows": found.to_pylist()}
