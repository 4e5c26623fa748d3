from __future__ import annotations

import pytest

from keystile.gate.routine_ddl import create_function, drop_routine
from keystile.model.errors import InvalidRequestError
from keystile.model.schema import Argument, Field, Routine, RoutineId, RoutineKind, SqlType
from keystile.wire.routines import NewRoutine

ID = RoutineId("p-q", "d", "f")
INT64 = SqlType("INT64")


def new(
    body: str,
    *arguments: Argument,
    kind: RoutineKind = RoutineKind.SCALAR,
    language: str = "SQL",
    returns: SqlType | None = None,
    columns: tuple[Field, ...] = (),
) -> NewRoutine:
    return NewRoutine(Routine(ID, kind, language, arguments, body, returns, columns))


def test_a_function_in_sql_is_written_with_its_text_on_lines_of_its_own() -> None:
    days = Argument("a`b", SqlType("RANGE", SqlType("DATE")))
    function = NewRoutine(new("x -- y", days, returns=INT64).routine, "it's one", masks=True)
    written = create_function(function, replaces=False)
    assert written.sql == (
        "CREATE FUNCTION `p-q`.`d`.`f`(`a\\`b` RANGE<DATE>) RETURNS INT64 AS (\nx -- y\n)"
        " OPTIONS (description = 'it\\'s one', data_governance_type = 'DATA_MASKING')"
    )
    assert written.check
    start, end = written.check.start, written.check.end
    assert written.sql.encode()[start:end] == b"(\nx -- y\n)"
    any_type = create_function(new("x", Argument("x")), replaces=True)
    assert any_type.sql == "CREATE OR REPLACE FUNCTION `p-q`.`d`.`f`(`x` ANY TYPE) AS (\nx\n)"


def test_functions_of_other_kinds_are_written() -> None:
    total = new("SUM(x)", Argument("x", INT64, aggregated=False), kind=RoutineKind.AGGREGATE)
    assert create_function(total, replaces=False).sql == (
        "CREATE AGGREGATE FUNCTION `p-q`.`d`.`f`(`x` INT64 NOT AGGREGATE) AS (\nSUM(x)\n)"
    )
    columns = (Field("a", "INT64"), Field("b", "STRING"))
    table = new("SELECT 1, 'b' --", kind=RoutineKind.TABLE_VALUED, columns=columns)
    assert create_function(table, replaces=False).sql == (
        "CREATE TABLE FUNCTION `p-q`.`d`.`f`() RETURNS TABLE<`a` INT64, `b` STRING> AS\n"
        "SELECT 1, 'b' --\n"
    )


def test_javascript_is_a_text_that_cannot_end_its_own_quotes() -> None:
    js = new("return '\\'; // \n", language="JAVASCRIPT", returns=INT64)
    written = create_function(NewRoutine(js.routine, deterministic=True), replaces=False)
    assert written.sql == (
        "CREATE FUNCTION `p-q`.`d`.`f`() RETURNS INT64 DETERMINISTIC LANGUAGE js"
        " AS 'return \\'\\\\\\'; // \\U0000000a'"
    )
    assert written.check is None


def test_each_kind_is_dropped_by_its_own_statement() -> None:
    path = "`p-q`.`d`.`f`"
    assert drop_routine(ID, "SCALAR_FUNCTION") == f"DROP FUNCTION {path}"
    assert drop_routine(ID, "AGGREGATE_FUNCTION") == f"DROP FUNCTION {path}"
    assert drop_routine(ID, "TABLE_VALUED_FUNCTION") == f"DROP TABLE FUNCTION {path}"
    assert drop_routine(ID, "PROCEDURE") == f"DROP PROCEDURE {path}"
    with pytest.raises(InvalidRequestError, match="can be dropped"):
        drop_routine(ID, "")
