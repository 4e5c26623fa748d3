from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.model.errors import InvalidRequestError
from keystile.model.schema import SqlType
from keystile.wire.schema import SCALARS
from keystile.wire.standard_types import standard_type_from_json, standard_type_json

TYPES = st.recursive(
    st.sampled_from(sorted(SCALARS)).map(SqlType),
    lambda inner: (
        inner.map(lambda one: SqlType("ARRAY", element=one))
        | st.lists(st.tuples(st.sampled_from(["", "a", "b"]), inner), max_size=3).map(
            lambda fields: SqlType("STRUCT", fields=tuple(fields))
        )
    ),
    max_leaves=5,
)


@given(TYPES)
def test_a_type_comes_back_as_it_was(type_: SqlType) -> None:
    assert standard_type_from_json(standard_type_json(type_)) == type_


@pytest.mark.parametrize(
    "item", [{}, {"typeKind": "FOREIGN"}, {"typeKind": "ARRAY"}, {"typeKind": 1}, [], "STRING"]
)
def test_what_is_no_type_is_refused(item: Any) -> None:
    with pytest.raises(InvalidRequestError):
        standard_type_from_json(item)


def test_a_type_without_end_is_refused() -> None:
    item: dict[str, Any] = {"typeKind": "STRING"}
    for _ in range(50):
        item = {"typeKind": "ARRAY", "arrayElementType": item}
    with pytest.raises(InvalidRequestError, match="too deeply"):
        standard_type_from_json(item)
