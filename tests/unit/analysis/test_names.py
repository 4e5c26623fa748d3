from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.analysis.names import check_cases, resolve, split, strange
from keystile.model.errors import InvalidQueryError, KeystileError, RefusedError
from keystile.model.schema import TableId


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        (("t",), ("t",)),
        (("p.d.t",), ("p", "d", "t")),
        (("p.d", "t"), ("p", "d", "t")),
        (("p", "d.t"), ("p", "d", "t")),
        (("example.com:p.d.t",), ("example.com:p", "d", "t")),
    ],
)
def test_quoted_parts_are_split_at_dots(path: tuple[str, ...], parts: tuple[str, ...]) -> None:
    assert split(path) == parts


def test_defaults_complete_a_path() -> None:
    assert resolve(("t",), "p", "d") == TableId("p", "d", "t")
    assert resolve(("t",), "p", "q.d") == TableId("q", "d", "t")
    assert resolve(("e", "t"), "p", "d") == TableId("p", "e", "t")
    assert resolve(("q", "e", "t"), "p", "d") == TableId("q", "e", "t")


def test_a_table_without_a_dataset_is_told_in_bigquerys_words() -> None:
    with pytest.raises(InvalidQueryError, match="must be qualified with a dataset"):
        resolve(("t",), "p", "")


@pytest.mark.parametrize("path", [("p", "d", "a/../b"), ("p", "d-e", "t"), ("P?", "d", "t")])
def test_characters_that_no_name_has_are_refused(path: tuple[str, ...]) -> None:
    with pytest.raises(RefusedError):
        resolve(path, "p", "d")


def test_names_that_differ_by_case_only_are_refused() -> None:
    check_cases([("d", "t"), ("d", "t"), ("t",)])
    with pytest.raises(RefusedError, match="upper and lower case"):
        check_cases([("d", "t"), ("d", "T")])


@pytest.mark.parametrize(
    "path",
    [
        ("region-us", "INFORMATION_SCHEMA", "JOBS"),
        ("d", "information_schema", "tables"),
        ("d", "__TABLES__"),
        ("d", "people_*"),
        ("t$2024",),
        ("t@-3600",),
        ("_0123456789abcdef", "anon"),
        ("_SESSION", "t"),
        ("a", "b", "c", "d"),
    ],
)
def test_what_is_no_plain_table_is_named(path: tuple[str, ...]) -> None:
    assert ".".join(path) in strange(path)


def test_plain_tables_are_plain() -> None:
    assert strange(("p", "d", "people_2024")) == ""


@given(st.lists(st.text(max_size=8), min_size=1, max_size=4))
def test_any_path_is_a_table_or_a_clear_error(path: list[str]) -> None:
    try:
        found = resolve(split(path), "p", "d")
    except KeystileError:
        return
    for part in (found.project, found.dataset, found.table):
        assert part
        assert not set(part) & set("/\\`?#%*$@\n\x00")
