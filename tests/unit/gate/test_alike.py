from __future__ import annotations

import asyncio

import pytest
from bench.recorded_days import shop
from hypothesis import given, settings
from hypothesis import strategies as st

from keystile.analysis.analyst import Analyst
from keystile.analysis.statement import Statement
from keystile.gate.alike import Alike, shape_of
from keystile.googlesql.inline import InlineRunner
from keystile.model.errors import InvalidQueryError
from keystile.model.facts import QueryFacts


@pytest.mark.parametrize(
    ("sql", "other"),
    [
        ("SELECT a FROM t WHERE id = 1", "SELECT a FROM t WHERE id = 20"),
        ("SELECT a FROM t WHERE id IN (1, 2)", "SELECT a FROM t WHERE id IN (3, 4)"),
        ("FROM t |> WHERE id>=1", "FROM t |> WHERE id>=7"),
        ("SELECT 'x = 1' FROM t WHERE a = 1", "SELECT 'x = 1' FROM t WHERE a = 2"),
    ],
)
def test_texts_with_other_numbers_to_compare_with_are_alike(sql: str, other: str) -> None:
    assert shape_of(sql) == shape_of(other)


@pytest.mark.parametrize(
    ("sql", "other"),
    [
        ("SELECT a FROM t -- run 1", "SELECT a FROM t -- run 2"),
        ("SELECT a FROM t -- '", "SELECT a FROM t -- it's"),
        ("SELECT a # one\nFROM t", "SELECT a # another\nFROM t"),
        ("/* run: 1 */ SELECT a FROM t", "/* run: 2\n */ SELECT a FROM t"),
        ("SELECT a/**/FROM t", "SELECT a/***/FROM t"),
        ("SELECT a FROM t -- 1\nWHERE id = 1", "SELECT a FROM t -- 2\nWHERE id = 2"),
    ],
)
def test_texts_with_other_comments_are_alike(sql: str, other: str) -> None:
    assert shape_of(sql) == shape_of(other)


@pytest.mark.parametrize(
    ("sql", "other"),
    [
        ("SELECT '-- 1' FROM t", "SELECT '-- 2' FROM t"),
        ("SELECT `/* 1 */` FROM t", "SELECT `/* 2 */` FROM t"),
        ("SELECT a FROM t /* 1", "SELECT a FROM t /* 2"),
        ("SELECT 1 -- a\r, 2", "SELECT 1 -- b\r, 3"),
        ("SELECT a -- 1\nb FROM t", "SELECT a -- 2\n, b FROM t"),
        ("SELECT a/**/b FROM t", "SELECT ab FROM t"),
        ("SELECT 'a -- 'b' FROM t", "SELECT 'a -- 'c' FROM t"),
        ("SELECT a FROM t -- '''1", "SELECT a FROM t -- '''2"),
    ],
)
def test_what_only_looks_like_a_comment_makes_no_texts_alike(sql: str, other: str) -> None:
    assert shape_of(sql) != shape_of(other)


@pytest.mark.parametrize(
    ("sql", "other"),
    [
        ("SELECT a FROM t ORDER BY 1", "SELECT a FROM t ORDER BY 2"),
        ("SELECT a FROM t LIMIT 1", "SELECT a FROM t LIMIT 2"),
        ("SELECT a > 1 FROM t GROUP BY a > 1", "SELECT a > 1 FROM t GROUP BY a > 2"),
        ("SELECT a FROM t WHERE id IN (1, 2)", "SELECT a FROM t WHERE id IN (1, 1)"),
        ("SELECT a FROM t WHERE id IN (1, 2)", "SELECT a FROM t WHERE id IN (1, 2, 3)"),
        ("SELECT 'x = 1' FROM t", "SELECT 'x = 2' FROM t"),
        ("SELECT `x = 1` FROM t", "SELECT `x = 2` FROM t"),
        ("SELECT f(a => 1) FROM t", "SELECT f(a => 2) FROM t"),
        ("SELECT a FROM t WHERE id = 1.5", "SELECT a FROM t WHERE id = 2.5"),
        ("SELECT a FROM t WHERE id = 9223372036854775808", "SELECT a FROM t WHERE id = 1"),
        (
            "SELECT * FROM t PIVOT(SUM(a) FOR b IN (1))",
            "SELECT * FROM t PIVOT(SUM(a) FOR b IN (2))",
        ),
        (r"SELECT 'a\' = 1' FROM t", r"SELECT 'a\' = 2' FROM t"),
        ("SELECT '''a' = 1''' FROM t", "SELECT '''a' = 2''' FROM t"),
        ("DECLARE a INT64; SET a = 1", "DECLARE a INT64; SET a = 2"),
        ("DELETE FROM t WHERE id = 1", "DELETE FROM t WHERE id = 2"),
        ("SELECT a FROM t WHERE id = \0", "SELECT a FROM t WHERE id = 1"),
    ],
)
def test_texts_in_which_a_number_may_mean_more_are_not_alike(sql: str, other: str) -> None:
    assert shape_of(sql) != shape_of(other)


def test_the_first_of_those_that_are_alike_stands_for_all() -> None:
    alike = Alike()
    assert alike.first("SELECT a FROM t WHERE b = 5") == "SELECT a FROM t WHERE b = 5"
    assert alike.first("SELECT a FROM t WHERE b = 6") == "SELECT a FROM t WHERE b = 5"
    assert alike.first("SELECT a FROM t WHERE c = 6") == "SELECT a FROM t WHERE c = 6"


RUNNER = InlineRunner()
COLUMNS = ("id", "customer_id", "status", "total", "placed", "deliver_by", "items", "COUNT(*)")
NUMBERS = st.integers(min_value=0, max_value=10**18 - 1)
COMPARED = st.one_of(
    st.tuples(st.sampled_from(COLUMNS), st.sampled_from(("=", "<", " > ", "<=", "!=", "<>"))).map(
        "".join
    ),
    st.sampled_from(COLUMNS).map("{} IN".format),
)
CLAUSES = st.sampled_from(
    (
        "SELECT id FROM shop.orders WHERE {}",
        "SELECT {0} FROM shop.orders",
        "SELECT {0}, 1 FROM shop.orders GROUP BY {0}",
        "SELECT {0}, 1 FROM shop.orders GROUP BY {1}",
        "SELECT status FROM shop.orders GROUP BY 1 HAVING {}",
        "SELECT * FROM shop.orders QUALIFY {}",
        "SELECT id FROM shop.orders ORDER BY {} LIMIT 2",
        "FROM shop.orders |> WHERE {} |> AGGREGATE COUNT(*)",
        "SELECT (SELECT MAX(price) FROM UNNEST(items) WHERE price = 1) > 5, {0} FROM shop.orders",
        "SELECT c.name FROM shop.customers AS c JOIN shop.orders AS o ON {}",
    )
)


def found(sql: str) -> QueryFacts | None:
    analyst = Analyst(RUNNER, 1 << 18)
    try:
        return asyncio.run(analyst.analyse(Statement(sql, "acme-shop"), shop())).facts
    except InvalidQueryError:
        return None


@settings(deadline=None, max_examples=60)
@given(CLAUSES, st.tuples(COMPARED, COMPARED), st.lists(NUMBERS, min_size=4, max_size=4))
def test_the_engine_finds_the_same_in_texts_that_are_alike(
    clause: str, compared: tuple[str, str], numbers: list[int]
) -> None:
    def text(first: int, second: int) -> str:
        one, two = (
            f"{words} ({number})" if words.endswith("IN") else f"{words} {number}"
            for words, number in zip(compared, (first, second), strict=True)
        )
        return clause.format(one, two)

    sql, other = text(*numbers[:2]), text(*numbers[2:])
    if shape_of(sql) == shape_of(other):
        assert found(sql) == found(other)


ANYTHING = st.lists(
    st.sampled_from(("-- ", "#", "/*", "*/", "'", '"', "`", "\n", "\r", " ", "id", ">", "1", ",")),
    max_size=4,
).map("".join)
COMMENTS = st.one_of(ANYTHING.map("/*{}*/".format), ANYTHING.map("--{}\n".format))


@settings(deadline=None, max_examples=100)
@given(CLAUSES, COMPARED, st.lists(COMMENTS, min_size=4, max_size=4))
def test_the_engine_finds_the_same_in_texts_with_other_comments(
    clause: str, compared: str, comments: list[str]
) -> None:
    words = f"{compared} (1)" if compared.endswith("IN") else f"{compared} 1"

    def text(first: str, second: str) -> str:
        select, blank, rest = clause.format(words, words).partition(" ")
        return f"{select}{first}{blank}{rest}{second}"

    sql, other = text(*comments[:2]), text(*comments[2:])
    if shape_of(sql) == shape_of(other):
        assert found(sql) == found(other)
