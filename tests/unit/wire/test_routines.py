from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.model.errors import InvalidRequestError, KeystileError, RefusedError
from keystile.model.schema import Argument, Field, RoutineId, RoutineKind, SqlType
from keystile.wire.routines import (
    NewRoutine,
    argument_from_json,
    columns_from_json,
    parse_routine,
    parse_routine_update,
    returned_from_json,
)

INT64 = {"typeKind": "INT64"}
RANGE = {"typeKind": "RANGE", "rangeElementType": {"typeKind": "DATE"}}
ID = RoutineId("p", "d", "f")
REFERENCE = {"projectId": "p", "datasetId": "d", "routineId": "f"}
SCALAR: dict[str, Any] = {
    "routineReference": REFERENCE,
    "routineType": "SCALAR_FUNCTION",
    "definitionBody": "x + 1",
    "arguments": [{"name": "x", "dataType": INT64}],
}


def read(**more: Any) -> NewRoutine:
    return parse_routine("p", "d", json.dumps({**SCALAR, **more}).encode())


def test_a_function_is_read() -> None:
    new = read(
        language="SQL",
        returnType=RANGE,
        description="one more",
        dataGovernanceType="DATA_MASKING",
        creationTime="1",
        etag="e",
        importedLibraries=[],
    )
    assert new.id == ID
    assert new.routine.kind is RoutineKind.SCALAR
    assert new.routine.arguments == (Argument("x", SqlType("INT64")),)
    assert new.routine.returns == SqlType("RANGE", SqlType("DATE"))
    assert (new.description, new.masks, new.deterministic) == ("one more", True, None)


def test_functions_of_other_kinds_are_read() -> None:
    table = read(
        routineType="TABLE_VALUED_FUNCTION",
        arguments=None,
        returnTableType={"columns": [{"name": "a", "type": INT64}]},
    )
    assert table.routine.columns == (Field("a", "INT64"),)
    kept = {"name": "y", "argumentKind": "ANY_TYPE", "isAggregate": False}
    total = read(routineType="AGGREGATE_FUNCTION", arguments=[*SCALAR["arguments"], kept])
    assert total.routine.arguments[1] == Argument("y", None, aggregated=False)
    js = read(language="JAVASCRIPT", returnType=INT64, determinismLevel="NOT_DETERMINISTIC")
    assert (js.routine.language, js.deterministic) == ("JAVASCRIPT", False)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"routineType": "PROCEDURE"}, "procedures are not made here"),
        ({"language": "PYTHON"}, "`PYTHON`"),
        ({"remoteFunctionOptions": {"endpoint": "https://x.example"}}, "`remoteFunctionOptions`"),
        ({"importedLibraries": ["gs://b/x.js"]}, "`importedLibraries`"),
        ({"sparkOptions": {"connection": "c"}}, "`sparkOptions`"),
        ({"pythonOptions": {"entryPoint": "f"}}, "`pythonOptions`"),
        ({"externalRuntimeOptions": {"containerCpu": 1}}, "`externalRuntimeOptions`"),
        ({"securityMode": "DEFINER"}, "`securityMode`"),
        ({"strictMode": True}, "`strictMode`"),
    ],
)
def test_what_is_not_made_here_is_refused_by_its_name(more: Any, said: str) -> None:
    with pytest.raises(RefusedError, match=said):
        read(**more)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"fieldOfTomorrow": 1}, "fieldOfTomorrow"),
        ({"routineType": None}, "routineType"),
        ({"routineType": "MODEL"}, "`MODEL`"),
        ({"routineReference": {"routineId": "a.b"}}, "`a.b`"),
        ({"routineReference": {"routineId": "f", "datasetId": "other"}}, "datasetId"),
        ({"routineReference": None}, "Invalid routine ID"),
        ({"definitionBody": " \n"}, "definitionBody"),
        ({"arguments": [{"dataType": INT64}]}, "name"),
        ({"arguments": [{"name": "", "dataType": INT64}]}, "no `name`"),
        ({"arguments": [{"name": "x"}]}, "`x` has no `dataType`"),
        ({"arguments": [{"name": "x", "dataType": INT64, "mode": "OUT"}]}, "mode"),
        ({"arguments": [{"name": "x", "dataType": INT64, "isAggregate": False}]}, "isAggregate"),
        ({"arguments": [{"name": "x", "argumentKind": "FIXED_TABLE"}]}, "FIXED_TABLE"),
        ({"arguments": [{"name": "x", "dataType": {"typeKind": "INT64", "length": 1}}]}, "length"),
        ({"returnType": {"typeKind": "ARRAY", "arrayElementType": {"x": 1}}}, "unknown field `x`"),
        ({"returnType": {"typeKind": "STRUCT", "structType": {"fields": [{"y": 1}]}}}, "`y`"),
        ({"returnType": {"typeKind": "STRUCT", "structType": {"z": []}}}, "`z`"),
        ({"returnType": {"typeKind": "ENUM"}}, "ENUM"),
        ({"returnTableType": {"columns": [{"name": "a", "type": INT64}]}}, "`returnTableType`"),
        ({"routineType": "TABLE_VALUED_FUNCTION", "returnType": INT64}, "`returnType`"),
        ({"routineType": "TABLE_VALUED_FUNCTION", "language": "JAVASCRIPT"}, "`language`"),
        ({"determinismLevel": "DETERMINISTIC"}, "`determinismLevel`"),
        ({"language": "JAVASCRIPT"}, "`returnType` is missing"),
        ({"dataGovernanceType": "OTHER"}, "dataGovernanceType"),
    ],
)
def test_what_is_not_understood_is_an_error_that_names_it(more: Any, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        read(**more)


def test_an_update_is_of_the_routine_in_its_path() -> None:
    body = {**SCALAR, "routineReference": {}}
    assert parse_routine_update(ID, json.dumps(body).encode()) == read()
    body["routineReference"] = {"routineId": "g"}
    with pytest.raises(InvalidRequestError, match="routineId"):
        parse_routine_update(ID, json.dumps(body).encode())


def test_what_is_so_already_is_known_by_all_that_is_told() -> None:
    now = {**SCALAR, "etag": "e", "language": "SQL", "definitionBody": "x + 1"}
    assert read(definitionBody="\n x + 1 ").is_as(now)
    assert not read(description="new").is_as(now)
    assert not read(definitionBody="x+1").is_as(now)
    del now["definitionBody"]  # it is not for everybody
    assert not read().is_as(now)
    assert not read().is_as({**SCALAR, "routineType": "PROCEDURE"})


def test_an_answer_has_the_text_as_it_was_written() -> None:
    new = read(definitionBody="\n x + 1\n")
    assert new.as_written({"definitionBody": "x + 1", "etag": "e"}) == {
        "definitionBody": "\n x + 1\n",
        "etag": "e",
    }
    # Nobody is told of a text that is not there.
    assert new.as_written({"definitionBody": "'masked'"}) == {"definitionBody": "'masked'"}
    assert new.as_written({"etag": "e"}) == {"etag": "e"}


def test_what_bigquery_says_is_read() -> None:
    kinds = ("", "ARGUMENT_KIND_UNSPECIFIED", "FIXED_TYPE")
    for kind in kinds:
        item = {"name": "x", "argumentKind": kind, "dataType": INT64}
        assert argument_from_json(item) == Argument("x", SqlType("INT64"))
    assert returned_from_json(None) is None
    assert returned_from_json(INT64) == SqlType("INT64")
    assert columns_from_json(None) == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("name", "typeKind", "structType", "fields", "type", "columns")),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(
        st.sampled_from(("arguments", "returnType", "returnTableType", "language", "routineType")),
        JSON,
    )
)
def test_no_body_breaks_the_reader(more: Any) -> None:
    with suppress(KeystileError):
        assert read(**more).id == ID
