from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from keystile.analysis.scripts.state import BEFORE, CHANGED, Flow, makers, united
from keystile.analysis.temporary import temporary
from keystile.model.schema import TableId

T = temporary("t")
REAL = TableId("p", "d", "t")


def now(flow: Flow, table: TableId = T) -> set[int] | None:
    """Give what may have made the table here; None where nobody comes."""
    state = flow.now()
    return None if state is None else set(makers(state, table))


def test_what_was_made_last_counts() -> None:
    flow = Flow()
    assert now(flow) == {BEFORE}
    flow.make(T, 1)
    flow.make(T, 2)
    assert now(flow) == {2}
    flow.make(T, BEFORE)
    assert now(flow) == {BEFORE}


def test_a_temporary_table_is_there_after_if_not_exists_and_a_real_one_may_be_as_it_was() -> None:
    flow = Flow()
    flow.make(T, 1, only_if_missing=True)
    flow.make(REAL, 1, only_if_missing=True)
    assert now(flow) == {1}
    assert now(flow, REAL) == {BEFORE, 1}
    flow.make(T, 2, only_if_missing=True)
    assert now(flow) == {1}


def test_where_ways_meet_either_may_have_been_taken() -> None:
    flow = Flow()
    ways = flow.ways()
    with ways.way():
        flow.make(T, 1)
    with ways.way():
        flow.make(T, 2)
    with ways.way():
        flow.make(T, 3)
        flow.stop()
    ways.meet()
    assert now(flow) == {1, 2}


def test_a_loop_comes_round_with_what_it_made() -> None:
    flow, seen = Flow(), set[int]()
    for _ in flow.rounds("", skippable=True):
        seen |= now(flow) or set()
        flow.make(T, 1)
    assert seen == {BEFORE, 1}
    assert now(flow) == {BEFORE, 1}


def test_continue_comes_round_too() -> None:
    flow, seen = Flow(), set[int]()
    for _ in flow.rounds("", skippable=True):
        seen |= now(flow) or set()
        flow.make(T, 1)
        flow.leave("", again=True)
    assert seen == {BEFORE, 1}


def test_a_loop_that_does_not_end_by_itself_ends_where_it_is_left() -> None:
    flow = Flow()
    for _ in flow.rounds("a", skippable=False, ends=False):
        flow.make(T, 1)
        ways = flow.ways()
        with ways.way():
            flow.leave("A", again=False)
        with ways.way():
            pass
        ways.meet()
        flow.make(T, 2)
    assert now(flow) == {1}


def test_the_innermost_loop_is_left_and_a_block_only_by_its_label() -> None:
    flow = Flow()
    for _ in flow.rounds("outer", skippable=False, ends=False):
        with flow.labelled("block"):
            flow.make(T, 1)
            flow.leave("", again=False)
        assert now(flow) is None
    assert now(flow) == {1}
    with flow.labelled("block"):
        flow.make(T, 2)
        flow.leave("block", again=False)
        flow.make(T, 3)
    assert now(flow) == {2}


def test_a_handler_may_come_from_everywhere_in_its_block() -> None:
    flow = Flow()
    with flow.trying() as seen:
        flow.make(T, 1)
        flow.make(T, BEFORE)
        flow.make(T, CHANGED)
    flow.handle(seen)
    assert now(flow) == {BEFORE, 1, CHANGED}


def test_an_error_may_have_rolled_the_transaction_back() -> None:
    flow = Flow()
    flow.begin_transaction()
    flow.make(T, 1)
    with flow.trying() as seen:
        pass
    flow.handle(seen)
    assert now(flow) == {BEFORE, 1}


def test_a_rollback_may_go_back_to_what_a_later_line_began() -> None:
    flow, seen = Flow(), set[int]()
    flow.make(T, 1)
    flow.make(T, BEFORE)
    for _ in flow.rounds("", skippable=True):
        flow.make(T, 2)
        flow.roll_back()
        seen |= now(flow) or set()
        flow.make(T, BEFORE)
        flow.begin_transaction()
    assert seen == {2, BEFORE}


def test_nobody_comes_after_a_stop() -> None:
    flow = Flow()
    flow.stop()
    flow.make(T, 1)
    assert now(flow) is None
    assert makers(flow.here, T) == {BEFORE}
    assert united(None, None) is None


# Random programs, run as they are: what happens must be among what the flow says may happen.

Program = list[Any]
_leaf = st.sampled_from(
    ["make", "drop", "read", "break", "continue", "stop", "fail", "begin", "back"]
)
_programs = st.recursive(
    st.lists(_leaf, max_size=4),
    lambda inner: st.lists(
        st.one_of(
            _leaf,
            st.tuples(st.just("if"), inner, inner),
            st.tuples(st.just("loop"), inner),
            st.tuples(st.just("try"), inner, inner),
        ),
        max_size=4,
    ),
    max_leaves=14,
)


class Left(Exception):  # noqa: N818 - a way out, no error
    pass


class Run:
    """Runs a program by a row of choices; `read` are the tables that it has read, by place."""

    def __init__(self, choices: list[bool]) -> None:
        self.choices = iter(choices)
        self.table = BEFORE
        self.begun: int | None = None
        self.read: list[tuple[int, int]] = []

    def choose(self) -> bool:
        return next(self.choices, False)

    def run(self, program: Program, place: int = 1) -> None:
        for number, step in enumerate(program):
            self.step(step, place * 10 + number)

    def step(self, step: Any, at: int) -> None:  # noqa: C901, PLR0912 - a case for each step
        match step:
            case "make":
                self.table = at
            case "drop":
                self.table = BEFORE
            case "read":
                self.read.append((at, self.table))
            case "break" | "continue" | "stop":
                raise Left(step)
            case "fail":
                if self.choose():
                    if self.begun is not None and self.choose():
                        self.table, self.begun = self.begun, None
                    raise ValueError
            case "begin":
                self.begun = self.table
            case "back":
                if self.begun is not None:
                    self.table, self.begun = self.begun, None
            case ("if", then, other):
                taken = self.choose()
                self.run(then if taken else other, at * 10 + (5 if taken else 6))
            case ("loop", body):
                self.loop(body, at)
            case ("try", body, handler):
                try:
                    self.run(body, at)
                except ValueError:
                    self.run(handler, at * 10 + 6)

    def loop(self, body: Program, at: int) -> None:
        while self.choose():
            try:
                self.run(body, at)
            except Left as left:
                if str(left) == "stop":
                    raise
                if str(left) == "break":
                    return


def follow(  # noqa: C901 - a case for each step
    flow: Flow, program: Program, may: Callable[[int], None], place: int = 1
) -> None:
    """Say the same program to the flow."""
    for number, step in enumerate(program):
        at = place * 10 + number
        match step:
            case "make":
                flow.make(T, at)
            case "drop":
                flow.make(T, BEFORE)
            case "read":
                may(at)
            case "break" | "continue":
                flow.leave("", again=step == "continue")
            case "stop":
                flow.stop()
            case "begin":
                flow.begin_transaction()
            case "back":
                flow.roll_back()
            case ("if", then, other):
                ways = flow.ways()
                with ways.way():
                    follow(flow, then, may, at * 10 + 5)
                with ways.way():
                    follow(flow, other, may, at * 10 + 6)
                ways.meet()
            case ("loop", body):
                for _ in flow.rounds("", skippable=True):
                    follow(flow, body, may, at)
            case ("try", body, handler):
                with flow.trying() as seen:
                    follow(flow, body, may, at)
                end = flow.now()
                flow.handle(seen)
                follow(flow, handler, may, at * 10 + 6)
                flow.resume(united(end, flow.now()))


@settings(max_examples=300)
@given(_programs, st.lists(st.booleans(), max_size=30))
def test_whatever_happens_was_said_to_be_possible(program: Program, choices: list[bool]) -> None:
    whole: Program = [("loop", program)]
    flow, said = Flow(), dict[int, set[int]]()
    follow(flow, whole, lambda at: said.setdefault(at, set()).update(now(flow) or set()))
    run = Run([True, *choices])
    with suppress(Left, ValueError):
        run.run(whole)
    for at, table in run.read:
        assert table in said[at]
