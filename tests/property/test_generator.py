"""The generator makes every construct that the analysis accepts, mostly in small queries."""

from __future__ import annotations

import random
import re

import pytest
from prove.queries.calls import calls
from prove.queries.generator import Generator, Query
from prove.schemas import DEEP, NUMBERS, SCHEMAS, SMALL, TYPES

from keystile.analysis.functions import ALLOWED

# What the reference evaluator does not run, or gives something else each time.
NOT_RUN = (
    *("approx_", "hll_count.", "kll_quantiles.", "st_", "s2_", "net.public_suffix"),
    *("net.reg_domain", "from_base32", "to_base32", "collate", "rand", "generate_uuid", "current_"),
)


def stream(name: str, count: int) -> list[Query]:
    generator = Generator(random.Random(f"stream {name}"), SCHEMAS[name])  # noqa: S311 - reproducible
    return [generator.query() for _ in range(count)]


@pytest.fixture(scope="module")
def texts() -> str:
    return "\n".join(
        query.sql for schema in (SMALL, NUMBERS, TYPES, DEEP) for query in stream(schema.name, 2500)
    )


def test_every_function_that_the_evaluator_runs_is_called(texts: str) -> None:
    made = {call.function for call in calls()}
    named = {name for name in ALLOWED if name[0] != "$" and not name.startswith(NOT_RUN)}

    missed = {
        name for name in named - made if not re.search(rf"(?i)(?<![\w.]){re.escape(name)}\(", texts)
    }

    assert missed == set()


CONSTRUCTS = r"""
QUALIFY ; PARTITION BY ; WINDOW w ; ROWS BETWEEN ; RANGE BETWEEN ; RANGE UNBOUNDED
OVER \(w ROWS ; PIVOT\( ; UNPIVOT INCLUDE ; UNPIVOT EXCLUDE ; ROLLUP ; CUBE ; GROUPING SETS
GROUP BY ALL ; HAVING MAX ; WITH RECURSIVE ; WITH DEPTH ; EXISTS ; NOT IN \(SELECT ; ARRAY\(SELECT
LATERAL ; WITH OFFSET ; USING ; LEFT JOIN ; RIGHT JOIN ; FULL JOIN ; CROSS JOIN ; MATCH_RECOGNIZE
WITH\(w ; AS STRUCT ; AS VALUE ; BY NAME ; CORRESPONDING ; INTERSECT ; EXCEPT DISTINCT
UNION DISTINCT ; LIKE ANY ; LIKE ALL ; IS DISTINCT ; SELECT DISTINCT ; IGNORE NULLS ; NULLS LAST
ERROR\( ; SAFE\. ; TO_JSON\( ; INTERVAL ; RANGE\( ; e -> ; \(e, i\) -> ; @t ; @n
TO_JSON_STRING\(r1\) ; FORMAT\('%T', r1\) ; \* EXCEPT \( ; REPLACE \( ; r1\.\* ; GROUP AND ORDER BY
\|> EXTEND ; \|> SET ; \|> DROP ; \|> RENAME ; \|> AS ; \|> AGGREGATE ; \|> JOIN ; \|> ORDER BY
\|> ASSERT ; \|> WINDOW ; \|> DISTINCT ; \|> UNION ; \|> PIVOT ; \|> UNPIVOT ; \|> LIMIT ; \|> WITH
SAFE_OFFSET\(0\)\]\.b\[ ; GROUP BY r\d+\.\w+\)
"""


@pytest.mark.parametrize("view", ["ranked", "chosen"])
def test_rows_in_the_order_of_what_is_masked_were_taken_for_benign(view: str) -> None:
    named = re.compile(rf"shop`?\.`?{view}\b")  # without its dataset it may be a name of WITH
    queries = [query for query in stream("views", 600) if named.search(query.sql)]

    assert len(queries) > 20
    assert not any(query.benign for query in queries)


@pytest.mark.parametrize("construct", re.split(r" ; |\n", CONSTRUCTS.strip()))
def test_every_construct_is_made(texts: str, construct: str) -> None:
    assert re.search(construct, texts)


def test_most_queries_are_small_and_some_are_not() -> None:
    lengths = sorted(len(query.sql) for query in stream("small", 1000))

    assert lengths[500] < 150
    assert lengths[-20] > 500


def test_a_third_of_the_queries_names_nothing_masked() -> None:
    for name in SCHEMAS:
        queries = stream(name, 400)

        assert 0.15 < sum(query.benign for query in queries) / len(queries) < 0.5, name
