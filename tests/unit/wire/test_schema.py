from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.model.errors import InvalidRequestError
from keystile.model.schema import Field, Mode, Parameter, SqlType
from keystile.wire.schema import (
    SCALARS,
    field_of,
    fields_from_json,
    parameter_json,
    parameters_from_json,
    schema_json,
)


def test_a_schema_is_read_with_standard_names() -> None:
    assert fields_from_json(
        {
            "fields": [
                {"name": "id", "type": "INTEGER", "mode": "REQUIRED", "description": "key"},
                {
                    "name": "who",
                    "type": "RECORD",
                    "mode": "REPEATED",
                    "fields": [
                        {"name": "ssn", "type": "string", "policyTags": {"names": ["pii.ssn"]}}
                    ],
                },
                {"name": "span", "type": "RANGE", "rangeElementType": {"type": "DATE"}},
            ]
        }
    ) == (
        Field("id", "INT64", Mode.REQUIRED, description="key"),
        Field(
            "who",
            "STRUCT",
            Mode.REPEATED,
            fields=(Field("ssn", "STRING", policy_tags=("pii.ssn",)),),
        ),
        Field("span", "RANGE", range_element="DATE"),
    )


@pytest.mark.parametrize(
    "schema",
    [
        None,
        5,
        {"fields": {}},
        [{}],
        [{"name": ""}],
        [{"name": "a"}],
        [{"name": "a", "type": "FOREIGN"}],
        [{"name": "a", "type": "ARRAY"}],
        [{"name": "a", "type": "STRING", "mode": "MANY"}],
        [{"name": "a", "type": "STRING", "policyTags": ["x"]}],
        [{"name": "a", "type": "RANGE"}],
        [{"name": "a", "type": "RECORD"}],
    ],
)
def test_a_schema_that_is_not_understood_is_refused(schema: object) -> None:
    with pytest.raises(InvalidRequestError):
        fields_from_json(schema)


_NAMES = st.text(alphabet="abcdefgh", min_size=1, max_size=8)
_SCALAR = st.sampled_from(sorted(SCALARS)).map(SqlType)
_RANGE = st.sampled_from(["DATE", "DATETIME", "TIMESTAMP"]).map(
    lambda kind: SqlType("RANGE", element=SqlType(kind))
)


def _structs(inner: st.SearchStrategy[SqlType]) -> st.SearchStrategy[SqlType]:
    return st.lists(st.tuples(_NAMES, inner), max_size=3, unique_by=lambda part: part[0]).map(
        lambda parts: SqlType("STRUCT", fields=tuple(parts))
    )


def _array(inner: SqlType) -> SqlType:
    return inner if inner.kind == "ARRAY" else SqlType("ARRAY", element=inner)


_TYPES = st.recursive(
    _SCALAR | _RANGE, lambda inner: _structs(inner) | inner.map(_array), max_leaves=6
)


@given(st.lists(st.tuples(_NAMES, _TYPES), max_size=4))
def test_a_schema_reads_back_as_written(columns: list[tuple[str, SqlType]]) -> None:
    fields = tuple(field_of(name, type_) for name, type_ in columns)
    assert fields_from_json(schema_json(fields)) == fields
    assert [field.sql_type for field in fields] == [type_ for _, type_ in columns]


def test_an_array_of_arrays_has_no_field() -> None:
    with pytest.raises(InvalidRequestError, match="array of arrays"):
        field_of("a", SqlType("ARRAY", element=SqlType("ARRAY", element=SqlType("INT64"))))


def _given_value(type_: SqlType) -> st.SearchStrategy[dict[str, object]]:
    if type_.kind == "ARRAY":
        assert type_.element is not None
        return st.lists(_given_value(type_.element), max_size=2).map(
            lambda values: {"arrayValues": values}
        )
    if type_.kind == "STRUCT":
        parts = {name: _given_value(part) for name, part in type_.fields}
        return st.fixed_dictionaries(parts).map(lambda values: {"structValues": values})
    if type_.kind == "RANGE":
        assert type_.element is not None
        end = _given_value(type_.element)
        return st.fixed_dictionaries({"start": end, "end": end}).map(
            lambda values: {"rangeValue": values}
        )
    return st.fixed_dictionaries({"value": st.none() | st.text(max_size=5)})


@given(_TYPES.flatmap(lambda type_: st.tuples(st.just(type_), _given_value(type_))))
def test_a_parameter_reads_back_as_written(typed: tuple[SqlType, dict[str, object]]) -> None:
    parameter = Parameter("p", *typed)
    assert parameters_from_json([parameter_json(parameter)], "NAMED") == (parameter,)


def test_the_mode_of_parameters_may_be_written_small_as_nodes_client_does() -> None:
    given = [{**_INT, "name": "a"}]
    assert parameters_from_json(given, "named") == parameters_from_json(given, "NAMED")
    assert parameters_from_json([_INT], "positional") == parameters_from_json([_INT], "POSITIONAL")


@pytest.mark.parametrize(
    ("value", "text"), [(1.5, "1.5"), (True, "true"), (7, "7"), (None, None), ("nan", "nan")]
)
def test_scalars_become_text(value: object, text: str | None) -> None:
    (parameter,) = parameters_from_json(
        [{"parameterType": {"type": "FLOAT64"}, "parameterValue": {"value": value}}], None
    )
    assert parameter.value == {"value": text}


_INT = {"parameterType": {"type": "INT64"}, "parameterValue": {"value": "1"}}


@pytest.mark.parametrize(
    ("items", "mode"),
    [
        ({}, None),
        ([5], None),
        ([{**_INT, "more": 1}], None),
        ([{**_INT, "name": "a b"}], "NAMED"),
        ([{**_INT, "name": "a"}, {**_INT, "name": "A"}], "NAMED"),
        ([{**_INT, "name": "a"}, _INT], None),
        ([_INT], "NAMED"),
        ([{**_INT, "name": "a"}], "POSITIONAL"),
        ([_INT], "SOME"),
        ([{"parameterType": {"type": "MADE_UP"}}], None),
        ([{"parameterType": {"type": "INT64", "arrayType": {"type": "INT64"}}}], None),
        ([{"parameterType": {"type": "ARRAY"}}], None),
        ([{"parameterType": {"type": "STRUCT", "structTypes": [{"name": "a"}]}}], None),
        ([{"parameterType": {"type": "INT64"}, "parameterValue": {"arrayValues": []}}], None),
        ([{"parameterType": {"type": "INT64"}, "parameterValue": {"value": {}}}], None),
        (
            [
                {
                    "parameterType": {"type": "STRUCT", "structTypes": []},
                    "parameterValue": {"structValues": {"x": {"value": "1"}}},
                }
            ],
            None,
        ),
    ],
)
def test_parameters_that_are_not_understood_are_refused(items: object, mode: object) -> None:
    with pytest.raises(InvalidRequestError):
        parameters_from_json(items, mode)
