from __future__ import annotations

from typing import Any

import pytest

from keystile.model.errors import NotFoundError, RefusedError
from keystile.model.schema import Argument, Field, RoutineId, RoutineKind, SqlType
from keystile.upstream import objects as module
from keystile.upstream.bigquery import BigQuery

F = RoutineId("acme-shop", "fn", "f")
PATH = "GET /bigquery/v2/projects/acme-shop/datasets/fn/routines/f"
STRING = SqlType("STRING")
REFERENCE = {"projectId": "acme-shop", "datasetId": "fn", "routineId": "f"}


def resource(**more: Any) -> dict[str, Any]:
    return {
        "routineReference": REFERENCE,
        "routineType": "SCALAR_FUNCTION",
        "language": "SQL",
        "arguments": [{"name": "x", "dataType": {"typeKind": "STRING"}}],
        "definitionBody": "UPPER(x)",
        "etag": "e1",
    } | more


async def test_a_routine_comes_with_its_text(stub: Any, bigquery: BigQuery) -> None:
    stub.routes[PATH] = resource()
    routine = await bigquery.routine(F)
    assert (routine.id, routine.kind, routine.language) == (F, RoutineKind.SCALAR, "SQL")
    assert (routine.body, routine.arguments) == ("UPPER(x)", (Argument("x", STRING),))
    assert (routine.returns, routine.columns, routine.remote) == (None, (), "")


async def test_a_routine_is_asked_for_again_by_etag_when_it_is_old(
    stub: Any, bigquery: BigQuery, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = resource(etag="e2", definitionBody="x")
    stub.routes[PATH] = [resource(), (304, None), changed]
    first = await bigquery.routine(F)
    assert await bigquery.routine(F) is first
    monkeypatch.setattr(module, "_OBJECT_SECONDS", -1.0)
    assert await bigquery.routine(F) is first
    assert (await bigquery.routine(F)).body == "x"
    sent = [request.headers.get("If-None-Match") for request in stub.requests]
    assert sent == [None, "e1", "e1"]


async def test_a_missing_routine_is_not_found(stub: Any, bigquery: BigQuery, error: Any) -> None:
    stub.routes[PATH] = error(404, "notFound", "Not found: Routine acme-shop:fn.f")
    with pytest.raises(NotFoundError, match="Not found: Routine"):
        await bigquery.routine(F)


async def test_a_routine_known_under_another_name_is_refused(stub: Any, bigquery: BigQuery) -> None:
    stub.routes[PATH] = resource(routineReference=REFERENCE | {"routineId": "F"})
    with pytest.raises(RefusedError, match=r"another name; write `acme-shop\.fn\.F`"):
        await bigquery.routine(F)


async def test_types_of_arguments_and_results(stub: Any, bigquery: BigQuery) -> None:
    pair = {
        "typeKind": "STRUCT",
        "structType": {"fields": [{"name": "a", "type": {"typeKind": "INT64"}}]},
    }
    stub.routes[PATH] = resource(
        routineType="AGGREGATE_FUNCTION",
        arguments=[
            {"name": "x", "argumentKind": "ANY_TYPE"},
            {"name": "n", "dataType": {"typeKind": "INT64"}, "isAggregate": False},
            {"dataType": {"typeKind": "RANGE", "rangeElementType": {"typeKind": "DATE"}}},
        ],
        returnType={"typeKind": "ARRAY", "arrayElementType": pair},
    )
    routine = await bigquery.routine(F)
    assert routine.kind is RoutineKind.AGGREGATE
    assert routine.arguments == (
        Argument("x"),
        Argument("n", SqlType("INT64"), aggregated=False),
        Argument("", SqlType("RANGE", element=SqlType("DATE"))),
    )
    assert str(routine.returns) == "ARRAY<STRUCT<a INT64>>"


async def test_declared_columns_of_a_table_function(stub: Any, bigquery: BigQuery) -> None:
    columns = [{"name": "a", "type": {"typeKind": "STRING"}}]
    stub.routes[PATH] = resource(
        routineType="TABLE_VALUED_FUNCTION", returnTableType={"columns": columns}
    )
    assert (await bigquery.routine(F)).columns == (Field("a", "STRING"),)


@pytest.mark.parametrize(
    ("more", "language", "remote"),
    [
        ({"language": "javascript"}, "JAVASCRIPT", ""),
        ({"language": ""}, "SQL", ""),
        ({"language": "", "remoteFunctionOptions": {"connection": "p.us.c"}}, "", "p.us.c"),
        ({"language": "", "remoteFunctionOptions": {}}, "", "?"),
        ({"language": "PYTHON"}, "PYTHON", ""),
    ],
)
async def test_what_is_not_sql_is_told_apart(
    stub: Any, bigquery: BigQuery, more: dict[str, Any], language: str, remote: str
) -> None:
    stub.routes[PATH] = resource(**more)
    routine = await bigquery.routine(F)
    assert (routine.language, routine.remote) == (language, remote)


@pytest.mark.parametrize("kind", ["PROCEDURE", "SOMETHING_NEW", ""])
async def test_kinds_that_are_not_known_are_other(stub: Any, bigquery: BigQuery, kind: str) -> None:
    stub.routes[PATH] = resource(routineType=kind)
    found = (await bigquery.routine(F)).kind
    assert found is (RoutineKind.PROCEDURE if kind == "PROCEDURE" else RoutineKind.OTHER)


@pytest.mark.parametrize(
    "more",
    [
        {"arguments": [{"name": "t", "argumentKind": "FIXED_TABLE"}]},
        {"arguments": [{"name": "x"}]},
        {"arguments": [{"name": "x", "dataType": {"typeKind": "FOREIGN"}}]},
        {"arguments": [{"name": "x", "dataType": {"typeKind": "ARRAY"}}]},
        {"arguments": [{"name": "x", "dataType": "STRING"}]},
        {"returnType": {"typeKind": "STRUCT", "structType": []}},
        {"returnTableType": {"columns": [{}]}},
    ],
)
async def test_types_that_are_not_understood_are_refused(
    stub: Any, bigquery: BigQuery, more: dict[str, Any]
) -> None:
    stub.routes[PATH] = resource(**more)
    with pytest.raises(RefusedError, match=r"`acme-shop\.fn\.f` are not understood"):
        await bigquery.routine(F)
