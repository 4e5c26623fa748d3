from __future__ import annotations

import json
from typing import Any

import pytest

from keystile.model.errors import InvalidRequestError, PreconditionError, RefusedError
from keystile.model.schema import Field, Mode
from keystile.wire.keys import ChangedKeys, Keys
from keystile.wire.updates import (
    Changed,
    Update,
    dataset_changed,
    parse_update,
    table_changed,
)

COLUMNS = [
    {"name": "id", "type": "INTEGER", "mode": "REQUIRED", "description": "Which"},
    {
        "name": "parts",
        "type": "RECORD",
        "mode": "REPEATED",
        "fields": [{"name": "x", "type": "FLOAT", "mode": "NULLABLE"}],
    },
]
NOW: dict[str, Any] = {
    "kind": "bigquery#table",
    "etag": "e1",
    "type": "TABLE",
    "tableReference": {"projectId": "p", "datasetId": "d", "tableId": "t"},
    "description": "Old",
    "labels": {"team": "x", "tier": "y"},
    "expirationTime": "5",
    "schema": {"fields": COLUMNS},
    "timePartitioning": {"type": "DAY", "expirationMs": "9"},
    "numRows": "3",
}
NEW = {"name": "new", "type": "FLOAT64"}


def changed(*, whole: bool = False, etag: str = "", **given: Any) -> Changed:
    return table_changed(NOW, parse_update(json.dumps(given).encode(), whole=whole, etag=etag))


def test_a_patch_changes_what_it_names_and_nothing_else() -> None:
    assert changed(description="New") == Changed({"description": "New"})
    assert changed(description=None, friendlyName="") == Changed({"description": None})
    assert changed(labels={"team": None, "new": "z"}) == Changed(
        {"labels": {"tier": "y", "new": "z"}}
    )
    assert changed(labels={"team": None, "tier": None}) == Changed({"labels": None})
    assert changed(labels=None, expirationTime=None) == Changed(
        {"labels": None, "expirationTime": None}
    )
    assert changed(expirationTime="6") == Changed({"expirationTime": 6})
    assert changed(expirationTime=5, description="Old", labels={"team": "x"}).is_nothing


def test_an_update_takes_away_what_it_does_not_name() -> None:
    assert changed(whole=True, **NOW).is_nothing
    assert changed(whole=True, labels={"tier": "y"}) == Changed(
        {"description": None, "labels": {"tier": "y"}, "expirationTime": None}
    )


def test_columns_are_added_at_the_end() -> None:
    again = [{**COLUMNS[0], "type": "INT64"}, {**COLUMNS[1], "description": ""}]
    assert changed(schema={"fields": again}).is_nothing
    more = [NEW, {"name": "tags", "type": "STRING", "mode": "REPEATED"}]
    assert changed(schema={"fields": [*again, *more]}) == Changed(
        added=(Field("new", "FLOAT64"), Field("tags", "STRING", Mode.REPEATED))
    )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ([COLUMNS[0]], "does not have the column `parts`"),
        ([NEW, *COLUMNS], "does not have the column `id` where it is now"),
        ([{**COLUMNS[0], "name": "other"}, COLUMNS[1]], "does not have the column `id`"),
        ([{**COLUMNS[0], "type": "STRING"}, COLUMNS[1]], "`type` of column `id`"),
        ([{**COLUMNS[0], "mode": "NULLABLE"}, COLUMNS[1]], "`mode` of column `id`"),
        ([{**COLUMNS[0], "description": ""}, COLUMNS[1]], "`description` of column `id`"),
        ([{**COLUMNS[0], "policyTags": {"names": []}}, COLUMNS[1]], "`policyTags` of column `id`"),
        ([COLUMNS[0], {**COLUMNS[1], "fields": [NEW]}], "`fields` of column `parts`"),
        ([*COLUMNS, {**NEW, "policyTags": {"names": ["t"]}}], "`policyTags` is refused"),
        ([*COLUMNS, {**NEW, "defaultValueExpression": "1"}], "`defaultValueExpression` of"),
    ],
)
def test_a_column_that_would_change_otherwise_is_refused_by_name(
    fields: list[dict[str, Any]], words: str
) -> None:
    with pytest.raises(RefusedError, match=words):
        changed(schema={"fields": fields})


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"view": {"query": "SELECT 1"}}, "view"),
        ({"encryptionConfiguration": None}, "encryptionConfiguration"),
        ({"requirePartitionFilter": True}, "requirePartitionFilter"),
        ({"timePartitioning": None}, "timePartitioning"),
        ({"timePartitioning": {"expirationMs": "10"}}, "timePartitioning"),
        ({"tableReference": {"tableId": "other"}}, "tableReference"),
        ({"type": "VIEW"}, "type"),
        ({"resourceTags": {"a": "b"}}, "resourceTags"),
    ],
)
def test_what_else_differs_is_refused_by_name(given: dict[str, Any], name: str) -> None:
    with pytest.raises(RefusedError, match=f"`{name}` is refused"):
        changed(description="New", **given)


def test_bq_could_change_no_table_for_it_names_what_it_leaves_as_it_is() -> None:
    said = {"schema": None, "labels": {}, "resourceTags": {}}
    assert changed(description="New", **said) == Changed({"description": "New"})
    with pytest.raises(RefusedError, match="resourceTags"):
        changed(whole=True, **{**NOW, **said})


def test_what_an_update_leaves_out_of_an_object_is_no_change_unseen() -> None:
    part = {"timePartitioning": {"type": "DAY"}}
    assert changed(**part).is_nothing
    with pytest.raises(RefusedError, match="timePartitioning"):
        changed(whole=True, **{**NOW, **part})


@pytest.mark.parametrize(
    "given",
    [
        {"unknown": 1},
        {"description": 1},
        {"labels": {"Team": "x"}},
        {"labels": ["x"]},
        {"expirationTime": "soon"},
        {"schema": {"fields": {}}},
        {"schema": {"fields": [1]}},
        {"schema": {"fields": COLUMNS, "other": 1}},
        {"schema": {"fields": [COLUMNS[0], {**COLUMNS[1], "fields": 7}]}},
        {"schema": {"fields": [{**COLUMNS[0], "type": "ODD"}, COLUMNS[1]]}},
    ],
)
def test_what_is_not_understood_is_an_error(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        changed(**given)


def test_a_schema_that_nests_without_end_is_an_error() -> None:
    deep: dict[str, Any] = {"name": "parts", "type": "RECORD"}
    for _ in range(300):
        deep = {**deep, "fields": [deep]}
    with pytest.raises(InvalidRequestError, match="not understood"):
        table_changed(NOW, Update({"schema": {"fields": [COLUMNS[0], deep]}}))


@pytest.mark.parametrize("known", ["", "*", "e1", '"e1"'])
def test_a_client_that_knows_the_table_may_change_it(known: str) -> None:
    assert changed(etag=known, description="New")


def test_a_client_that_knows_another_state_changes_nothing() -> None:
    with pytest.raises(PreconditionError):
        changed(etag="e0", description="New")
    # Its own change, which was approved in between, is no reason to fail.
    assert changed(etag="e0", description="Old").is_nothing


def test_a_dataset_has_its_own_options() -> None:
    now = {"etag": "e", "location": "EU", "defaultTableExpirationMs": "7"}

    def changed(**given: Any) -> Changed:
        return dataset_changed(now, Update(given))

    assert changed(defaultTableExpirationMs="7", location="EU").is_nothing
    assert changed(defaultTableExpirationMs=None, defaultPartitionExpirationMs=8) == Changed(
        {"defaultTableExpirationMs": None, "defaultPartitionExpirationMs": 8}
    )
    assert changed(defaultRoundingMode="ROUND_HALF_EVEN", maxTimeTravelHours="48") == Changed(
        {"defaultRoundingMode": "ROUND_HALF_EVEN", "maxTimeTravelHours": 48}
    )
    for name in ("access", "defaultEncryptionConfiguration", "location"):
        with pytest.raises(RefusedError, match=f"`{name}` is refused"):
            changed(**{name: []})
    with pytest.raises(InvalidRequestError, match="`expirationTime`"):
        changed(expirationTime="1")


def test_clustering_and_keys_change() -> None:
    key = {"primaryKey": {"columns": ["id"]}}
    assert changed(clustering={"fields": ["id", "x"]}) == Changed(clustering=("id", "x"))
    assert changed(clustering=None, tableConstraints=None).is_nothing
    assert changed(tableConstraints=key) == Changed(keys=ChangedKeys(added=Keys(("id",))))
    for whole in (False, True):
        now = {**NOW, "clustering": {"fields": ["id"]}, "tableConstraints": key}
        kept = {name: now[name] for name in ("description", "labels", "expirationTime")}
        given = kept if whole else {"clustering": None, "tableConstraints": None}
        assert table_changed(now, Update(given, whole=whole)) == Changed(
            keys=ChangedKeys(drops_primary=True), clustering=()
        )
        assert table_changed(now, Update(now, whole=whole)).is_nothing


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"clustering": {"fields": "id"}}, "fields"),
        ({"clustering": {"columns": ["id"]}}, "columns"),
        ({"tableConstraints": []}, "tableConstraints"),
        ({"tableConstraints": {"checks": []}}, "checks"),
    ],
)
def test_clustering_and_keys_that_are_not_understood_are_named(given: Any, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        changed(**given)
