from __future__ import annotations

import re
from pathlib import Path

import pytest

from keystile.api.bigquery import SERVED, handler
from keystile.api.http import MAX_BODY_BYTES
from keystile.model import errors
from keystile.wire.methods import METHODS

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "api.md").read_text(encoding="utf-8")


def test_what_the_table_says_is_served_is_served() -> None:
    assert {name for name, method in METHODS.items() if method.served} == set(SERVED)


def test_the_page_lists_every_error_that_a_client_can_get() -> None:
    rows = set(re.findall(r"^\| (\d{3}) \| `(\w+)` \|", PAGE, re.MULTILINE))
    tree = {
        (str(error.http_status), error.reason)
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, errors.KeystileError)
    }
    # These two never reach a BigQuery client: they stop the start, or speak OAuth's words.
    assert rows == {pair for pair in tree if pair[1] != "internalError"}


def test_the_page_states_the_bound() -> None:
    assert MAX_BODY_BYTES == 1 << 20
    assert "1 MiB" in PAGE


@pytest.mark.parametrize("method", sorted(set(METHODS) - set(SERVED)))
def test_what_is_not_served_is_refused_by_name_with_a_hint(method: str) -> None:
    with pytest.raises(errors.RefusedError, match=re.escape(f"`{method}`")) as caught:
        handler(method)
    assert caught.value.hint
