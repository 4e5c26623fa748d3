"""Tests of what the gateway refuses on purpose, whatever policy says, and why."""

from __future__ import annotations

from collections.abc import Mapping

REFUSED: Mapping[str, str] = {
    "test_client.TestBigQuery.test_create_dataset_case_insensitive": (
        "policy is about names, and each table has one spelling here"
    ),
    "test_client.TestBigQuery.test_create_tables_in_case_insensitive_dataset": (
        "policy is about names, and each table has one spelling here"
    ),
    "test_client.TestBigQuery.test_create_table_with_default_value_expression": (
        "a column's default value may hold a secret, so `tables.get` does not show it"
    ),
    "test_client.TestBigQuery.test_get_service_account_email": (
        "the gateway's own accounts at Google are not told to agents"
    ),
    "test_client.TestBigQuery.test_unset_table_schema_attributes": (
        "policy tags say who may read a column, and an agent sets and removes none"
    ),
}
