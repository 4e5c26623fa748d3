from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from keystile.api import probes
from keystile.model.errors import RecordingUnavailableError
from keystile.telemetry.metrics import Metrics


async def fine() -> None:
    pass


async def full() -> None:
    raise RecordingUnavailableError("the recording's disk is full", hint="free some space")


async def broken() -> None:
    raise ValueError("secret")


async def stuck() -> None:
    await asyncio.sleep(60)


async def test_healthz_needs_nothing() -> None:
    assert (await probes.healthz()).status == 200


async def test_ready_only_when_every_check_passes() -> None:
    answer = await probes.readyz({"store": fine, "engine": fine})
    assert answer.status == 200
    assert json.loads(answer.body) == {"ready": True, "checks": {"store": "ok", "engine": "ok"}}


async def test_a_failing_check_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "_CHECK_SECONDS", 0.01)
    checks = {"store": fine, "recording": full, "policy": broken, "engine": stuck}
    answer = await probes.readyz(checks)
    assert answer.status == 503
    found: dict[str, Any] = json.loads(answer.body)
    assert found["ready"] is False
    assert found["checks"]["store"] == "ok"
    assert found["checks"]["recording"] == "the recording's disk is full; free some space"
    assert found["checks"]["policy"].startswith("internal fault `")
    assert found["checks"]["engine"].startswith("no answer within")
    assert b"secret" not in answer.body


async def test_metrics_are_prometheus_text() -> None:
    answer = await probes.metrics_page(Metrics())
    assert answer.content_type.startswith(b"text/plain; version=0.0.4")
    assert b"# TYPE keystile_requests_total counter" in answer.body
