from __future__ import annotations

import time
from threading import Event

from keystile.googlesql.deadlines import Deadlines


def test_what_is_due_is_done_and_what_ended_is_not() -> None:
    deadlines = Deadlines()
    due, ended = Event(), Event()
    number = deadlines.begin(0.05, ended.set)
    deadlines.end(number)
    deadlines.begin(0.1, due.set)
    assert due.wait(5)
    assert not ended.is_set()


def test_one_that_begins_later_may_be_due_earlier() -> None:
    deadlines = Deadlines()
    late, soon = Event(), Event()
    first = deadlines.begin(60, late.set)
    deadlines.begin(0.05, soon.set)
    assert soon.wait(5)
    assert not late.is_set()
    deadlines.end(first)


def test_the_thread_wakes_up_again_after_a_time_with_nothing_to_watch() -> None:
    deadlines = Deadlines()
    first, second = Event(), Event()
    deadlines.begin(0.02, first.set)
    assert first.wait(5)
    time.sleep(0.05)
    deadlines.begin(0.02, second.set)
    assert second.wait(5)
