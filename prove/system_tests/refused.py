"""Tests of what the gateway refuses on purpose, whatever policy says, and why."""

from __future__ import annotations

from collections.abc import Mapping

REFUSED: Mapping[str, str] = {
    "test_client.TestBigQuery.test_unset_table_schema_attributes": (
        "policy tags say who may read a column, and an agent sets and removes none"
    ),
}
