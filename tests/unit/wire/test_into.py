from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from keystile.model.errors import InvalidRequestError, RefusedError
from keystile.model.schema import TableId
from keystile.wire.into import Into, into_of, into_of_text, split
from keystile.wire.job_bodies import parse_insert, parse_query
from keystile.wire.requests import QueryRequest

NAMED = {"datasetId": "d", "tableId": "t"}
FULL = {"projectId": "p", "datasetId": "d", "tableId": "t"}


def into(**more: Any) -> Into:
    found = into_of("p", {"destinationTable": NAMED, **more})
    assert found is not None
    return found


def test_the_table_is_sent_with_its_full_name_and_nothing_unsaid() -> None:
    assert into().table == TableId("p", "d", "t")
    assert into(clustering=None).configuration == {"destinationTable": FULL}
    assert into(clustering={"fields": ["a"]}).configuration == {
        "destinationTable": FULL,
        "clustering": {"fields": ["a"]},
    }


@pytest.mark.parametrize(
    ("more", "creates", "adds", "replaces", "reshapes"),
    [
        ({}, True, False, False, False),
        ({"createDisposition": "CREATE_NEVER"}, False, False, False, False),
        ({"writeDisposition": "WRITE_EMPTY"}, True, False, False, False),
        ({"writeDisposition": "WRITE_APPEND"}, True, True, False, False),
        ({"writeDisposition": "WRITE_TRUNCATE"}, True, False, True, True),
        ({"writeDisposition": "WRITE_TRUNCATE_DATA"}, True, False, True, False),
        ({"schemaUpdateOptions": ["ALLOW_FIELD_ADDITION"]}, True, False, False, True),
    ],
)
def test_what_the_dispositions_mean(
    more: Any, *, creates: bool, adds: bool, replaces: bool, reshapes: bool
) -> None:
    found = into(**more)
    assert (found.creates, found.adds, found.replaces, found.reshapes) == (
        creates,
        adds,
        replaces,
        reshapes,
    )


def test_the_text_that_people_approve_says_all_of_it() -> None:
    assert into().text == "p.d.t"
    said = into(writeDisposition="WRITE_TRUNCATE", timePartitioning={"type": "DAY"}).text
    table, _, rest = said.partition(" ")
    assert table == "p.d.t"
    assert json.loads(rest) == {
        "writeDisposition": "WRITE_TRUNCATE",
        "timePartitioning": {"type": "DAY"},
    }


@pytest.mark.parametrize(
    ("given", "error", "named"),
    [
        ({"destinationTable": {"tableId": "t"}}, InvalidRequestError, "datasetId"),
        ({"destinationTable": {**NAMED, "x": 1}}, InvalidRequestError, "`x`"),
        ({"destinationTable": {**NAMED, "tableId": "t$1"}}, RefusedError, "destinationTable"),
        ({"destinationTable": {**NAMED, "tableId": "t@0"}}, RefusedError, "destinationTable"),
        ({"destinationTable": NAMED, "writeDisposition": "X"}, InvalidRequestError, "writeDispo"),
        ({"destinationTable": NAMED, "createDisposition": "X"}, InvalidRequestError, "createDispo"),
        ({"schemaUpdateOptions": ["ALLOW_FIELD_ADDITION"]}, InvalidRequestError, "schemaUpdate"),
        ({"timePartitioning": {"type": "DAY"}}, InvalidRequestError, "timePartitioning"),
        ({"clustering": {"fields": ["a"]}}, InvalidRequestError, "clustering"),
    ],
)
def test_what_is_not_understood_is_named(given: Any, error: type[Exception], named: str) -> None:
    with pytest.raises(error, match=named):
        into_of("p", given)


@pytest.mark.parametrize(
    "given",
    [{}, {"destinationTable": None}, {"writeDisposition": "WRITE_TRUNCATE", "clustering": None}],
)
def test_without_a_table_the_dispositions_say_nothing(given: Any) -> None:
    assert into_of("p", given) is None


def test_what_says_where_a_result_goes_is_parted_from_the_rest() -> None:
    own = {"destinationTable": NAMED, "writeDisposition": "WRITE_EMPTY", "clustering": None}
    assert split({"query": "SELECT 1", **own}) == ({"query": "SELECT 1"}, own)


def test_only_jobs_insert_has_such_a_field() -> None:
    query = {"query": "SELECT 1", "useLegacySql": False, "destinationTable": NAMED}
    body = json.dumps({"configuration": {"query": query}}).encode()
    request = parse_insert("p", body)
    assert request.into == into()
    kept = msgspec.json.decode(msgspec.json.encode(request), type=QueryRequest)
    assert kept == request
    with pytest.raises(RefusedError, match="writes no table of your choice"):
        parse_query("p", json.dumps(query).encode())


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"writeDisposition": "WRITE_APPEND"},
        {"writeDisposition": "WRITE_TRUNCATE", "createDisposition": "CREATE_NEVER"},
        {"clustering": {"fields": ["a"]}, "timePartitioning": {"type": "DAY", "field": "b"}},
    ],
)
def test_what_a_recording_says_is_read_as_the_same_target(more: dict[str, object]) -> None:
    found = into_of("p", {"destinationTable": NAMED, **more})
    assert found
    assert into_of_text(found.text) == found
