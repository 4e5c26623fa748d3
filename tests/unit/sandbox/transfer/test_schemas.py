from __future__ import annotations

import pytest

from keystile.model.errors import InvalidRequestError
from keystile.model.schema import Field, Mode, TableId
from keystile.sandbox.transfer.schemas import merged

_TABLE = TableId("p", "d", "t")
_ID = Field("id", "INT64", Mode.REQUIRED, description="the key")
_NOTE = Field("note", "STRING")
_BOTH = ("ALLOW_FIELD_ADDITION", "ALLOW_FIELD_RELAXATION")


def test_what_the_table_says_of_a_column_stays() -> None:
    given = (Field("ID", "INT64", Mode.REQUIRED), _NOTE)
    assert merged((_ID, _NOTE), given, (), _TABLE) == (_ID, _NOTE)


def test_a_column_that_may_be_null_may_be_missing() -> None:
    assert merged((_ID, _NOTE), (_ID,), (), _TABLE) == (_ID, _NOTE)
    with pytest.raises(InvalidRequestError, match="Field id is missing in new schema"):
        merged((_ID, _NOTE), (_NOTE,), _BOTH, _TABLE)


def test_columns_are_added_and_relaxed_at_any_depth() -> None:
    before = (Field("r", "STRUCT", Mode.REPEATED, (_ID,)),)
    after = (Field("r", "STRUCT", Mode.REPEATED, (Field("id", "INT64"), _NOTE)),)
    relaxed = Field("id", "INT64", description="the key")
    assert merged(before, after, _BOTH, _TABLE)[0].fields == (relaxed, _NOTE)
    with pytest.raises(InvalidRequestError, match=r"Field r\.id has changed mode"):
        merged(before, after, _BOTH[:1], _TABLE)
    with pytest.raises(InvalidRequestError, match=r"Cannot add fields \(field: r\.note\)"):
        merged(before, after, _BOTH[1:], _TABLE)


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (Field("note", "BYTES"), "Field note has changed type from STRING to BYTES"),
        (Field("note", "STRING", Mode.REPEATED), "has changed mode from NULLABLE to REPEATED"),
        (Field("more", "STRING", Mode.REQUIRED), "Cannot add required fields"),
    ],
)
def test_what_no_option_allows_is_refused(new: Field, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        merged((_NOTE,), (new,), _BOTH, _TABLE)
