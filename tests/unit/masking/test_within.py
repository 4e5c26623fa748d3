from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keystile.masking.within import Within, names_of
from keystile.model.schema import ColumnRef, TableId

NAMES = st.lists(st.sampled_from("ab"), max_size=4).map(tuple)
T = TableId("p", "d", "t")


@given(st.sets(NAMES), NAMES)
def test_what_lies_within_is_what_shares_its_beginning(
    columns: set[tuple[str, ...]], asked: tuple[str, ...]
) -> None:
    above = [one for one in columns if asked[: len(one)] == one]
    beneath = [one for one in columns if one[: len(asked)] == asked]
    assert Within(columns).covers(asked) == bool(above)
    assert Within(columns).touches(asked) == bool(above or beneath)


def test_columns_of_two_tables_do_not_touch() -> None:
    within = Within([names_of(ColumnRef(T, ("a", "b")))])
    assert within.touches(names_of(ColumnRef(T, ("a",))))
    assert within.covers(names_of(ColumnRef(T, ("a", "b", "c"))))
    assert not within.covers(names_of(ColumnRef(T, ("a",))))
    assert not within.touches(names_of(ColumnRef(TableId("p", "d", "u"), ("a", "b"))))
