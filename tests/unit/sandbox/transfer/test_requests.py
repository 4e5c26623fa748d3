from __future__ import annotations

from typing import Any

import pytest

from keystile.model.errors import InvalidRequestError
from keystile.model.schema import TableId
from keystile.sandbox.errors import UnsupportedError
from keystile.sandbox.transfer.requests import (
    Copy,
    Load,
    Transfer,
    moment,
    parse_transfer,
    tables_of,
)

_TABLE = {"datasetId": "d", "tableId": "t"}


def _parsed(configuration: dict[str, Any], **more: Any) -> Transfer:
    found = parse_transfer("p", {"configuration": configuration, **more})
    assert found is not None
    return found


def test_a_query_is_left_to_others() -> None:
    assert parse_transfer("p", {"configuration": {"query": {"query": "SELECT 1"}}}) is None
    assert parse_transfer("p", {}) is None


def test_numbers_come_as_text_too() -> None:
    load = {"destinationTable": _TABLE, "skipLeadingRows": "2", "maxBadRecords": 3}
    found = _parsed({"load": load})
    asked, told = found.asked, found.configuration["load"]
    assert told == load | {"skipLeadingRows": 2}
    assert isinstance(asked, Load)
    assert (asked.skip_leading_rows, asked.max_bad_records) == (2, 3)


def test_the_configuration_is_told_as_it_was_asked() -> None:
    load = {"destinationTable": _TABLE, "parquetOptions": {"enableListInference": True}}
    found = _parsed({"load": load, "labels": {"a": "b"}}, jobReference={"jobId": "x"})
    assert found.configuration == {"jobType": "LOAD", "load": load, "labels": {"a": "b"}}
    assert found.job_id == "x"


@pytest.mark.parametrize(
    "configuration",
    [
        {"load": {"madeUp": 1}},
        {"load": []},
        {"load": {"maxBadRecords": -1}},
        {"load": {"writeDisposition": "WRITE_MAYBE"}},
        {"load": {"destinationTable": {"datasetId": "d"}}},
        {"load": {}, "dryRun": True},
        {"load": {}, "madeUp": 1},
        {"copy": {"operationType": "MOVE"}},
        {"copy": {"destinationExpirationTime": "soon"}},
        {"extract": {"printHeader": "perhaps"}},
    ],
)
def test_what_is_not_understood_is_refused(configuration: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        _parsed(configuration)


def test_a_job_does_one_thing() -> None:
    for configuration in ({"load": {}, "copy": {}}, {"load": {}, "query": {}}):
        with pytest.raises(InvalidRequestError, match="a job has one of"):
            _parsed(configuration)


@pytest.mark.parametrize(
    "reference", [{"projectId": "other"}, {"jobId": "no spaces"}, {"madeUp": 1}]
)
def test_a_wrong_reference_is_refused(reference: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        _parsed({"load": {}}, jobReference=reference)
    with pytest.raises(InvalidRequestError):
        _parsed({"load": {}}, madeUp=1)


def test_what_bigquery_has_and_the_sandbox_has_not_is_said() -> None:
    for load in ({"hivePartitioningOptions": {"mode": "AUTO"}}, {"timeZone": "CET"}):
        with pytest.raises(UnsupportedError, match=next(iter(load))):
            _parsed({"load": load})
    assert _parsed({"load": {"hivePartitioningOptions": None, "timeZone": ""}})
    other = {**_TABLE, "tableId": "t$20240101"}
    with pytest.raises(UnsupportedError, match="partition decorator"):
        tables_of(_parsed({"load": {"destinationTable": other}}))


def test_all_tables_of_a_job_are_named() -> None:
    other = {"projectId": "q", "datasetId": "d", "tableId": "u@-1"}
    copied = _parsed({"copy": {"sourceTables": [other, _TABLE], "destinationTable": _TABLE}})
    assert isinstance(copied.asked, Copy)
    mine = TableId("p", "d", "t")
    assert tables_of(copied) == [TableId("q", "d", "u@-1"), mine, mine]
    for job in ({"load": {}}, {"copy": {"destinationTable": _TABLE}}, {"extract": {}}):
        with pytest.raises(InvalidRequestError, match="Required parameter is missing"):
            tables_of(_parsed(job))


def test_a_moment_is_parted_from_a_name() -> None:
    assert moment(TableId("p", "d", "t@-5")) == (TableId("p", "d", "t"), -5)
    assert moment(TableId("p", "d", "a@b")) == (TableId("p", "d", "a@b"), None)
