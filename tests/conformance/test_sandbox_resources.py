# ruff: noqa: S608 - queries made of a test's own words
"""Datasets, tables and views made, changed and dropped by the API, with the real client."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from google.api_core.exceptions import BadRequest, Conflict, NotFound, PreconditionFailed
from google.cloud import bigquery
from google.cloud.bigquery import (
    DatasetReference,
    PolicyTagList,
    SchemaField,
    StandardSqlTypeNames,
    Table,
)

Call = Callable[..., requests.Response]
_PEOPLE = [
    SchemaField("id", "INTEGER", mode="REQUIRED"),
    SchemaField("name", "STRING", description="Given and family name"),
]


def _table(client: bigquery.Client, lab: str, name: str, schema: Any = _PEOPLE) -> Table:
    return client.create_table(Table(f"{client.project}.{lab}.{name}", schema=schema))


def _rows(client: bigquery.Client, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in client.query_and_wait(sql)]


def test_a_dataset_lives_from_insert_to_delete(client: bigquery.Client) -> None:
    given = bigquery.Dataset(f"{client.project}.made_{uuid.uuid4().hex[:8]}")
    given.description, given.labels, given.location = "for a test", {"team": "shop"}, "US"
    made = client.create_dataset(given)
    assert (made.description, made.labels) == ("for a test", {"team": "shop"})
    with pytest.raises(Conflict, match="Already Exists: Dataset"):
        client.create_dataset(given)
    listed = client.list_datasets(filter="labels.team:shop")
    assert [each.dataset_id for each in listed] == [made.dataset_id]
    assert not list(client.list_datasets(filter="labels.team:other"))
    made.labels = {"team": None, "stage": "test"}
    changed = client.update_dataset(made, ["labels"])
    assert (changed.labels, changed.description) == ({"stage": "test"}, "for a test")
    made.description = "too late"
    with pytest.raises(PreconditionFailed):
        client.update_dataset(made, ["description"])
    _table(client, made.dataset_id, "people")
    with pytest.raises(BadRequest, match="still in use"):
        client.delete_dataset(made)
    client.delete_dataset(made, delete_contents=True)
    with pytest.raises(NotFound):
        client.get_dataset(made.reference)


def test_a_deleted_dataset_comes_back_with_its_tables(client: bigquery.Client, call: Call) -> None:
    name = f"made_{uuid.uuid4().hex[:8]}"
    client.create_dataset(name)
    client.query_and_wait(f"CREATE TABLE {name}.t AS SELECT 7 AS x")
    client.delete_dataset(name, delete_contents=True)
    assert call("POST", f"datasets/{name}:undelete", json={}).status_code == 200
    assert _rows(client, f"SELECT x FROM {name}.t") == [(7,)]
    assert call("POST", f"datasets/{name}:undelete", json={}).status_code == 409
    client.delete_dataset(name, delete_contents=True)
    assert call("POST", "datasets/never_there:undelete", json={}).status_code == 404


def test_names_in_a_case_insensitive_dataset_are_one(client: bigquery.Client) -> None:
    given = bigquery.Dataset(f"{client.project}.made_{uuid.uuid4().hex[:8]}")
    given.is_case_insensitive = True
    name = client.create_dataset(given).dataset_id
    _table(client, name, "People")
    assert client.get_table(f"{name}.peoplE").table_id == "People"
    assert _rows(client, f"SELECT COUNT(*) FROM {name}.PEOPLE") == [(0,)]
    with pytest.raises(Conflict):
        _table(client, name, "people")
    client.delete_dataset(name, delete_contents=True)


@pytest.mark.parametrize(
    ("method", "path", "body", "said"),
    [
        ("POST", "datasets", {"datasetReference": {"datasetId": "a b"}}, "Invalid dataset ID"),
        ("POST", "datasets", {"datasetReference": {"datasetId": "x"}, "madeUp": 1}, "madeUp"),
        ("POST", "datasets", {}, "datasetReference"),
        ("PATCH", "datasets/shop", {"location": "EU"}, "location"),
        ("POST", "datasets", {"datasetReference": 1}, "datasetReference"),
        (
            "POST",
            "datasets",
            {"datasetReference": {"datasetId": "x"}, "externalDatasetReference": {"a": "b"}},
            "not supported by the sandbox: `externalDatasetReference`",
        ),
        ("POST", "datasets/shop/tables", {"tableReference": {"tableId": "x"}}, "tableReference"),
    ],
)
def test_a_body_that_is_not_understood_is_refused(
    call: Call, method: str, path: str, body: Any, said: str
) -> None:
    answer = call(method, path, json=body)
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


def test_a_table_keeps_all_that_is_said_of_it(client: bigquery.Client, lab: str) -> None:
    tag = "projects/acme-shop/locations/us/taxonomies/1/policyTags/2"
    given = Table(
        f"{client.project}.{lab}.t",
        schema=[
            SchemaField("at", "TIMESTAMP", default_value_expression="CURRENT_TIMESTAMP()"),
            SchemaField("code", "STRING", max_length=9, policy_tags=PolicyTagList([tag])),
            SchemaField("price", "NUMERIC", precision=9, scale=2),
            SchemaField("parts", "RECORD", "REPEATED", fields=[SchemaField("a", "BYTES")]),
        ],
    )
    given.time_partitioning = bigquery.TimePartitioning(field="at")
    given.clustering_fields = ["code"]
    given.labels = {"kind": "test"}
    given.expires = datetime.now(UTC) + timedelta(hours=1)
    made = client.get_table(client.create_table(given))
    assert made.schema == given.schema
    assert (made.clustering_fields, made.labels) == (["code"], {"kind": "test"})
    assert (made.time_partitioning.field, made.time_partitioning.type_) == ("at", "DAY")
    assert abs((made.expires - given.expires).total_seconds()) < 1
    assert (made.num_rows, made.num_bytes, made.location) == (0, 0, "US")
    with pytest.raises(Conflict, match="Already Exists: Table"):
        client.create_table(given)


def test_a_table_that_has_expired_is_gone(client: bigquery.Client, lab: str) -> None:
    given = Table(f"{client.project}.{lab}.brief", schema=_PEOPLE)
    given.expires = datetime.now(UTC) + timedelta(seconds=1.5)
    client.create_table(given)
    assert _rows(client, f"SELECT COUNT(*) FROM {lab}.brief") == [(0,)]
    time.sleep(1.6)
    with pytest.raises(NotFound):
        client.query_and_wait(f"SELECT COUNT(*) FROM {lab}.brief")
    assert not list(client.list_tables(lab))


def test_a_tables_rows_follow_its_schema(client: bigquery.Client, lab: str) -> None:
    table = _table(
        client, lab, "t", [*_PEOPLE, SchemaField("r", "RECORD", fields=[SchemaField("a", "INT64")])]
    )
    client.query_and_wait(f"INSERT {lab}.t (id, name, r) VALUES (1, 'Ada', STRUCT(2))")
    table = client.get_table(table)
    inner = [SchemaField("b", "STRING"), SchemaField("a", "INT64")]
    table.schema = [
        SchemaField("id", "INTEGER", mode="NULLABLE"),
        SchemaField("name", "STRING"),
        SchemaField("r", "RECORD", fields=inner),
        SchemaField("tags", "STRING", mode="REPEATED"),
    ]
    changed = client.update_table(table, ["schema"])
    assert [field.mode for field in changed.schema] == ["NULLABLE"] * 3 + ["REPEATED"]
    assert changed.schema[1].description is None
    sql = f"SELECT id, name, r.a, r.b, ARRAY_LENGTH(tags) FROM {lab}.t"
    assert _rows(client, sql) == [(1, "Ada", 2, None, 0)]
    client.query_and_wait(f"INSERT {lab}.t (id) VALUES (NULL)")


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (_PEOPLE[:1], "Field name is missing in new schema"),
        ([_PEOPLE[0], SchemaField("name", "INT64")], "has changed type from STRING to INTEGER"),
        ([_PEOPLE[0], SchemaField("name", "STRING", "REQUIRED")], "has changed mode"),
        ([*_PEOPLE, SchemaField("x", "INT64", "REQUIRED")], "Cannot add required fields"),
        ([*_PEOPLE, SchemaField("NAME", "INT64")], "Duplicate field names"),
    ],
)
def test_a_schema_that_the_rows_do_not_fit_is_refused(
    client: bigquery.Client, lab: str, schema: list[SchemaField], said: str
) -> None:
    table = _table(client, lab, "t")
    table.schema = schema
    with pytest.raises(BadRequest, match=said):
        client.update_table(table, ["schema"])
    assert client.get_table(table).schema == _PEOPLE


def test_policy_tags_stay_until_they_are_taken_away(client: bigquery.Client, lab: str) -> None:
    tags = PolicyTagList(["projects/acme-shop/locations/us/taxonomies/1/policyTags/2"])
    table = _table(client, lab, "t", [SchemaField("ssn", "STRING", policy_tags=tags)])
    table.schema = [SchemaField("ssn", "STRING", description="said later")]
    table = client.update_table(table, ["schema"])
    assert (table.schema[0].description, table.schema[0].policy_tags) == ("said later", tags)
    table.schema = [SchemaField("ssn", "STRING", policy_tags=PolicyTagList())]
    assert client.update_table(table, ["schema"]).schema[0].policy_tags is None


def test_a_table_is_changed_in_one_state_only(client: bigquery.Client, lab: str) -> None:
    first = _table(client, lab, "t")
    second = client.get_table(first)
    first.description = "first"
    client.update_table(first, ["description"])
    second.description = "second"
    with pytest.raises(PreconditionFailed):
        client.update_table(second, ["description"])
    client.delete_table(second)
    with pytest.raises(NotFound):
        client.delete_table(second)


def test_an_update_says_all_of_a_table(client: bigquery.Client, lab: str, call: Call) -> None:
    table = _table(client, lab, "t")
    table.labels = {"a": "b"}
    client.update_table(table, ["labels"])
    fields = [{"name": "id", "type": "INTEGER", "mode": "REQUIRED"}]
    fields += [{"name": "name", "type": "STRING"}]
    body = {"description": "all new", "schema": {"fields": fields}}
    told = call("PUT", f"datasets/{lab}/tables/t", json=body).json()
    assert told["description"] == "all new"
    assert "labels" not in told
    assert call("PUT", f"datasets/{lab}/tables/t", json={}).status_code == 400


def test_bq_could_change_no_table_for_it_says_no_schema(
    lab: str, client: bigquery.Client, call: Call
) -> None:
    _table(client, lab, "t")
    body = {"description": "to pay", "schema": None, "labels": {}, "resourceTags": {}}
    told = call(
        "POST", f"datasets/{lab}/tables/t", json=body, headers={"x-http-method-override": "PATCH"}
    )
    assert told.json()["description"] == "to pay"
    assert [one["name"] for one in told.json()["schema"]["fields"]] == ["id", "name"]


def test_bq_could_show_no_chosen_columns_for_their_table_had_others(call: Call) -> None:
    told = call("GET", "datasets/shop/tables/customers", params={"selectedFields": "id,ssn"})
    assert [one["name"] for one in told.json()["schema"]["fields"]] == ["id", "ssn"]


def test_bq_found_no_description_of_the_api(sandbox: Any) -> None:
    told = requests.get(f"{sandbox.url}/discovery/v1/apis/bigquery/v2/rest", timeout=30).json()
    assert told["rootUrl"] == f"{sandbox.url}/"
    assert {"undelete", "insert"} <= told["resources"]["datasets"]["methods"].keys()
    assert "setIamPolicy" not in told["resources"]["tables"]["methods"]


def test_a_view_can_be_made_and_changed(client: bigquery.Client, lab: str) -> None:
    given = Table(f"{client.project}.{lab}.v")
    given.view_query = "SELECT id, total FROM `acme-shop.shop.orders`"
    made = client.create_table(given)
    assert (made.table_type, [field.name for field in made.schema]) == ("VIEW", ["id", "total"])
    made.schema = [SchemaField("id", "INTEGER", description="of the order"), made.schema[1]]
    made = client.update_table(made, ["schema"])
    assert made.schema[0].description == "of the order"
    made.view_query = "SELECT 1 AS one"
    assert client.update_table(made, ["view_query"]).schema[0].name == "one"
    assert _rows(client, f"SELECT * FROM {lab}.v") == [(1,)]
    (listed,) = client.list_tables(lab)
    assert (listed.table_type, listed.view_use_legacy_sql) == ("VIEW", False)
    given = Table(f"{client.project}.{lab}.broken")
    given.view_query = "SELECT nope FROM `acme-shop.shop.orders`"
    with pytest.raises(BadRequest, match="Unrecognized name: nope"):
        client.create_table(given)
    given.view_use_legacy_sql = True
    with pytest.raises(BadRequest, match="legacy SQL"):
        client.create_table(given)


def test_a_materialized_view_is_read_as_its_query(client: bigquery.Client, lab: str) -> None:
    given = Table(f"{client.project}.{lab}.mv")
    given.mview_query = "SELECT COUNT(*) AS n FROM `acme-shop.shop.customers`"
    made = client.create_table(given)
    assert (made.table_type, made.mview_enable_refresh) == ("MATERIALIZED_VIEW", True)
    assert _rows(client, f"SELECT n FROM {lab}.mv") == [(200,)]
    with pytest.raises(BadRequest, match="type MATERIALIZED_VIEW"):
        list(client.list_rows(made, selected_fields=made.schema))


def test_a_table_without_columns_lists_no_rows(client: bigquery.Client, lab: str) -> None:
    table = client.create_table(f"{lab}.bare")
    assert (table.schema, list(client.list_rows(table))) == ([], [])


def test_what_only_lists_is_there(client: bigquery.Client, lab: str, call: Call) -> None:
    _table(client, lab, "t")
    assert list(client.list_models(lab)) == []
    assert call("GET", f"datasets/{lab}/tables/t/rowAccessPolicies").json() == {}
    assert "@" in client.get_service_account_email()
    assert [each.project_id for each in client.list_projects()] == ["acme-shop"]
    asked = ["bigquery.tables.get", "bigquery.tables.getData"]
    answer = client.test_iam_permissions(client.get_table(f"{lab}.t"), asked)
    assert answer["permissions"] == asked
    with pytest.raises(NotFound):
        list(client.list_models(DatasetReference("acme-shop", "nope")))


def _stream(call: Call, lab: str, rows: list[Any], **more: object) -> requests.Response:
    return call("POST", f"datasets/{lab}/tables/t/insertAll", json={"rows": rows, **more})


def test_streamed_rows_are_there_at_once(client: bigquery.Client, lab: str) -> None:
    inner = [SchemaField("n", "INT64", mode="REPEATED"), SchemaField("b", "BYTES")]
    schema = [
        SchemaField("at", "TIMESTAMP"),
        SchemaField("price", "NUMERIC"),
        SchemaField("note", "JSON"),
        SchemaField("r", "RECORD", fields=inner),
        SchemaField("tags", "STRING", mode="REPEATED"),
        SchemaField("code", "STRING", default_value_expression="'none'"),
    ]
    table = _table(client, lab, "t", schema)
    at = datetime(2024, 2, 3, 4, 5, 6, 789, UTC)
    rows = [
        {
            "at": at,
            "price": "1.23",
            "note": {"a": [1]},
            "r": {"n": [1, 2], "b": b"x"},
            "code": "a",
        },
        {"price": 2, "tags": ["a"]},
    ]
    assert client.insert_rows(table, rows) == []
    first, second = sorted(client.list_rows(table), key=lambda row: row["price"])
    assert (first["at"], first["note"], first["r"]) == (at, {"a": [1]}, {"n": [1, 2], "b": b"x"})
    assert (first["code"], second["code"], second["tags"]) == ("a", "none", ["a"])


def test_a_null_is_no_default(client: bigquery.Client, lab: str, call: Call) -> None:
    schema = [SchemaField("a", "INT64"), SchemaField("b", "INT64", default_value_expression="7")]
    _table(client, lab, "t", schema)
    assert (
        "insertErrors"
        not in _stream(call, lab, [{"json": {"a": 1, "b": None}}, {"json": {"a": 2}}]).json()
    )
    assert _rows(client, f"SELECT a, b FROM {lab}.t ORDER BY a") == [(1, None), (2, 7)]


def test_one_bad_row_stops_all(client: bigquery.Client, lab: str) -> None:
    table = _table(client, lab, "t")
    rows = [
        {"id": 1, "name": "Ada"},
        {"id": "x", "name": "Bob"},
        {"name": "Cy"},
        {"id": 3, "name": "Di", "more": 1},
        {"id": 4, "name": ["Ed"]},
    ]
    errors = client.insert_rows_json(table, rows)
    told = {each["index"]: each["errors"][0] for each in errors}
    assert {at: (error["reason"], error["location"]) for at, error in told.items()} == {
        0: ("stopped", ""),
        1: ("invalid", "id"),
        2: ("invalid", "id"),
        3: ("invalid", "more"),
        4: ("invalid", "name"),
    }
    assert told[3]["message"] == "no such field: more."
    assert "Missing required field: id" in told[2]["message"]
    assert list(client.list_rows(table)) == []
    errors = client.insert_rows_json(
        table, rows, skip_invalid_rows=True, ignore_unknown_values=True
    )
    assert [each["index"] for each in errors] == [1, 2, 4]
    assert sorted(row["id"] for row in client.list_rows(table)) == [1, 3]


def test_a_value_that_no_cast_takes_names_its_column(client: bigquery.Client, lab: str) -> None:
    table = _table(client, lab, "t", [SchemaField("a", "INT64"), SchemaField("day", "DATE")])
    rows = [{"a": 1, "day": "2024-01-01"}, {"a": 2, "day": "2024-13-01"}, {"a": 3}]
    (error,) = client.insert_rows_json(table, rows, skip_invalid_rows=True)
    assert (error["index"], error["errors"][0]["location"]) == (1, "day")
    assert _rows(client, f"SELECT a, day IS NULL FROM {lab}.t ORDER BY a") == [
        (1, False),
        (3, True),
    ]


def test_a_row_that_comes_again_is_one_row(client: bigquery.Client, lab: str, call: Call) -> None:
    _table(client, lab, "t")
    row = {"insertId": "a", "json": {"id": 1}}
    for rows in ([row, row], [row, {"insertId": "b", "json": {"id": 2}}], [{"json": {"id": 1}}]):
        assert "insertErrors" not in _stream(call, lab, rows).json()
    assert _rows(client, f"SELECT id FROM {lab}.t ORDER BY 1") == [(1,), (1,), (2,)]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"rows": []}, "No rows present"),
        ({"rows": [{"json": 1}]}, "`json` is the row"),
        ({"rows": [{"json": {}}], "templateSuffix": "_x"}, "not supported by the sandbox: `templa"),
        ({"rows": [{"json": {}}], "madeUp": 1}, "madeUp"),
    ],
)
def test_a_stream_that_is_not_understood_is_refused(
    client: bigquery.Client, lab: str, call: Call, body: Any, said: str
) -> None:
    _table(client, lab, "t")
    answer = call("POST", f"datasets/{lab}/tables/t/insertAll", json=body)
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


def _routine(lab: str, **more: Any) -> bigquery.Routine:
    integer = bigquery.StandardSqlDataType(type_kind=StandardSqlTypeNames.INT64)
    return bigquery.Routine(
        f"acme-shop.{lab}.twice",
        type_="SCALAR_FUNCTION",
        language="SQL",
        arguments=[bigquery.RoutineArgument(name="x", data_type=integer)],
        **{"body": "x * 2", **more},
    )


def test_a_routine_lives_from_insert_to_delete(client: bigquery.Client, lab: str) -> None:
    made = client.create_routine(_routine(lab, description="two times"))
    assert (made.description, made.return_type.type_kind.value) == ("two times", "INT64")
    assert _rows(client, f"SELECT {lab}.twice(21)") == [(42,)]
    with pytest.raises(Conflict, match="Already Exists: Routine"):
        client.create_routine(made)
    said = ["arguments", "body", "description", "language", "type_"]
    made.body, stale = "x * 2 + 1", client.get_routine(made.reference)
    made = client.update_routine(made, said)
    assert (made.body, made.description) == ("x * 2 + 1", "two times")
    assert _rows(client, f"SELECT {lab}.twice(21)") == [(43,)]
    stale.body = "0"
    with pytest.raises(PreconditionFailed):
        client.update_routine(stale, said)
    assert [each.reference.routine_id for each in client.list_routines(lab)] == ["twice"]
    client.delete_routine(made)
    with pytest.raises(NotFound):
        client.get_routine(made.reference)


def test_a_table_function_is_made_with_its_columns(client: bigquery.Client, lab: str) -> None:
    integer = bigquery.StandardSqlDataType(type_kind=StandardSqlTypeNames.INT64)
    given = bigquery.Routine(
        f"acme-shop.{lab}.upto",
        type_="TABLE_VALUED_FUNCTION",
        arguments=[bigquery.RoutineArgument(name="n", data_type=integer)],
        return_table_type=bigquery.StandardSqlTableType(
            columns=[bigquery.StandardSqlField(name="i", type=integer)]
        ),
        body="SELECT i FROM UNNEST(GENERATE_ARRAY(1, n)) AS i",
    )
    made = client.create_routine(given)
    assert made.return_table_type == given.return_table_type
    assert _rows(client, f"SELECT SUM(i) FROM {lab}.upto(4)") == [(10,)]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"body": "y * 2"}, "Unrecognized name: y"),
        ({"body": "(SELECT 1 FROM nope.nope)"}, "nope"),
        ({"body": ""}, "definitionBody"),
        (
            {"return_type": bigquery.StandardSqlDataType(type_kind=StandardSqlTypeNames.DATE)},
            "(?i)date",
        ),
    ],
)
def test_a_routine_that_does_not_resolve_is_refused(
    client: bigquery.Client, lab: str, more: Any, said: str
) -> None:
    with pytest.raises((BadRequest, NotFound), match=said):
        client.create_routine(_routine(lab, **more))
    assert list(client.list_routines(lab)) == []


def test_points_are_kept_and_given_back(client: bigquery.Client, lab: str) -> None:
    schema = [SchemaField("id", "INT64"), SchemaField("place", "GEOGRAPHY")]
    table = _table(client, lab, "t", schema)
    rows = [{"id": 1, "place": "POINT(-122.0 37.25)"}, {"id": 2}]
    assert client.insert_rows_json(table, rows) == []
    assert [row["place"] for row in client.list_rows(table)] == ["POINT(-122 37.25)", None]
    sql = f"SELECT id, place FROM {lab}.t WHERE place IS NOT NULL"
    found = client.query_and_wait(sql)
    assert [field.field_type for field in found.schema] == ["INTEGER", "GEOGRAPHY"]
    assert [tuple(row) for row in found] == [(1, "POINT(-122 37.25)")]
    client.query_and_wait(f"UPDATE {lab}.t SET id = 3 WHERE id = 2")
    assert _rows(client, f"SELECT COUNT(place), SUM(id) FROM (SELECT * FROM {lab}.t)")[0][1:] == (
        4,
    )


@pytest.mark.parametrize("what", ["TO_JSON_STRING(t)", "ST_X(place)", "CAST(place AS STRING)"])
def test_no_text_is_taken_for_a_place(client: bigquery.Client, lab: str, what: str) -> None:
    _table(client, lab, "t", [SchemaField("place", "GEOGRAPHY")])
    with pytest.raises(BadRequest, match=r"not supported by the sandbox|Invalid cast"):
        client.query_and_wait(f"SELECT {what} FROM {lab}.t")


def test_a_job_runs_where_its_tables_are(client: bigquery.Client, lab: str) -> None:
    given = bigquery.Dataset(f"{client.project}.far_{uuid.uuid4().hex[:8]}")
    given.location = "asia-northeast1"
    name = client.create_dataset(given).dataset_id
    rows = [{"id": 1, "name": "Ada"}]
    config = bigquery.LoadJobConfig(schema=_PEOPLE)
    load = client.load_table_from_json(rows, f"{name}.t", job_config=config)
    load.result()
    assert load.location == "asia-northeast1"
    assert client.get_table(f"{name}.t").location == "asia-northeast1"
    sql = f"SELECT name FROM {name}.t"
    for location in (None, "asia-northeast1"):
        job = client.query(sql, location=location)
        assert [tuple(row) for row in job.result()] == [("Ada",)]
        assert job.location == "asia-northeast1"
        assert client.get_table(job.destination).location == "asia-northeast1"
    with pytest.raises(NotFound, match="Job"):
        client.get_job(job.job_id, location="US")
    with pytest.raises(NotFound, match=f"Dataset acme-shop:{name} was not found in location US"):
        client.query(sql, location="US").result()
    with pytest.raises(NotFound, match="was not found in location"):
        client.query(f"SELECT 1 FROM {name}.t, shop.orders").result()
    with pytest.raises(NotFound, match="was not found in location"):
        client.copy_table(f"{name}.t", f"{lab}.t", location="US").result()
    count = "SELECT COUNT(*) FROM `region-asia-northeast1`.INFORMATION_SCHEMA.TABLES"
    assert _rows(client, count) == [(1,)]
    with pytest.raises(BadRequest, match="Invalid location"):
        client.query("SELECT 1", location="the moon").result()
    client.delete_dataset(name, delete_contents=True)


def test_types_with_parameters_are_kept_and_held_to(client: bigquery.Client, lab: str) -> None:
    client.query_and_wait(
        f"CREATE TABLE {lab}.t (s STRING(3), n NUMERIC(4, 1), b BIGNUMERIC(38), "
        "r ARRAY<STRUCT<x BYTES(2)>>, d STRING(9) DEFAULT 'x')"
    )
    schema = client.get_table(f"{lab}.t").schema
    assert [field.max_length for field in (schema[0], schema[3].fields[0])] == [3, 2]
    assert [(field.precision, field.scale) for field in schema[1:3]] == [(4, 1), (38, None)]
    client.query_and_wait(f"INSERT {lab}.t (s, n) VALUES ('äöü', 1.25), ('', -99.95)")
    rows = _rows(client, f"SELECT s, CAST(n AS STRING), d FROM {lab}.t ORDER BY n")
    assert rows == [("", "-100", "x"), ("äöü", "1.3", "x")]
    for column, value in (("s", "'long'"), ("n", "999.95"), ("r", "[STRUCT(b'abc' AS x)]")):
        with pytest.raises(BadRequest, match=r"maximum length|not in its range"):
            client.query_and_wait(f"INSERT {lab}.t ({column}) VALUES ({value})")
    client.query_and_wait(f"ALTER TABLE {lab}.t RENAME COLUMN s TO short")
    client.query_and_wait(f"ALTER TABLE {lab}.t DROP COLUMN n")
    client.query_and_wait(f"ALTER TABLE {lab}.t ADD COLUMN more STRING(1)")
    client.query_and_wait(f"ALTER TABLE {lab}.t RENAME COLUMN d TO e")
    lengths = {field.name: field.max_length for field in client.get_table(f"{lab}.t").schema}
    assert lengths == {"short": 3, "b": None, "r": None, "e": 9, "more": 1}
    client.query_and_wait(f"INSERT {lab}.t (more) VALUES ('a')")
    assert _rows(client, f"SELECT e FROM {lab}.t WHERE more = 'a'") == [("x",)]
    with pytest.raises(BadRequest, match="maximum length 3"):
        client.query_and_wait(f"UPDATE {lab}.t SET short = 'long' WHERE TRUE")


def test_decimals_are_rounded_as_their_column_says(client: bigquery.Client, lab: str) -> None:
    even = {"precision": 4, "scale": 1}
    table = client.create_table(
        Table(
            f"{client.project}.{lab}.t",
            schema=[
                SchemaField("a", "NUMERIC", **even),
                SchemaField("b", "NUMERIC", **even, rounding_mode="ROUND_HALF_EVEN"),
            ],
        )
    )
    assert client.insert_rows_json(table, [{"a": "0.25", "b": "0.25"}]) == []
    assert _rows(client, f"SELECT CAST(a AS STRING), CAST(b AS STRING) FROM {lab}.t") == [
        ("0.3", "0.2")
    ]
