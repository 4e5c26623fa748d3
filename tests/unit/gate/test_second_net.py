from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.unit.gate.test_looking import looks_for

from keystile.gate.jobs import Job
from keystile.gate.looking import Look
from keystile.gate.second_net import SecondNet
from keystile.masking.keyed import always
from keystile.model.decision import Decision, Detection, Effect
from keystile.model.errors import InvalidQueryError, KeystileError, RefusedError
from keystile.model.schema import Field
from keystile.telemetry.metrics import Metrics
from keystile.wire.requests import PageRequest

BODY = (Field("body", "STRING"),)


@pytest.fixture
def detects(bench: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let every decision look for something, in results of one text column."""

    def detect(*detections: Detection) -> None:
        decide = bench.planner.decide

        async def decided(*args: Any, **more: Any) -> Any:
            found = await decide(*args, **more)
            decision = msgspec.structs.replace(found.decision, detections=detections)
            return found._replace(decision=decision)

        monkeypatch.setattr(bench.planner, "decide", decided)
        bench.planner.schema = bench.bigquery.schema = BODY

    return detect


def texts(view: Any) -> list[str]:
    return [msgspec.json.decode(msgspec.json.encode(row))["f"][0]["v"] for row in view.rows]


async def page(bench: Any, one: Any) -> Any:
    job = await one.gate.insert(bench.principal(), bench.request())
    asked = PageRequest(timeout_ms=1000)
    return await one.gate.results(bench.principal(), "acme-shop", job.job_id, asked)


async def test_every_piece_is_masked_before_it_is_on_record_and_given(
    bench: Any, one: Any, detects: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    detects(looks_for("ssn", label="pii.ssn"))
    monkeypatch.setattr("keystile.gate.outcomes._WITH_THE_END", 1)
    monkeypatch.setattr("keystile.gate.outcomes._ONE_PAGE_BYTES", 0)
    bench.bigquery.rows_of = [{"f": [{"v": f"{n}: 123-45-678{n}"}]} for n in range(1, 6)]
    bench.bigquery.in_piece = 2
    whole = await (await page(bench, one)).whole()
    assert texts(whole) == [f"{n}: [SSN]" for n in range(1, 6)]
    outcome, *pages = bench.events[1:]
    assert "123-45" not in str([event.body for event in bench.events])
    found = {"column": "body", "entity": "ssn", "label": "pii.ssn", "columns": []}
    assert outcome.body["found"] == [found | {"count": 1}]
    assert [event.body["found"] for event in pages] == [[found | {"count": 2}]] * 2
    assert one.metrics.found_values.labels("ssn")._value.get() == 5


async def test_a_page_read_again_is_masked_again(bench: Any, one: Any, detects: Any) -> None:
    detects(looks_for("ssn"))
    bench.bigquery.rows_of = [{"f": [{"v": "123-45-6789"}]}]
    job = await one.gate.insert(bench.principal(), bench.request())
    one.pages._pages.clear()
    for _ in range(2):
        asked = PageRequest(timeout_ms=1000)
        view = await one.gate.results(bench.principal(), "acme-shop", job.job_id, asked)
        assert texts(await view.whole()) == ["[SSN]"]
        one.pages._pages.clear()


async def test_what_a_rule_keeps_back_ends_the_job(bench: Any, one: Any, detects: Any) -> None:
    detects(looks_for("ssn", deny=True))
    bench.bigquery.rows_of = [{"f": [{"v": "123-45-6789"}]}]
    job = await one.gate.insert(bench.principal(), bench.request())
    await one.settle()
    ended = await one.gate.job(bench.principal(), "acme-shop", job.job_id)
    assert ended.error is not None
    assert ended.error.reason == "accessDenied"
    assert "keeps this result back" in ended.error.message
    assert "123-45" not in str([event.body for event in bench.events])


async def test_where_it_fails_nothing_is_given(
    bench: Any, one: Any, detects: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    detects(looks_for("ssn"))
    bench.bigquery.rows_of = [{"f": [{"v": "secret"}]}]

    def fails(*_: Any) -> None:
        raise TimeoutError

    monkeypatch.setattr(Look, "through", fails)
    job = await one.gate.insert(bench.principal(), bench.request())
    await one.settle()
    ended = await one.gate.job(bench.principal(), "acme-shop", job.job_id)
    assert ended.error is not None
    assert "could not be looked through" in ended.error.message
    assert bench.events[-1].body["state"] == "failed"


async def test_what_bigquery_says_of_a_failure_is_looked_through(
    bench: Any, one: Any, detects: Any
) -> None:
    detects(looks_for("ssn"))
    bench.bigquery.error = InvalidQueryError("Bad int64 value: 123-45-6789")
    job = await one.gate.insert(bench.principal(), bench.request())
    await one.settle()
    ended = await one.gate.job(bench.principal(), "acme-shop", job.job_id)
    assert ended.error is not None
    assert "Bad int64 value: [SSN]" in ended.error.message
    assert "123-45" not in str([event.body for event in bench.events])


def job_with(*detections: Detection) -> Job:
    class _Plan:
        decision = Decision(Effect.ALLOW, (), "d", detections=detections)

    class _Job:
        id, plan = "j", _Plan()

    one: Any = _Job()
    return one  # type: ignore[no-any-return]


async def test_rows_that_are_not_looked_for_anything_are_the_same() -> None:
    net = SecondNet(always(bytes(32)), Metrics())
    rows = (msgspec.Raw(b"{}"),)
    assert (await net.caught(job_with(), BODY, rows)).rows is rows
    error: KeystileError = RefusedError("123-45-6789")
    assert await net.said(job_with(), error) is error


async def test_what_is_no_row_of_the_schema_is_not_given(
    bench: Any, detects: Any, one: Any
) -> None:
    detects(looks_for("ssn"))
    bench.bigquery.rows_of = [{"f": []}]
    job = await one.gate.insert(bench.principal(), bench.request())
    await one.settle()
    ended = await one.gate.job(bench.principal(), "acme-shop", job.job_id)
    assert "could not be looked through" in str(ended.error)


async def test_words_of_an_error_that_cannot_be_looked_through_are_kept_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def slow(*_: object) -> None:
        raise TimeoutError

    net = SecondNet(always(bytes(32)), Metrics())
    monkeypatch.setattr(net, "_look", slow)
    told = await net.said(job_with(looks_for("ssn")), InvalidQueryError("bad value: 123-45-6789"))
    assert str(told).startswith("the query failed, and BigQuery's words are kept back; look for")
