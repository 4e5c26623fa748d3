from __future__ import annotations

import json
from typing import Any

import pytest

from keystile.model.errors import InvalidRequestError, RefusedError
from keystile.model.schema import Field, Mode, TableId
from keystile.wire.keys import Keys
from keystile.wire.resources import (
    NewColumn,
    NewDataset,
    NewTable,
    Partitioning,
    Words,
    parse_dataset,
    parse_table,
)


def dataset(**fields: Any) -> NewDataset:
    body = {"datasetReference": {"projectId": "p", "datasetId": "d"}, **fields}
    return parse_dataset("p", json.dumps(body).encode())


def table(**fields: Any) -> NewTable:
    body = {"tableReference": {"projectId": "p", "datasetId": "d", "tableId": "t"}, **fields}
    return parse_table("p", "d", json.dumps(body).encode())


def test_a_dataset_is_read_as_python_sends_it() -> None:
    assert dataset(labels={}) == NewDataset("p", "d", Words())
    read = dataset(
        labels={"team": "x"},
        location="EU",
        description="D",
        friendlyName="F",
        defaultTableExpirationMs="3600000",
        defaultPartitionExpirationMs=7,
        defaultRoundingMode="ROUND_HALF_EVEN",
        maxTimeTravelHours="48",
        isCaseInsensitive=False,
        access=[],
        kind="bigquery#dataset",
        etag="e",
    )
    words = Words("D", "F", {"team": "x"})
    even = "ROUND_HALF_EVEN"
    assert read == NewDataset("p", "d", words, "EU", 3_600_000, 7, even, 48)
    assert dataset(isCaseInsensitive=True).ignores_case


def test_a_table_is_read_as_python_sends_it() -> None:
    column = {"name": "at", "type": "TIMESTAMP", "mode": "REQUIRED", "policyTags": {}}
    read = table(
        labels={},
        schema={"fields": [column, {"name": "n", "type": "INTEGER", "precision": None}]},
        timePartitioning={"type": "HOUR", "field": "at", "expirationMs": "5"},
        clustering={"fields": ["n"]},
        tableConstraints={"primaryKey": {"columns": ["n"]}},
        expirationTime="9",
        requirePartitionFilter=True,
        numRows="3",
    )
    fields = (Field("at", "TIMESTAMP", Mode.REQUIRED), Field("n", "INT64"))
    cut = Partitioning("HOUR", "at", 5)
    assert read == NewTable(
        TableId("p", "d", "t"),
        Words(),
        fields,
        "",
        9,
        cut,
        ("n",),
        require_partition_filter=True,
        keys=Keys(("n",)),
    )
    assert table(view={"query": "SELECT 1", "useLegacySql": False}).query == "SELECT 1"


@pytest.mark.parametrize(
    ("fields", "error", "named"),
    [
        ({"fieldOfTomorrow": 1}, InvalidRequestError, "fieldOfTomorrow"),
        ({"schema": {"other": []}}, InvalidRequestError, "other"),
        (
            {"schema": {"fields": [{"name": "a", "type": "INT64", "x": 1}]}},
            InvalidRequestError,
            "x",
        ),
        (
            {"schema": {"fields": [{"name": "a", "type": "INT64", "maxLength": "5"}]}},
            InvalidRequestError,
            "maxLength",
        ),
        (
            {"schema": {"fields": [{"name": "a", "type": "NUMERIC", "scale": "5"}]}},
            InvalidRequestError,
            "scale",
        ),
        (
            {
                "schema": {
                    "fields": [
                        {
                            "name": "a",
                            "type": "RECORD",
                            "fields": [
                                {"name": "b", "type": "DATE", "defaultValueExpression": "x"}
                            ],
                        }
                    ]
                }
            },
            InvalidRequestError,
            "a.b",
        ),
        ({"schema": {"fields": [{"name": "a", "collation": "und:ci"}]}}, RefusedError, "collation"),
        (
            {"schema": {"fields": [{"name": "a", "fields": [{"policyTags": {"names": ["t"]}}]}]}},
            RefusedError,
            "policyTags",
        ),
        ({"view": {"query": "SELECT 1"}}, RefusedError, "legacy"),
        (
            {"view": {"query": "SELECT 1", "userDefinedFunctionResources": []}},
            InvalidRequestError,
            "userDefined",
        ),
        ({"materializedView": {"query": "SELECT 1"}}, RefusedError, "materializedView"),
        ({"tableReference": {"projectId": "q", "tableId": "t"}}, InvalidRequestError, "projectId"),
        ({"tableReference": {"datasetId": "q", "tableId": "t"}}, InvalidRequestError, "datasetId"),
        ({"tableReference": {}}, InvalidRequestError, "tableId"),
        ({"timePartitioning": {"type": "WEEK"}}, InvalidRequestError, "WEEK"),
        ({"expirationTime": "-1"}, InvalidRequestError, "expirationTime"),
        ({"labels": {"Team": "x"}}, InvalidRequestError, "Team"),
    ],
)
def test_what_is_not_made_here_is_named(fields: Any, error: type[Exception], named: str) -> None:
    with pytest.raises(error, match=named):
        table(**fields)


def test_the_length_of_a_text_is_not_lost_on_the_way() -> None:
    inner = {"name": "b", "type": "BYTES", "maxLength": "3"}
    read = table(
        schema={
            "fields": [
                {"name": "s", "type": "STRING", "maxLength": 7, "defaultValueExpression": "'x'"},
                {"name": "n", "type": "NUMERIC", "precision": "10", "scale": "2"},
                {"name": "p", "type": "NUMERIC", "precision": "10", "scale": "0"},
                {"name": "at", "type": "TIMESTAMP", "timestampPrecision": "12"},
                {"name": "r", "type": "RECORD", "mode": "REPEATED", "fields": [inner]},
            ]
        }
    )
    assert read.fields == (
        NewColumn("s", "STRING", parameters=(7,), default="'x'"),
        NewColumn("n", "NUMERIC", parameters=(10, 2)),
        NewColumn("p", "NUMERIC", parameters=(10,)),
        NewColumn("at", "TIMESTAMP", parameters=(12,)),
        Field("r", "STRUCT", Mode.REPEATED, (NewColumn("b", "BYTES", parameters=(3,)),)),
    )


@pytest.mark.parametrize("field", ["access", "linkedDatasetSource", "externalDatasetReference"])
def test_a_dataset_gives_no_rights_and_links_to_nothing(field: str) -> None:
    with pytest.raises(RefusedError, match=field):
        dataset(**{field: {"x": 1}})
