from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.gate.pages import _KEPT, _KEPT_BYTES, PageCache, start_of, token_for
from keystile.model.errors import InvalidRequestError

ROWS = (msgspec.Raw(b'{"f":[]}'),)


def test_a_token_leads_back_to_its_row(bench: Any) -> None:
    job = bench.a_job()
    assert start_of(job, token_for(job, 10_000)) == 10_000


def test_a_token_of_another_job_is_refused(bench: Any) -> None:
    with pytest.raises(InvalidRequestError, match="another job"):
        start_of(bench.a_job(), token_for(bench.a_job(), 1))


def test_a_negative_start_is_refused(bench: Any) -> None:
    job = bench.a_job()
    with pytest.raises(InvalidRequestError):
        start_of(job, token_for(job, -1))


class _Named(msgspec.Struct):
    id: str = "j"


@given(st.text())
def test_no_text_breaks_the_reading_of_a_token(token: str) -> None:
    with pytest.raises(InvalidRequestError):
        start_of(_Named(), token)  # type: ignore[arg-type]


def test_a_kept_page_is_given_to_its_own_job_and_start(bench: Any) -> None:
    cache, job = PageCache(), bench.a_job()
    cache.keep(job, 0, ROWS)
    assert cache.get(job, 0) == ROWS
    assert cache.get(job, 1) == ()
    assert cache.get(bench.a_job(), 0) == ()


def test_the_oldest_page_goes_first(bench: Any) -> None:
    cache, jobs = PageCache(), [bench.a_job() for _ in range(_KEPT + 1)]
    for job in jobs:
        cache.keep(job, 0, ROWS)
    assert cache.get(jobs[0], 0) == ()
    assert cache.get(jobs[1], 0) == ROWS


def test_of_large_rows_few_are_kept(bench: Any) -> None:
    cache, job = PageCache(), bench.a_job()
    small, large = msgspec.Raw(b"1"), msgspec.Raw(b" " * _KEPT_BYTES)
    cache.keep(job, 0, (small, large, small))
    assert cache.get(job, 0) == (small,)
    cache.keep(job, 0, (large, small))
    assert cache.get(job, 0) == (large,)
