"""Non-interference through the whole gateway: real processes, HTTP in and HTTP out.

`script/prove leaks --through http` runs as many cases as wanted.
"""

from __future__ import annotations

import sys

from prove.asking import Asked, Pair
from prove.counter_examples import saved
from prove.evaluator import changes
from prove.http import HttpSearch, Planted, differs
from prove.schemas import SERVED
from prove.tally import Tally

CASES = 40
MOST_CASES = 60


async def leaks(search: HttpSearch, pair: Pair, cases: int) -> list[tuple[str, str]]:
    """Search until something is found."""
    tally = Tally()
    for _ in range(cases):
        if tally.leaks:
            break
        await search.try_case(pair, search.case(), tally)
    return tally.leaks


async def test_nothing_that_the_gateway_says_differs_between_worlds() -> None:
    search, tally = HttpSearch("2026", save_found=False), Tally()
    async with search.worlds() as pair:
        await search.share(pair, CASES, tally.add)
        for leaked in saved():
            assert not await differs(pair, Asked("query", (leaked.query,), "again")), leaked

    assert tally.cases == CASES
    assert tally.leaks == []
    assert tally.misjudged == []
    assert tally.benign_refused == 0
    assert tally.outcomes["same"] > CASES / 2


async def test_a_mask_that_policy_lacks_is_found() -> None:
    small = SERVED["small"]
    policed = tuple(schema for schema in SERVED.values() if schema is not small)
    search = HttpSearch("planted", only="small", save_found=False, planted=Planted(policed=policed))

    async with search.worlds() as pair:
        assert await leaks(search, pair, MOST_CASES)


TELLS_SIZES = """
from keystile.cli import main
from keystile.gate import planning
from keystile.gate.metadata import Metadata
from keystile.gate.plan import Plan

Plan.hides_bytes = False
Metadata._telling = lambda *_: frozenset()
planning.refuse_to_measure = lambda *_: None
main()
"""


async def test_a_gateway_that_tells_sizes_is_found() -> None:
    served = HttpSearch("planted", planted=Planted(gateway=(sys.executable, "-c", TELLS_SIZES)))
    async with served.worlds() as pair:
        tables = Tally()
        await served.look_around(pair, tables)
        assert tables.leaks
        for way in ("query", "pages", "dry_run", "dry_run_insert", "limit"):
            search = HttpSearch("planted", only="small", save_found=False, ways={way: 1})
            assert await leaks(search, pair, MOST_CASES), way


def test_no_case_changes_a_table_that_another_reads_at_the_same_time() -> None:
    search = HttpSearch("2026", save_found=False)

    cases = [search.case().asked for _ in range(600)]

    writing = [asked for asked in cases if changes(asked.texts[0]) and asked.way != "write"]
    assert writing
    assert {asked.way for asked in writing} <= {"dry_run", "dry_run_insert"}
