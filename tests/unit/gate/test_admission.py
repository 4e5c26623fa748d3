from __future__ import annotations

from typing import Any

import pytest

from keystile.model.decision import Effect
from keystile.model.errors import (
    InvalidQueryError,
    OverloadedError,
    RecordingUnavailableError,
    RefusedError,
)


async def test_a_refusal_is_on_record_before_it_is_raised(bench: Any, one: Any) -> None:
    bench.planner.effect = Effect.DENY
    with pytest.raises(RefusedError, match=r"raw numbers need a steward \(rule `raw-ssn`\)"):
        await one.gate.insert(bench.principal(), bench.request("DROP TABLE shop.customers"))
    (event,) = bench.events
    assert event.kind == "refused"
    assert event.body["sql"] == "DROP TABLE shop.customers"
    assert event.body["decision"]["effect"] == "deny"
    assert bench.bigquery.started == []


async def test_a_refusal_before_any_decision_is_on_record_too(bench: Any, one: Any) -> None:
    bench.planner.decide_fails = InvalidQueryError("Syntax error: Unexpected end at [1:7]")
    with pytest.raises(InvalidQueryError):
        await one.query(bench.principal(), bench.request("SELECT"))
    (event,) = bench.events
    assert event.body["message"] == "Syntax error: Unexpected end at [1:7]"
    assert "decision" not in event.body


async def test_an_overload_is_not_recorded_as_a_refusal(bench: Any, one: Any) -> None:
    bench.planner.decide_fails = OverloadedError("too many queries wait")
    with pytest.raises(OverloadedError):
        await one.gate.insert(bench.principal(), bench.request())
    assert bench.events == []


async def test_a_refusal_that_cannot_be_recorded_says_so(bench: Any, one: Any) -> None:
    await one.log.close()
    bench.planner.effect = Effect.DENY
    with pytest.raises(RecordingUnavailableError):
        await one.gate.insert(bench.principal(), bench.request())
