"""How commands write times, sizes and texts that others wrote, so that none can fake a line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import typer
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from keystile.cli.common import out
from keystile.model.errors import InvalidRequestError

_AGO = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_WHOLE = 12  # Characters of an approval request's id.
# Into a pipe or file nothing folds that fits a wide screen.
_wide = Console(highlight=False, width=240)


def visible(text: str) -> str:
    """Give `text` with every character spelled out that a terminal would obey or hide.

    Line ends and tabs stay. INVARIANT: recorded SQL, comments and values are only printed so.
    """
    return "".join(
        one if one.isprintable() or one in "\n\t" else f"\\U{ord(one):08x}" for one in text
    )


def one_line(text: str) -> str:
    """Give the first line of `text`, and say how many more there are."""
    first, *more = visible(text).strip().split("\n")
    return f"{first} (+{len(more)} lines)" if more else first


def moment(at: float | None) -> str:
    """Give UTC epoch seconds as ISO 8601, such as `2026-01-31T12:00:00Z`; `-` for none."""
    if at is None:
        return "-"
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def epoch(text: str, now: float) -> float:
    """Read a moment: ISO 8601 (UTC unless it says otherwise), or an age such as `90m` or `7d`.

    Gives UTC epoch seconds. Raises `InvalidRequestError`.
    """
    if ago := _AGO.fullmatch(text):
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])}).total_seconds()
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidRequestError(
            f"`{text}` is no time", hint="write `2026-01-31`, `2026-01-31T12:00:00Z` or `7d`"
        ) from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def coming(text: str, now: float) -> float:
    """Read a moment to come: ISO 8601, or a time from now such as `30d`.

    Gives UTC epoch seconds. Raises `InvalidRequestError`.
    """
    if from_now := _AGO.fullmatch(text):
        return now + timedelta(**{_UNITS[from_now[2]]: int(from_now[1])}).total_seconds()
    return epoch(text, now)


def size(count: int | None) -> str:
    """Give bytes for a reader, such as `1.5 MiB`; `-` for none."""
    if count is None:
        return "-"
    amount, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:  # noqa: PLR2004 - IEC 80000-13
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"


def table(*columns: str) -> Table:
    """Make a table that folds long cells and never cuts them; short first cells stay whole."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    made.columns[0].min_width = _WHOLE
    return made


def show(thing: RenderableType) -> None:
    """Print to the terminal's width, and wide into a pipe or file."""
    (out if out.is_terminal else _wide).print(thing, markup=False)


def say(text: str, style: str = "") -> None:
    """Print one text as it is, wrapped by nothing but its own line ends."""
    out.print(Text(text, style=style), soft_wrap=True)


def fact(name: str, value: str, style: str = "") -> None:
    """Print `name  value`; further lines of the value stand under its first."""
    first, *more = visible(value).split("\n")
    text = Text.assemble((f"{name:<12}", "dim"), (first, style))
    for line in more:
        text.append(f"\n{'':<12}{line}", style)
    out.print(text, soft_wrap=True)


def say_json(value: Any) -> None:
    """Print a value as JSON, indented."""
    encoded = msgspec.json.encode(value)
    typer.echo(msgspec.json.format(encoded, indent=2).decode())
