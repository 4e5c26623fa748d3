from __future__ import annotations

from typing import Any

import pytest

from keystile.model.errors import InvalidRequestError, RefusedError
from keystile.model.schema import TableId
from keystile.wire.keys import (
    ChangedKeys,
    ForeignKey,
    Keys,
    changed_keys,
    keys_from_json,
    visible_keys,
)


def foreign(name: str, table: str = "u") -> dict[str, Any]:
    columns = [{"referencingColumn": "a", "referencedColumn": "x"}]
    there = {"projectId": "p", "datasetId": "d", "tableId": table}
    named = {"name": name} if name else {}
    return {**named, "referencedTable": there, "columnReferences": columns}


def key(name: str, table: str = "u") -> ForeignKey:
    return ForeignKey(name, ("a",), TableId("p", "d", table), ("x",))


PRIMARY = {"primaryKey": {"columns": ["a", "b"]}}
NOW = {**PRIMARY, "foreignKeys": [foreign("one"), foreign("two", "v")]}


def changed(given: dict[str, Any] | None, *, now: Any = NOW, whole: bool = False) -> ChangedKeys:
    return changed_keys(now, given, whole=whole)


def test_keys_are_read() -> None:
    assert keys_from_json(NOW) == Keys(("a", "b"), (key("one"), key("two", "v")))
    assert keys_from_json(None) == keys_from_json({}) == Keys()
    assert keys_from_json({"primaryKey": None, "foreignKeys": None}) == Keys()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"fieldOfTomorrow": 1}, "fieldOfTomorrow"),
        ({"primaryKey": {"columns": "a"}}, "columns"),
        ({"primaryKey": {"columns": ["a"], "enforced": True}}, "enforced"),
        ({"foreignKeys": [{"name": "x"}]}, "referencedTable"),
        ({"foreignKeys": [{**foreign("x"), "matchType": "FULL"}]}, "matchType"),
    ],
)
def test_what_is_not_understood_is_named(given: Any, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        keys_from_json(given)


def test_a_patch_changes_the_keys_that_it_names() -> None:
    assert changed({}).is_nothing
    assert changed(PRIMARY).is_nothing
    assert changed({"primaryKey": {"columns": ["b"]}}) == ChangedKeys(
        drops_primary=True, added=Keys(("b",))
    )
    assert changed(PRIMARY, now=None) == ChangedKeys(added=Keys(("a", "b")))
    assert changed({"primaryKey": None}) == ChangedKeys(drops_primary=True)
    assert changed({"foreignKeys": [foreign("two", "v"), foreign("three")]}) == ChangedKeys(
        dropped=("one",), added=Keys(foreign=(key("three"),))
    )
    moved = foreign("one", "w")
    assert changed({"foreignKeys": [moved, foreign("two", "v")]}) == ChangedKeys(
        dropped=("one",), added=Keys(foreign=(key("one", "w"),))
    )


def test_null_and_an_update_without_them_take_all_keys_away() -> None:
    nothing = ChangedKeys(drops_primary=True, dropped=("one", "two"))
    assert changed(None) == nothing
    assert changed({}, whole=True) == changed(None, whole=True) == nothing
    assert changed(PRIMARY, whole=True) == ChangedKeys(dropped=("one", "two"))


def test_a_key_without_a_name_is_known_by_what_it_says() -> None:
    unnamed = {"foreignKeys": [foreign("")]}
    assert changed(unnamed, now={"foreignKeys": [foreign("one")]}).is_nothing
    assert changed(unnamed, now=unnamed).is_nothing
    assert changed(unnamed, now=None) == ChangedKeys(added=Keys(foreign=(key(""),)))
    with pytest.raises(RefusedError, match="without a name"):
        changed(None, now=unnamed)


def test_a_foreign_key_is_shown_to_whoever_sees_its_table() -> None:
    def sees(table: TableId) -> bool:
        return table == TableId("p", "d", "u")

    assert visible_keys({**NOW, "checkConstraints": []}, sees) == {
        **PRIMARY,
        "foreignKeys": [foreign("one")],
    }
    assert visible_keys({"foreignKeys": [foreign("two", "v"), {}]}, sees) == {}
