from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from keystile.cli import serve
from keystile.config.settings import Settings


def test_the_gateway_runs_on_the_fast_event_loop(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loops, done = list[str](), list[str]()

    async def noted(_settings: Settings, _ready: asyncio.Event) -> None:
        loops.append(type(asyncio.get_running_loop()).__module__)

    monkeypatch.setattr(serve.gateway, "serve", noted)
    monkeypatch.setattr(serve.logs, "configure", lambda: done.append("configure"))
    monkeypatch.setattr(
        serve, "keep_out_of_dumps", lambda children: done.append(f"no dumps: {children}")
    )
    config = tmp_path / "keystile.yaml"
    config.write_text(json.dumps({"upstream": {"service_account_file": "key.json"}}))
    serve.serve(config)
    assert loops == ["uvloop"]
    assert done == ["configure", "no dumps: True"]
