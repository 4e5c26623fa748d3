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


def test_a_hidden_default_dataset_gives_no_results_of_others() -> None:
    for dataset in ("_0123456789abcdef", "q._0123456789abcdef", "_SESSION"):
        with pytest.raises(RefusedError, match="hidden"):
            resolve(("anon0123",), "p", dataset)


@pytest.mark.parametrize("path", [("p", "d", "a/../b"), ("p", "d-e", "t"), ("P?", "d", "t")])
def test_characters_that_no_name_has_are_refused(path: tuple[str, ...]) -> None:
    with pytest.raises(RefusedError):
        resolve(path, "p", "d")


def test_names_that_differ_by_case_only_are_refused() -> None:
    check_cases([("d", "t"), ("d", "t"), ("t",)], lambda _: (2, 3))
    with pytest.raises(RefusedError, match="upper and lower case"):
        check_cases([("d", "t"), ("d", "T")], lambda _: (2, 3))


@pytest.mark.parametrize(
    "path",
    [
        ("region-us", "INFORMATION_SCHEMA", "JOBS"),
        ("d", "INFORMATION_SCHEMA", "JOBS_BY_USER"),
        ("INFORMATION_SCHEMA", "OBJECT_PRIVILEGES"),
        ("p", "region-eu", "INFORMATION_SCHEMA", "TABLES"),
        ("INFORMATION_SCHEMA", "TABLES"),
        ("d", "INFORMATION_SCHEMA", "SCHEMATA", "x"),
        ("d", "INFORMATION_SCHEMA"),
        ("a", "p", "d", "INFORMATION_SCHEMA", "TABLES"),
        ("d", "__TABLES__"),
        ("d", "__TABLES_SUMMARY__"),
        ("d", "peo*ple_*"),
        ("d*", "people"),
        ("t$2024",),
        ("t@-3600",),
        ("_0123456789abcdef", "anon"),
        ("_SESSION", "t"),
        ("a", "b", "c", "d"),
    ],
)
def test_what_is_no_plain_table_is_named(path: tuple[str, ...]) -> None:
    found = strange(path)
    assert found
    assert ".".join(path) in found.what
    assert found.hint


@pytest.mark.parametrize(
    "path",
    [("p", "d", "people_2024"), ("d", "people_*"), ("d", "INFORMATION_SCHEMA", "COLUMNS"), ("*",)],
)
def test_what_can_be_read_is_not_strange_and_some_cannot_be_written(path: tuple[str, ...]) -> None:
    assert strange(path) is None
    assert bool(strange(path, written=True)) is (path[-1] != "people_2024")


@pytest.mark.parametrize(
    ("path", "table"),
    [
        (("d", "INFORMATION_SCHEMA", "TABLES"), TableId("p", "d", "INFORMATION_SCHEMA.TABLES")),
        (
            ("q", "d", "information_schema", "tables"),
            TableId("q", "d", "INFORMATION_SCHEMA.TABLES"),
        ),
        (("INFORMATION_SCHEMA", "SCHEMATA"), TableId("p", "INFORMATION_SCHEMA", "SCHEMATA")),
        (("q", "INFORMATION_SCHEMA", "SCHEMATA"), TableId("q", "INFORMATION_SCHEMA", "SCHEMATA")),
        (("events_*",), TableId("p", "dd", "events_*")),
        (("d", "*"), TableId("p", "d", "*")),
    ],
)
def test_views_of_metadata_and_wildcards_are_resolved(
    path: tuple[str, ...], table: TableId
) -> None:
    assert resolve(path, "p", "dd") == table


@given(st.lists(st.text(max_size=8), min_size=1, max_size=4))
def test_any_path_is_a_table_or_a_clear_error(path: list[str]) -> None:
    try:
        found = resolve(split(path), "p", "d")
    except KeystileError:
        return
    for part in (found.project, found.dataset, found.table):
        assert part
        assert not set(part.removesuffix("*")) & set("/\\`?#%*$@\n\x00")
