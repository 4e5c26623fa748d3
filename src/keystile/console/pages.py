"""Turn values into pages: the template environment, its filters, and the answers views give."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse

from keystile.console.highlight import highlight
from keystile.console.visible import has_hidden, plain, visible

_UNITS = (("day", 86400), ("hr.", 3600), ("min.", 60), ("sec.", 1))
_STATIC_FILES = ("console.css", "live.js", "mark.svg")


def iso(at: float) -> str:
    """Give a time as `2026-11-22 21:05:09 UTC`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def relative(at: float, now: float) -> str:
    """Give a time as people say it: `3 min. ago`, `in 2 hr.`; the page's script keeps it true."""
    seconds = at - now
    name, size = next((unit for unit in _UNITS if abs(seconds) >= unit[1]), _UNITS[-1])
    count = int(abs(seconds) // size)
    unit = f"{name}s" if name == "day" and count != 1 else name
    return f"in {count} {unit}" if seconds > 0 else f"{count} {unit} ago"


def byte_size(count: int | None) -> str:
    """Give a number of bytes with a binary unit, as BigQuery's own console does."""
    if count is None:
        return "unknown"
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024:  # noqa: PLR2004 (the binary step itself)
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} PiB"


def duration(seconds: float) -> str:
    """Give a length of time in the unit that fits: `85 ms`, `4.2 s`, `3 min 5 s`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:  # noqa: PLR2004 (seconds of a minute)
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def sentence(text: str) -> str:
    """Give one of our lower-case messages as a sentence of its own."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?", ":")) else ".")


def prose(text: str) -> Markup:
    """Give one of our messages as a sentence of HTML, with what stands in backticks as code."""
    pieces = sentence(text).split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(visible(piece)) if place % 2 else visible(piece)
        for place, piece in enumerate(pieces)
    )


def parameter_value(value: Any) -> str:
    """Give a `QueryParameterValue` as text: the scalar itself, JSON for what is nested."""
    if isinstance(value, Mapping) and set(value) <= {"value"}:
        return "NULL" if value.get("value") is None else str(value["value"])
    return msgspec.json.encode(value).decode()


@cache
def static_version() -> str:
    """Name the shipped static files by content, so that a browser never mixes two versions."""
    folder = files("keystile.console") / "static"
    content = b"".join((folder / name).read_bytes() for name in _STATIC_FILES)
    return hashlib.sha256(content).hexdigest()[:12]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("keystile.console"),
        # INVARIANT: every value is escaped; only our own `Markup` (visible, highlight) is not.
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "byte_size": byte_size,
        "duration": duration,
        "has_hidden": has_hidden,
        "iso": iso,
        "plain": plain,
        "prose": prose,
        "relative": relative,
        "sql": highlight,
        "visible": visible,
    }
    return environment


def render(template: str, status: int = 200, /, **values: object) -> HTMLResponse:
    """Give a page. `values` are what the template names; a missing one is an error."""
    page = _environment().get_template(template).render(version=static_version(), **values)
    return HTMLResponse(page, status_code=status)
