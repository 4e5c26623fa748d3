from __future__ import annotations

from typing import Any

import pytest

from keystile.analysis.outline import outline
from keystile.analysis.outlined import Outline, OutlineRequest
from keystile.analysis.parsing import statement_tree
from keystile.analysis.resolve import Resolved
from keystile.analysis.routines import (
    KnownRoutine,
    body,
    definition,
    doubt_of_templated,
    is_callable,
    of_another_language,
    question,
)
from keystile.analysis.tree import kind
from keystile.googlesql.engine import Engine
from keystile.model.facts import Action, ColumnUse, Use
from keystile.model.schema import (
    Argument,
    ColumnRef,
    Field,
    Routine,
    RoutineId,
    RoutineKind,
    SqlType,
    TableId,
)

STRING = SqlType("STRING")
STRUCT = SqlType("STRUCT", fields=(("a b", STRING), ("", SqlType("INT64"))))
PAIRS = SqlType("ARRAY", element=STRUCT)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


def routine(text: str = "x", *arguments: Argument, **more: Any) -> Routine:
    values = {"kind": RoutineKind.SCALAR, "language": "SQL"} | more
    return Routine(RoutineId("p", "fn", "f"), arguments=arguments, body=text, **values)


def outlined(engine: Engine, made: Routine) -> Outline:
    return outline(engine, OutlineRequest(question(made), "p", ""))


@pytest.mark.parametrize("text", ["UPPER(x)", "x -- no more", "(SELECT 1)\n", "'é' || x"])
def test_a_text_comes_back_out_of_its_question(engine: Engine, text: str) -> None:
    made = routine(text, Argument("x", STRING))
    assert body(made, outlined(engine, made).sql) == text


def test_the_text_of_a_table_function_is_a_query_already() -> None:
    made = routine("SELECT 1 AS a", kind=RoutineKind.TABLE_VALUED)
    assert question(made) == body(made, "SELECT 1 AS a") == "SELECT 1 AS a"


@pytest.mark.parametrize(
    ("made", "node"),
    [
        (routine("x", Argument("x`y", PAIRS), returns=STRING), "ASTCreateFunctionStatement"),
        (
            routine("x", Argument("n", STRING, aggregated=False), kind=RoutineKind.AGGREGATE),
            "ASTCreateFunctionStatement",
        ),
        (
            routine("SELECT 1 AS a", Argument("n", STRING), kind=RoutineKind.TABLE_VALUED),
            "ASTCreateTableFunctionStatement",
        ),
    ],
)
def test_a_definition_can_be_parsed(engine: Engine, made: Routine, node: str) -> None:
    assert kind(statement_tree(engine, definition(made, made.body))) == node


def test_procedures_are_not_for_queries() -> None:
    kinds = {kind for kind in RoutineKind if is_callable(routine(kind=kind))}
    assert kinds == {RoutineKind.SCALAR, RoutineKind.AGGREGATE, RoutineKind.TABLE_VALUED}


@pytest.mark.parametrize(
    ("more", "action"),
    [
        ({"language": "JAVASCRIPT", "returns": STRING}, Action.ROUTINE),
        ({"language": "JAVASCRIPT", "returns": STRING, "remote": "c"}, Action.EXTERNAL),
        ({"language": "PYTHON", "returns": STRING}, Action.EXTERNAL),
        ({"language": "GLEAM", "returns": STRING}, Action.EXTERNAL),
        ({"language": "", "returns": STRING}, Action.EXTERNAL),
        ({"language": "JAVASCRIPT"}, None),
        (
            {
                "language": "PYTHON",
                "kind": RoutineKind.TABLE_VALUED,
                "columns": (Field("a", "INT64"),),
            },
            None,
        ),
    ],
)
def test_other_languages_may_send_what_they_are_handed_anywhere(
    more: dict[str, Any], action: Action | None
) -> None:
    known = of_another_language(routine("return x", Argument("x", STRING), **more))
    assert (known.action if known else None) is action


def test_arguments_of_any_type_are_not_for_other_languages() -> None:
    made = routine("return x", Argument("x"), language="JAVASCRIPT", returns=STRING)
    assert of_another_language(made) is None


@pytest.mark.parametrize(
    ("text", "doubt"),
    [
        ("CONCAT(x, 'y')", ""),
        ("x + 1", ""),
        ("(SELECT AS STRUCT x)", ""),
        ("(SELECT MAX(a) FROM d.t)", "an argument of any type, and tables or routines"),
        ("d.g(x)", "an argument of any type, and tables or routines"),
        ("UNHEARD_OF(x)", "function `UNHEARD_OF`"),
    ],
)
def test_a_text_whose_types_are_those_of_each_call_holds_nothing_but_functions(
    engine: Engine, text: str, doubt: str
) -> None:
    made = routine(text, Argument("x"))
    assert doubt_of_templated(made, outlined(engine, made)) == doubt


def test_a_spelled_routine_reads_what_those_beneath_it_read() -> None:
    a, b = (ColumnRef(TableId("p", "d", "t"), (name,)) for name in "ab")
    texts = [Resolved((ColumnUse(ref, (Use.FILTER,)),), (), (), ()) for ref in (b, a)]
    above, beneath = (KnownRoutine(routine(), (text,)) for text in texts)

    assert above.spelled(("fn", "f"), ()).reads == (b,)
    assert above.spelled(("fn", "f"), (beneath,)).reads == (a, b)
