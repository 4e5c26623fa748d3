from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from keystile.googlesql.pool import Restart
from keystile.model.decision import Effect
from keystile.telemetry.metrics import Exchange, Metrics, Phase

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"


class Stats(NamedTuple):
    workers: int = 2
    busy: int = 1
    queued: int = 3
    restarts: dict[str, int] = dict.fromkeys(Restart, 1)
    ran: int = 5
    waited_seconds: float = 0.5


class Cache(NamedTuple):
    hits: int = 6
    misses: int = 7
    kept: int = 8


class Credential(NamedTuple):
    connection: str
    key: str
    age: float | None
    expires: float | None
    rejections: int = 9


CREDENTIALS = (Credential("default", "k1", 60.0, 1000.0), Credential("server", "", None, None))


def watched() -> Metrics:
    metrics = Metrics()
    metrics.watch_engine(Stats)
    metrics.watch_cache(Cache)
    metrics.watch_credentials(lambda: CREDENTIALS)
    return metrics


def test_the_page_lists_exactly_what_the_registry_holds() -> None:
    registered = {
        (f"{family.name}_total" if family.type == "counter" else family.name, family.type)
        for family in watched().registry.collect()
    }
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == registered


def test_the_page_names_every_label_value() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for value in (*Effect, *Phase, *Exchange, *Restart):
        assert f"`{value}`" in page


def test_known_labels_start_at_zero() -> None:
    text = Metrics().text().decode()
    assert 'keystile_decisions_total{effect="deny"} 0.0' in text
    assert 'keystile_query_seconds_count{phase="dry_run"} 0.0' in text
    assert 'keystile_token_exchanges_total{outcome="refused"} 0.0' in text


def test_the_engine_is_read_at_every_scrape() -> None:
    metrics = Metrics()
    queued = iter((1, 7))
    metrics.watch_engine(lambda: Stats(queued=next(queued)))
    metrics.text()
    assert "keystile_engine_queued 7.0" in metrics.text().decode()


def test_what_the_engine_did_is_told_by_why_and_by_outcome() -> None:
    text = watched().text().decode()
    assert 'keystile_engine_restarts_total{why="deadline"} 1.0' in text
    assert "keystile_engine_waited_seconds_total 0.5" in text
    assert 'keystile_engine_cache_total{outcome="hit"} 6.0' in text
    assert 'keystile_engine_cache_total{outcome="miss"} 7.0' in text
    assert "keystile_engine_cache_answers 8.0" in text


def test_two_gateways_in_one_process_count_apart() -> None:
    first, second = Metrics(), Metrics()
    first.masked_columns.inc()
    assert "keystile_masked_columns_total 1.0" in first.text().decode()
    assert "keystile_masked_columns_total 0.0" in second.text().decode()


def test_each_credential_has_its_age_and_end_where_these_are_known() -> None:
    text = watched().text().decode()
    of = '{connection="default",key="k1"}'
    assert f"keystile_credential_age_seconds{of} 60.0" in text
    assert f"keystile_credential_expiry_timestamp_seconds{of} 1000.0" in text
    assert 'keystile_credential_rejections_total{connection="server"} 9.0' in text
    assert 'key=""' not in text
