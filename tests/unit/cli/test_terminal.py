from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.cli.terminal import epoch, moment, one_line, say, show, size, table, visible
from keystile.model.errors import InvalidRequestError


@given(st.text())
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    shown = visible(text)
    assert all(one.isprintable() or one in "\n\t" for one in shown)
    assert not set(shown) & {"\x1b", "\r", "\b", "\x9b", "\u202e", "\u2028", "\u200b"}


def test_a_forged_line_is_spelled_out() -> None:
    assert visible("a\r\x1b[2Kok\u202e") == "a\\U0000000d\\U0000001b[2Kok\\U0000202e"
    assert one_line("  SELECT 1\nFROM t\n-- x ") == "SELECT 1 (+2 lines)"
    assert one_line("SELECT 1\n") == "SELECT 1"


def test_times_and_sizes() -> None:
    assert (moment(0.0), moment(None)) == ("1970-01-01T00:00:00Z", "-")
    assert epoch("1970-01-02", 0) == 86_400
    assert epoch("1970-01-01T01:00:00+01:00", 0) == 0
    assert epoch("90m", 10_000) == 4_600
    assert epoch("7d", 700_000) == 700_000 - 7 * 86_400
    assert [size(one) for one in (None, 0, 1023, 1536, 5 << 30, 1 << 50)] == [
        "-",
        "0 B",
        "1023 B",
        "1.5 KiB",
        "5.0 GiB",
        "1024.0 TiB",
    ]


@pytest.mark.parametrize("text", ["", "yesterday", "7", "2026-13-01", "9999999d"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="is no time"):
        epoch(text, 0)


def test_tables_cut_nothing_and_obey_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    rows = table("[bold]NAME[/]", "SQL")
    rows.add_row("[red]x[/red]", "y" * 500)
    show(rows)
    say("[link=x]z[/link]" + "w" * 300)
    shown = capsys.readouterr().out
    assert "[bold]NAME[/]" in shown
    assert "[red]x[/red]" in shown
    assert shown.count("y") == 500
    assert "[link=x]z[/link]" + "w" * 300 in shown
