from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.googlesql.engine import Engine
from keystile.googlesql.messages import service, type_pb2
from keystile.googlesql.protos import (
    analyzer_options,
    builtin_catalog,
    has,
    inherited,
    language_options,
    levels,
    sql_type,
    type_proto,
    unwrapped,
)
from keystile.model.errors import InvalidQueryError, OpaqueQueryError
from keystile.model.schema import SqlType

SCALARS = [
    "BIGNUMERIC", "BOOL", "BYTES", "DATE", "DATETIME", "FLOAT64", "GEOGRAPHY", "INT64", "INTERVAL",
    "JSON", "NUMERIC", "STRING", "TIME", "TIMESTAMP",
]  # fmt: skip
RANGES = st.sampled_from(["DATE", "DATETIME", "TIMESTAMP"]).map(SqlType)
TYPES = st.recursive(
    st.sampled_from(SCALARS).map(SqlType) | RANGES.map(lambda t: SqlType("RANGE", element=t)),
    lambda inner: (
        inner.map(lambda t: SqlType("ARRAY", element=t))
        | st.lists(st.tuples(st.text(max_size=8), inner), max_size=4).map(
            lambda fields: SqlType("STRUCT", fields=tuple(fields))
        )
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


@given(TYPES)
def test_types_go_there_and_back(given_type: SqlType) -> None:
    assert sql_type(type_proto(given_type)) == given_type


@pytest.mark.parametrize("kind", ["INTEGER", "FOREIGN", "ENUM", "ARRAY", "RANGE", ""])
def test_a_type_that_is_not_known_is_refused(kind: str) -> None:
    with pytest.raises(OpaqueQueryError):
        type_proto(SqlType(kind))


def test_the_engines_own_kinds_keep_their_name() -> None:
    assert sql_type(type_pb2.TypeProto(type_kind=type_pb2.TYPE_ENUM)) == SqlType("ENUM")


def test_options_are_the_callers_own(engine: Engine) -> None:
    language_options(engine).reserved_keywords.append("SPOILED")
    assert "SPOILED" not in language_options(engine).reserved_keywords
    assert "QUALIFY" in language_options(engine).reserved_keywords
    assert list(language_options(engine).supported_statement_kinds) == []


def analysed(engine: Engine, sql: str) -> service.AnalyzeResponse:
    catalog = builtin_catalog(engine)
    catalog.table.add(name="t").column.add(name="a", type=type_proto(SqlType("STRING")))
    request = service.AnalyzeRequest(
        options=analyzer_options(engine),
        registered_catalog_id=engine.registered(catalog),
        sql_statement=sql,
    )
    return engine.call("Analyze", request, service.AnalyzeResponse)


@pytest.mark.parametrize(
    "sql",
    [
        "select a from t where true qualify row_number() over (order by a) = 1",
        "create table u as select 1 x",
        "delete from t where a = 'x'",
        "from t |> where a = 'x' |> select a",
        "select cast('1' as int64), range<date> '[2020-01-01, 2020-01-02)'",
    ],
)
def test_the_dialect_is_bigquerys(engine: Engine, sql: str) -> None:
    assert unwrapped(analysed(engine, sql).resolved_statement) is not None


@pytest.mark.parametrize(
    "sql", ["select cast(1 as int32)", "select @undeclared", "select cast(1 as uint64)"]
)
def test_what_bigquery_does_not_have_is_an_error(engine: Engine, sql: str) -> None:
    with pytest.raises(InvalidQueryError):
        analysed(engine, sql)


def test_fields_of_base_classes_are_read_through(engine: Engine) -> None:
    query = unwrapped(
        unwrapped(analysed(engine, "select upper(a) x from t").resolved_statement).query
    )
    assert [column.name for column in inherited(query, "column_list")] == ["x"]
    computed = query.expr_list[0]
    call = unwrapped(computed.expr)
    assert [level.DESCRIPTOR.name for level in levels(call)][:3] == [
        "ResolvedFunctionCallProto",
        "ResolvedFunctionCallBaseProto",
        "ResolvedExprProto",
    ]
    assert inherited(call, "function").name == "ZetaSQL:upper"
    assert has(call, "function")
    assert not has(call, "no_such_field")
    with pytest.raises(AttributeError, match="no_such_field"):
        inherited(call, "no_such_field")


def test_an_empty_wrapper_is_none() -> None:
    assert unwrapped(service.AnalyzeResponse().resolved_statement) is None
