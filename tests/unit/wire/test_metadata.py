from __future__ import annotations

from typing import Any

from keystile.model.schema import Field, TableId
from keystile.wire.metadata import (
    dataset_list,
    model_list,
    project_list,
    result_table_resource,
    routine_list,
    visible_dataset,
    visible_project,
    visible_routine,
    visible_schema,
    visible_table,
    with_fields,
)
from keystile.wire.responses import JobView


def test_a_schema_keeps_what_is_on_the_list_alone() -> None:
    inner = {"name": "x", "type": "STRING", "policyTags": {"names": ["t"]}}
    field = {"name": "s", "type": "RECORD", "fields": [inner], "defaultValueExpression": "'x'"}
    wanted = {"name": "s", "type": "RECORD", "fields": [{"name": "x", "type": "STRING"}]}
    assert visible_schema({"fields": [field], "foreignTypeInfo": 1}) == {"fields": [wanted]}
    for odd in (None, {}, {"fields": None}, {"fields": ["x"]}, []):
        assert visible_schema(odd) == {"fields": []}


def test_columns_are_chosen_by_name_in_any_case() -> None:
    table: dict[str, object] = {"id": "t", "schema": {"fields": [{"name": "A"}, {"name": "b"}]}}
    assert with_fields(table, ()) == table
    assert with_fields(table, ("a", "c")) == {"id": "t", "schema": {"fields": [{"name": "A"}]}}
    assert with_fields({"id": "t"}, ("a",)) == {"id": "t"}


def test_a_result_has_a_table_until_a_day_later() -> None:
    job = JobView("p", "j", "EU", "a", "DONE", "SELECT 1", 5.0, total_rows=3)
    told = result_table_resource(TableId("p", "_d", "anon1"), job)
    assert (told["numRows"], told["creationTime"], told["expirationTime"]) == (
        "3",
        "5000",
        "86405000",
    )
    schema: Any = result_table_resource(
        TableId("p", "_d", "anon1"),
        JobView("p", "j", "EU", "a", "DONE", "SELECT 1", 5.0, schema=(Field("n", "INT64"),)),
    )["schema"]
    assert [field["name"] for field in schema["fields"]] == ["n"]
    assert "numBytes" not in told


def test_projects_and_routines_keep_what_is_on_the_list_alone() -> None:
    project = visible_project({"id": "p", "numericId": "1", "parent": "organizations/7"})
    listed = project_list([project], 1, "t")
    assert listed["projects"] == [{"kind": "bigquery#project", "id": "p", "numericId": "1"}]
    assert (listed["totalItems"], listed["nextPageToken"]) == (1, "t")
    text = {"definitionBody": "x", "dataGovernanceType": "DATA_MASKING"}
    routine = {"routineType": "X", "sparkOptions": {}, "arguments": [], **text}
    told = {"routineType": "X", "arguments": []}
    assert visible_routine(routine, text=True) == told | text
    assert visible_routine(routine, text=False) == told
    model = {"modelType": "X", "trainingRuns": [], "featureColumns": [{"name": "ssn"}]}
    assert model_list([model]) == {"models": [{"modelType": "X"}]}
    assert routine_list([routine]) == {"routines": [{"routineType": "X"}]}


def test_who_has_access_and_what_a_view_says_stay_behind() -> None:
    dataset = {"id": "p:d", "access": [{"role": "OWNER"}], "location": "US"}
    assert visible_dataset(dataset) == {"id": "p:d", "location": "US"}
    assert dataset_list([dataset])["datasets"] == [
        {"id": "p:d", "location": "US", "kind": "bigquery#dataset"}
    ]
    table = {"id": "p:d.t", "view": {"query": "select secret"}, "encryptionConfiguration": {}}
    assert visible_table(table) == {"id": "p:d.t"}
