from __future__ import annotations

import pytest

from keystile.analysis.resolve import ResolveRequest, resolve
from keystile.analysis.scope import Scope, SpelledRoutine
from keystile.googlesql.engine import Engine
from keystile.model.errors import InvalidQueryError
from keystile.model.schema import Argument, Field, Routine, RoutineId, RoutineKind, SqlType

STRING, INT64 = SqlType("STRING"), SqlType("INT64")


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


def scope(
    kind: RoutineKind,
    *arguments: Argument,
    returns: SqlType | None = None,
    columns: tuple[Field, ...] = (),
    path: tuple[str, ...] = ("fn", "f"),
) -> Scope:
    id_ = RoutineId("p", "fn", "f")
    body = "CONCAT(x, x)"
    routine = Routine(id_, kind, "SQL", arguments, body, returns, columns)
    return Scope(routines=(SpelledRoutine(path, routine),))


def types(engine: Engine, sql: str, known: Scope) -> list[str]:
    resolved = resolve(engine, ResolveRequest(sql, known))
    assert resolved.called == ("p.fn.f",)
    assert not resolved.opaque
    return [f"{one.name} {one.type}" for one in resolved.output]


def test_a_function_has_its_declared_types(engine: Engine) -> None:
    known = scope(RoutineKind.SCALAR, Argument("x", STRING), returns=INT64)
    assert types(engine, "SELECT fn.f('x') AS a", known) == ["a INT64"]
    for wrong in ("fn.f(1)", "fn.f()", "fn.f('x', 'y')", "fn.f('x') OVER ()"):
        with pytest.raises(InvalidQueryError):
            types(engine, f"SELECT {wrong}", known)


def test_a_message_names_it_as_the_text_does(engine: Engine) -> None:
    known = scope(RoutineKind.SCALAR, Argument("x", STRING), returns=INT64)
    with pytest.raises(InvalidQueryError, match=r"fn\.f(?!.*p\.fn)"):
        types(engine, "SELECT fn.f(1)", known)


def test_a_function_of_any_type_has_the_type_of_each_call(engine: Engine) -> None:
    known = scope(RoutineKind.SCALAR, Argument("x"))
    sql = "SELECT fn.f('x') AS a, fn.f(b'x') AS b"
    assert types(engine, sql, known) == ["a STRING", "b BYTES"]


def test_an_aggregate_function_aggregates(engine: Engine) -> None:
    given = (Argument("x", STRING), Argument("n", INT64, aggregated=False))
    known = scope(RoutineKind.AGGREGATE, *given, returns=STRING)
    sql = "SELECT k, fn.f(x, 2) AS a FROM UNNEST([STRUCT('a' AS x, 1 AS k)]) GROUP BY k"
    assert types(engine, sql, known) == ["k INT64", "a STRING"]
    with pytest.raises(InvalidQueryError):
        types(engine, "SELECT fn.f('a', k) FROM UNNEST([1]) AS k", known)


def test_a_table_function_gives_its_columns(engine: Engine) -> None:
    columns = (Field("a", "INT64"), Field("b", "STRING"))
    known = scope(RoutineKind.TABLE_VALUED, Argument("n", INT64), columns=columns)
    assert types(engine, "SELECT * FROM fn.f(1)", known) == ["a INT64", "b STRING"]
    with pytest.raises(InvalidQueryError):
        types(engine, "SELECT fn.f(1)", known)


def test_the_full_path_is_the_same_routine(engine: Engine) -> None:
    known = scope(RoutineKind.SCALAR, Argument("x", STRING), returns=INT64).in_full()
    assert types(engine, "SELECT p.fn.f('x') + fn.f('y') AS a", known) == ["a INT64"]
