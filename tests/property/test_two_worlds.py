"""Non-interference: random queries, masked, show the same in worlds that differ in secrets.

`script/prove leaks` runs as many cases as wanted, and test_planted_bugs.py shows that the search
finds what it should.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from prove.core import Search
from prove.counter_examples import save, saved
from prove.queries.generator import PARAMETERS, Generator
from prove.schemas import SCHEMAS, SMALL
from prove.shrink import shrunk, spelled, tokens
from prove.trial import Court, Outcome

from keystile.googlesql.engine import Engine
from keystile.googlesql.inline import InlineRunner

CASES = 120
# A query that names tables which differ by case alone is refused by rule.
REFUSED_BY_RULE = "differ by upper and lower case only"


def court_of(name: str) -> Court:
    return Court(InlineRunner(), Engine(), SCHEMAS[name])


async def test_random_queries_tell_nothing() -> None:
    tally = await Search("2026", save_found=False).tally(CASES)

    assert tally.leaks == []
    assert tally.misjudged == []
    assert tally.outcomes["invalid"] <= CASES / 30
    by_rule = sum(count for why, count in tally.reasons.items() if REFUSED_BY_RULE in why)
    assert tally.benign_refused <= by_rule
    # A DELETE that chooses rows by a masked column of its target is refused, and little else.
    assert tally.outcomes["refused"] - by_rule <= CASES / 30
    assert CASES / 5 < tally.benign < CASES / 2
    assert tally.errors < CASES / 5


async def test_many_queries_with_masked_columns_are_attacks() -> None:
    court, generator = court_of("small"), Generator(random.Random(2026), SMALL)  # noqa: S311 - reproducible
    queries = [query for query in (generator.query() for _ in range(60)) if not query.benign]

    attacks = sum(court.reveals_unmasked(query.sql, PARAMETERS) for query in queries)

    assert attacks > len(queries) / 5


def test_benign_queries_show_the_same_unmasked() -> None:
    court, generator = court_of("small"), Generator(random.Random(7), SMALL)  # noqa: S311 - reproducible
    queries = [query for query in (generator.query() for _ in range(40)) if query.benign]

    assert not [query for query in queries if court.reveals_unmasked(query.sql, PARAMETERS)]


@pytest.mark.parametrize("name", SCHEMAS)
def test_worlds_differ_where_something_is_masked_and_nowhere_else(name: str) -> None:
    court, schema = court_of(name), SCHEMAS[name]
    for table in schema.base_tables:
        for field in table.fields:
            sql = f"SELECT TO_JSON_STRING(t.{field.name}) FROM `{table.id}` AS t"  # noqa: S608 - its own
            differs = court.reveals_unmasked(sql)
            assert differs == schema.hides(table.id, (field.name,)), sql


def test_the_same_seed_gives_the_same_queries() -> None:
    streams = [Generator(random.Random(5), SMALL) for _ in range(2)]  # noqa: S311 - reproducible

    for _ in range(20):
        assert streams[0].query() == streams[1].query()


async def test_what_leaked_once_leaks_no_more() -> None:
    for found in saved():
        trial = await court_of(found.schema).try_query(found.query, PARAMETERS)

        assert trial.outcome is not Outcome.LEAK, found.query


async def test_a_counter_example_is_made_small_and_kept(tmp_path: Path) -> None:
    sql = "SELECT UPPER(CONCAT(a.name, 'x')), IF(b.ssn > '1', b.ssn, '') FROM t AS a, t AS b"

    async def fails(text: str) -> bool:
        return "ssn" in text and text.startswith("SELECT")

    small = await shrunk(sql, fails, 5)

    assert small == "SELECT ssn"
    assert [*saved(save("small", small, tmp_path).parent)] == [("small", "SELECT ssn")]


def test_tokens_spell_the_same_text() -> None:
    sql = "FROM `a.b` AS t |> WHERE t.x[OFFSET(0)] || r'\\d' >= @t |> SELECT F([1], e -> e > 2)"

    assert tokens(spelled(tokens(sql))) == tokens(sql)
