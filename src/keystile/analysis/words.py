"""The engine's error texts in the words that BigQuery uses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from keystile.model.errors import InvalidQueryError

_CODE = re.compile(r"\ACode: \d+, Message: ")
_PLACE = re.compile(r" \[at (\d+:\d+)\]\Z")


@contextmanager
def in_bigquery_words() -> Iterator[None]:
    """Turn an engine error into the text BigQuery gives: `Syntax error: … at [1:8]`."""
    try:
        yield
    except InvalidQueryError as error:
        text = _PLACE.sub(r" at [\1]", _CODE.sub("", error.message))
        raise InvalidQueryError(text, hint=error.hint) from None
