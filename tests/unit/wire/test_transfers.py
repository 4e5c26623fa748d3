from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.model.errors import InvalidRequestError, KeystileError, RefusedError
from keystile.model.schema import TableId
from keystile.wire.job_bodies import parse_insert
from keystile.wire.transfers import Transfer, kind_of, transfer_of, transfer_of_text

TABLE = {"projectId": "p", "datasetId": "d", "tableId": "t"}
OTHER = {"datasetId": "d", "tableId": "other"}
BODIES: dict[str, dict[str, object]] = {
    "load": {"sourceUris": ["gs://in/a.csv"], "destinationTable": TABLE},
    "copy": {"sourceTable": OTHER, "destinationTable": TABLE},
    "extract": {"sourceTable": TABLE, "destinationUris": ["gs://out/a-*.csv"]},
}


def read(kind: Any, *, upload: bool = False, **changes: object) -> Transfer:
    given = {name: value for name, value in (BODIES[kind] | changes).items() if value != "absent"}
    return transfer_of("p", kind, given, upload=upload)


def test_each_kind_names_all_that_it_reads_and_writes() -> None:
    load, copy, extract = (read(kind) for kind in ("load", "copy", "extract"))
    here, other = TableId("p", "d", "t"), TableId("p", "d", "other")
    assert (load.sources, load.destination, load.uris) == ((), here, ("gs://in/a.csv",))
    assert (copy.sources, copy.destination, copy.uris) == ((other,), here, ())
    assert (extract.sources, extract.destination) == ((here,), None)
    assert extract.uris == ("gs://out/a-*.csv",)


@pytest.mark.parametrize("kind", BODIES)
def test_what_a_recording_says_is_read_as_the_same_job(kind: str) -> None:
    assert transfer_of_text("p", read(kind).text) == read(kind)


def test_an_upload_is_read_as_one_again() -> None:
    uploaded = read("load", upload=True, sourceUris="absent")
    assert transfer_of_text("p", uploaded.text) == uploaded


@pytest.mark.parametrize("text", ["", "SELECT 1", "-- move job\n{}", "-- load job\n["])
def test_another_text_is_no_job(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        transfer_of_text("p", text)


def test_tables_are_sent_with_their_full_names() -> None:
    assert read("copy").configuration["sourceTable"] == {"projectId": "p", **OTHER}
    several = read("copy", sourceTable="absent", sourceTables=[OTHER, TABLE])
    assert several.configuration["sourceTables"] == [{"projectId": "p", **OTHER}, TABLE]
    assert several.sources == (TableId("p", "d", "other"), TableId("p", "d", "t"))


def test_counts_that_came_as_texts_are_numbers_for_who_reads_the_job() -> None:
    configuration = read("load", skipLeadingRows="2", maxBadRecords=3).configuration
    assert (configuration["skipLeadingRows"], configuration["maxBadRecords"]) == (2, 3)
    assert "skipLeadingRows" not in read("load").configuration


@pytest.mark.parametrize(
    ("changes", "may"),
    [
        ({}, ["creates"]),
        ({"createDisposition": "CREATE_NEVER"}, []),
        ({"writeDisposition": "WRITE_EMPTY"}, ["creates"]),
        ({"writeDisposition": "WRITE_TRUNCATE"}, ["creates", "replaces", "reshapes"]),
        ({"writeDisposition": "WRITE_TRUNCATE_DATA"}, ["creates", "replaces"]),
        ({"schemaUpdateOptions": ["ALLOW_FIELD_ADDITION"]}, ["creates", "reshapes"]),
    ],
)
def test_what_a_load_may_do_to_its_table(changes: dict[str, object], may: list[str]) -> None:
    load = read("load", **changes)
    assert [word for word in ("creates", "replaces", "reshapes") if getattr(load, word)] == may


@pytest.mark.parametrize(
    ("kind", "changes", "error", "said"),
    [
        ("load", {"sourceUris": []}, InvalidRequestError, "at least one source URI"),
        ("load", {"sourceUris": ["https://drive.example/x"]}, RefusedError, "not served"),
        ("load", {"sourceUris": ["gs://b"]}, RefusedError, "not served"),
        ("load", {"sourceFormat": "DATASTORE_BACKUP"}, InvalidRequestError, "sourceFormat"),
        ("load", {"referenceFileSchemaUri": "gs://b/x"}, RefusedError, "referenceFileSchemaUri"),
        ("load", {"fileSetSpecType": "NEW_LINE_DELIMITED_MANIFEST"}, RefusedError, "fileSetSpec"),
        ("load", {"createSession": True}, RefusedError, "createSession"),
        ("load", {"destinationEncryptionConfiguration": {"kmsKeyName": "k"}}, RefusedError, "key"),
        ("load", {"maxBadRecords": "many"}, InvalidRequestError, "maxBadRecords"),
        ("load", {"schema": {"fields": [], "x": 1}}, InvalidRequestError, "`x`"),
        ("load", {"schema": {"fields": [{"name": "a", "policyTags": {"names": ["t"]}}]}},
         RefusedError, "policyTags"),
        ("load", {"schema": {"fields": [{"name": "a", "fields": [{"name": "b", "y": 1}]}]}},
         InvalidRequestError, "`y`"),
        ("copy", {"sourceTables": [OTHER]}, InvalidRequestError, "one of"),
        ("copy", {"sourceTable": "absent"}, InvalidRequestError, "one of"),
        ("copy", {"sourceTable": {**OTHER, "tableId": "t$1"}}, RefusedError, "earlier state"),
        ("copy", {"sourceTable": {**OTHER, "tableId": "t@0"}}, RefusedError, "earlier state"),
        ("copy", {"sourceTable": {**OTHER, "datasetId": "."}}, InvalidRequestError, "sourceTable"),
        ("copy", {"operationType": "MOVE"}, InvalidRequestError, "operationType"),
        ("extract", {"destinationUris": ["/srv/x"]}, RefusedError, "not served"),
        ("extract", {"destinationUris": []}, InvalidRequestError, "destinationUri"),
        ("extract", {"sourceModel": {"modelId": "m"}}, RefusedError, "sourceModel"),
        ("extract", {"madeUp": 1}, InvalidRequestError, "madeUp"),
    ],
)  # fmt: skip
def test_what_is_malformed_or_reaches_further_is_refused(
    kind: str, changes: dict[str, object], error: type[KeystileError], said: str
) -> None:
    with pytest.raises(error, match=said):
        read(kind, **changes)


def test_an_upload_brings_its_own_bytes() -> None:
    assert read("load", upload=True, sourceUris="absent").upload
    with pytest.raises(InvalidRequestError, match="exclude each other"):
        read("load", upload=True)
    body = {"configuration": {"copy": BODIES["copy"]}}
    with pytest.raises(InvalidRequestError, match="upload is for a load job"):
        parse_insert("p", json.dumps(body).encode(), upload=True)


def test_a_job_is_of_one_kind() -> None:
    assert kind_of({"query": {}}) is None
    assert kind_of({"load": {}, "copy": None}) == "load"
    with pytest.raises(InvalidRequestError, match="one of"):
        kind_of({"load": {}, "query": {}})


@pytest.mark.parametrize("kind", sorted(BODIES))
def test_the_text_that_people_approve_says_all_of_it(kind: str) -> None:
    body = {"configuration": {kind: BODIES[kind], "jobType": kind.upper()}}
    request = parse_insert("p", json.dumps(body).encode())
    first, _, rest = request.sql.partition("\n")
    assert first == f"-- {kind} job"
    assert request.transfer is not None
    assert json.loads(rest) == request.transfer.configuration


def test_a_transfer_has_no_dry_run() -> None:
    body = {"configuration": {"copy": BODIES["copy"], "dryRun": True}}
    with pytest.raises(InvalidRequestError, match="dryRun"):
        parse_insert("p", json.dumps(body).encode())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
NAMES = st.sampled_from(
    ["sourceUris", "destinationTable", "sourceTable", "sourceTables", "schema", "writeDisposition",
     "destinationUris", "timePartitioning", "quote", "maxBadRecords", "parquetOptions"]
)  # fmt: skip


@given(st.sampled_from(sorted(BODIES)), st.dictionaries(NAMES, JSON, max_size=3))
def test_whatever_is_asked_is_read_or_refused(kind: str, changes: dict[str, object]) -> None:
    body = {"configuration": {kind: {**BODIES[kind], **changes}}}
    try:
        request = parse_insert("p", json.dumps(body).encode())
    except (InvalidRequestError, RefusedError):
        return
    assert request.transfer is not None
    assert request.transfer.configuration.keys() <= {*BODIES[kind], *changes}
