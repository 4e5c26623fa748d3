from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.support.authority import Authority

from keystile.telemetry.metrics import Metrics
from keystile.tls import end
from keystile.tls import watch as module
from keystile.tls.pair import PairFiles
from keystile.tls.watch import Watched, watch

_DAY = 86_400


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_a_renewed_certificate_is_taken_and_logged(authority: Authority) -> None:
    listening = end.server("gateway", authority.pair("a", ends=90 * _DAY))
    metrics = Metrics()
    watched = Watched(listening, metrics)
    authority.write("a", ends=80 * _DAY)
    with capture_logs() as logs:
        watched.look(time.time())
        watched.look(time.time())
    assert [log["event"] for log in logs] == ["certificate_renewed"]
    shown = metrics.registry.get_sample_value(
        "keystile_certificate_expiry_timestamp_seconds", {"at": "gateway"}
    )
    assert shown
    assert abs(shown - time.time() - 80 * _DAY) < 60


def test_what_is_broken_is_logged_once_and_not_while_it_is_being_replaced(
    authority: Authority,
) -> None:
    files = authority.write("a", ends=90 * _DAY)
    watched = Watched(end.server("console", PairFiles(*files)), Metrics())
    sound = files[1].read_bytes()
    with capture_logs() as logs:
        files[1].write_bytes(b"half")
        watched.look(time.time())
        files[1].write_bytes(sound)
        watched.look(time.time())
        assert logs == []
        files[1].write_bytes(b"s3cret")
        for _ in range(4):
            watched.look(time.time())
    assert [(log["event"], log["at"]) for log in logs] == [("certificate_not_renewed", "console")]
    assert "s3cret" not in str(logs)


@pytest.mark.parametrize(
    ("life", "left", "warns"),
    [
        (90 * _DAY, 15 * _DAY, False),
        (90 * _DAY, 13 * _DAY, True),
        (_DAY, _DAY / 2, False),
        (_DAY, _DAY / 4, True),
        (_DAY, -60, True),
    ],
)
def test_what_ends_soon_is_said_once_a_day(
    authority: Authority, life: float, left: float, *, warns: bool
) -> None:
    listening = end.server("gateway", authority.pair("a", begins=0, ends=life))
    watched = Watched(listening, Metrics())
    now = time.time() + life - left
    with capture_logs() as logs:
        for more in (0, 60, 120):
            watched.look(now + more)
    assert [log["event"] for log in logs] == ["certificate_ends_soon"] * warns
    with capture_logs() as logs:
        watched.look(now + _DAY + 1)
    assert len(logs) == 1


def test_authorities_that_end_soon_are_said_and_measured_and_old_ones_beside_are_not(
    tmp_path: Path,
) -> None:
    for name, ends in (("old", -60), ("soon", 20 * _DAY), ("later", 400 * _DAY)):
        Authority(tmp_path, name, ends)
    file, metrics = tmp_path / "both.pem", Metrics()
    file.write_bytes(b"".join((tmp_path / f"{name}.pem").read_bytes() for name in ("old", "soon")))
    upstream = end.client("upstream", None, file)
    watched, now = Watched(upstream, metrics), time.time()

    def left() -> float:
        named = "keystile_authority_expiry_timestamp_seconds"
        ends = metrics.registry.get_sample_value(named, {"at": "upstream"})
        assert ends
        return (ends - now) / _DAY

    with capture_logs() as logs:
        watched.look(now)
        assert (round(left()), logs) == (20, [])
        watched.look(now + 14 * _DAY)
        watched.look(now + 14 * _DAY + 60)
    [log] = logs
    assert (log["event"], log["at"]) == ("authority_ends_soon", "upstream")
    with capture_logs() as logs:
        watched.look(now + 21 * _DAY)
    assert round(left()) == 20
    assert [log["event"] for log in logs] == ["authority_ends_soon"]
    file.write_bytes((tmp_path / "later.pem").read_bytes())
    with capture_logs() as logs:
        watched.look(now + 22 * _DAY)
    assert (round(left()), [log["event"] for log in logs]) == (400, ["certificate_renewed"])


async def test_looking_never_ends(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.01)
    files = authority.write("a")
    listening = end.server("gateway", PairFiles(*files))
    looking = asyncio.ensure_future(watch([listening], Metrics()))
    try:
        sound, old = files[1].read_bytes(), listening.context
        files[1].write_bytes(b"half")
        await asyncio.sleep(0.1)
        assert listening.context is old
        files[1].write_bytes(sound)
        authority.write("a")
        async with asyncio.timeout(10):
            while listening.context is old:  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.01)
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
