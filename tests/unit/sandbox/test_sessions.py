from __future__ import annotations

import pytest

from keystile.sandbox.sessions import aborted


@pytest.mark.parametrize(
    ("sql", "session"),
    [
        ("CALL BQ.ABORT_SESSION('ab+/==')", "ab+/=="),
        ('call bq.abort_session("x") ;\n', "x"),
        ("CALL BQ.ABORT_SESSION()", ""),
        ("SELECT 1", None),
        ("CALL BQ.ABORT_SESSION('a'); SELECT 1", None),
        ("CALL other.ABORT_SESSION('a')", None),
    ],
)
def test_only_a_call_of_it_alone_ends_a_session(sql: str, session: str | None) -> None:
    assert aborted(sql) == session
