"""What shows of a text alone, before it is put behind others."""

from __future__ import annotations

import msgspec

from keystile.analysis.parsing import parse
from keystile.analysis.scripts.split import script_tree
from keystile.googlesql.engine import Engine
from keystile.model.errors import InvalidQueryError

_ENDING = "\n;\n"


class AloneRequest(msgspec.Struct, frozen=True):
    """A text by itself."""

    sql: str


class Alone(msgspec.Struct, frozen=True):
    """`script` tells of several statements or control flow; `ending` is what ends the last one.

    With its ending behind it, a text may have any other behind that, and both mean what they mean.
    """

    script: bool
    ending: str


def alone(engine: Engine, request: AloneRequest) -> Alone:
    """Look at a text alone. Raises `InvalidQueryError` where it does not parse, as `parse` does."""
    parsed = parse(engine, request.sql)
    try:
        script_tree(engine, f"{request.sql}{_ENDING}SELECT 1")
    except InvalidQueryError:
        # It has a semicolon at its end, or a comment behind one.
        script_tree(engine, f"{request.sql}\nSELECT 1")
        return Alone(parsed.script, "\n")
    return Alone(parsed.script, _ENDING)
