from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from keystile.cli import simulated
from keystile.cli.simulated import Progress, first_line


@pytest.mark.parametrize(
    ("sql", "line"),
    [
        ("SELECT name\nFROM t", "SELECT name"),
        ("-- for 123-45-6789\nSELECT 1", "SELECT ?"),
        (
            "SELECT * FROM t WHERE ssn = '123-45-6789' AND n > 42",
            "SELECT * FROM t WHERE ssn = ? AND n > ?",
        ),
        ('SELECT """two\nlines""", b\'x\', r\'y\' FROM `p.d.t`', "SELECT ?, ?, ? FROM `p.d.t`"),
        ("/* 123\n45 */ SELECT 1.5e3", "SELECT ?"),
        ("SELECT\x1b[31m 'a", "SELECT\\U0000001b[31m ?"),
        ("", ""),
    ],
)
def test_the_first_line_shows_no_value(sql: str, line: str) -> None:
    assert first_line(sql) == line


def test_a_long_line_is_cut() -> None:
    assert len(first_line("SELECT " + ", ".join(["column_name"] * 50))) == 100


def test_without_a_terminal_a_line_comes_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    written, now = io.StringIO(), [100.0]
    monkeypatch.setattr(simulated, "err", Console(file=written, highlight=False))
    monkeypatch.setattr(simulated.time, "monotonic", lambda: now[0])
    with Progress(1000) as progress:
        for count in range(0, 1000, 100):
            now[0] += 4
            progress.done(count)
    lines = written.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0] == "200 of 1,000 recorded queries, 17 a second, 48 s left"


def test_a_long_time_that_is_left_is_told_in_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    written, now = io.StringIO(), [100.0]
    monkeypatch.setattr(simulated, "err", Console(file=written, highlight=False))
    monkeypatch.setattr(simulated.time, "monotonic", lambda: now[0])
    with Progress(100_000) as progress:
        now[0] += 10
        progress.done(1000)
    assert written.getvalue() == "1,000 of 100,000 recorded queries, 100 a second, 16 min left\n"


def test_on_a_terminal_one_line_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    written: Any = io.StringIO()
    terminal = Console(file=written, force_terminal=True, highlight=False)
    monkeypatch.setattr(simulated, "err", terminal)
    with Progress(10) as progress:
        progress.done(5)
    assert "\n" not in written.getvalue().strip("\n").replace("\r", "")[-1:]
