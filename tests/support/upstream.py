"""What tests of `upstream` ask BigQuery for, and where that stands in its API."""

from __future__ import annotations

from typing import Any

from keystile.model.schema import Parameter, SqlType, TableId
from keystile.upstream.values import JobRef, UpstreamQuery

CUSTOMERS = TableId("acme-shop", "shop", "customers")
TABLE_PATH = "GET /bigquery/v2/projects/acme-shop/datasets/shop/tables/customers"
LIST_PATH = "GET /bigquery/v2/projects/acme-shop/datasets/shop/tables"
INSERT = "POST /bigquery/v2/projects/acme-shop/jobs"
RESULTS = "GET /bigquery/v2/projects/acme-shop/queries/j1"
JOB = "GET /bigquery/v2/projects/acme-shop/jobs/j1"
REF = JobRef("acme-shop", "j1", "EU")
REFERENCE = {"projectId": "acme-shop", "datasetId": "shop", "tableId": "customers"}
SCHEMA = {"fields": [{"name": "id", "type": "INTEGER", "mode": "REQUIRED"}]}
PAD = "c2VjcmV0LXBhZC1zZWNyZXQtcGFkLXNlY3JldC1wYWQ="
QUERY = UpstreamQuery(
    project="acme-shop",
    sql="SELECT id FROM shop.customers",
    location="EU",
    parameters=(
        Parameter("id", SqlType("INT64"), {"value": "7"}),
        Parameter("keystile_hash_inner", SqlType("BYTES"), {"value": PAD}),
    ),
    hidden=frozenset({"keystile_hash_inner"}),
    labels={"team": "a"},
    maximum_bytes_billed=1000,
    use_query_cache=False,
    timeout_ms=5000,
)


def table_answer(**more: Any) -> dict[str, Any]:
    return {"tableReference": REFERENCE, "type": "TABLE", "etag": "e1", "schema": SCHEMA} | more
