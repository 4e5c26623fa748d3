from __future__ import annotations

import json
from pathlib import Path

import pytest

from keystile.policy import document


def test_the_json_schema_beside_the_code_is_current() -> None:
    file = Path(document.__file__).with_name("schema.json")
    assert json.loads(file.read_text(encoding="utf-8")) == json.loads(
        json.dumps(document.json_schema())
    ), "write json.dumps(document.json_schema(), indent=2) into schema.json"


@pytest.mark.parametrize(
    ("text", "seconds"), [("45s", 45), ("30m", 1800), ("2h", 7200), ("1d", 86400)]
)
def test_durations(text: str, seconds: int) -> None:
    assert document.seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "count"),
    [("0B", 0), ("500B", 500), ("50GB", 50 * 10**9), ("2 TiB", 2 << 40), ("1KiB", 1024)],
)
def test_sizes(text: str, count: int) -> None:
    assert document.byte_count(text) == count
