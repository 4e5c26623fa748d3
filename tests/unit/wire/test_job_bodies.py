from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.model.errors import InvalidRequestError, RefusedError
from keystile.model.schema import Parameter, SqlType
from keystile.wire.encode import NewJob, job_body
from keystile.wire.job_bodies import parse_insert, parse_query
from keystile.wire.list_parameters import parse_page
from keystile.wire.paths import Call
from keystile.wire.requests import QueryRequest

# As google-cloud-bigquery 3.47 writes it.
_INSERT: dict[str, object] = {
    "jobReference": {"jobId": "efcf308f-847f", "projectId": "p"},
    "configuration": {
        "query": {
            "useQueryCache": False,
            "maximumBytesBilled": "1000",
            "defaultDataset": {"projectId": "q", "datasetId": "d"},
            "priority": "INTERACTIVE",
            "useLegacySql": False,
            "query": "select 1",
        },
        "labels": {"a": "b"},
        "jobTimeoutMs": "5",
        "dryRun": True,
    },
}
_QUERY: dict[str, object] = {
    "labels": {"a": "b"},
    "dryRun": False,
    "useLegacySql": False,
    "formatOptions": {"useInt64Timestamp": True},
    "query": "select @a",
    "queryParameters": [
        {"parameterType": {"type": "INT64"}, "parameterValue": {"value": "1"}, "name": "a"}
    ],
    "parameterMode": "NAMED",
    "maxResults": 5,
    "requestId": "2cd08f71-f8fe",
    "jobCreationMode": "JOB_CREATION_OPTIONAL",
}


def _query(**changes: object) -> bytes:
    return json.dumps({"query": "select 1", **changes}).encode()


def _insert(**changes: object) -> bytes:
    return json.dumps({"configuration": {"query": {"query": "select 1", **changes}}}).encode()


def test_the_body_that_the_client_inserts_is_understood() -> None:
    assert parse_insert("p", json.dumps(_INSERT).encode()) == QueryRequest(
        sql="select 1",
        project="p",
        default_project="q",
        default_dataset="d",
        dry_run=True,
        use_query_cache=False,
        maximum_bytes_billed=1000,
        job_timeout_ms=5,
        labels={"a": "b"},
        job_id="efcf308f-847f",
    )


def test_the_body_that_the_client_queries_with_is_understood() -> None:
    assert parse_query("p", json.dumps(_QUERY).encode()) == QueryRequest(
        sql="select @a",
        project="p",
        parameters=(Parameter("a", SqlType("INT64"), {"value": "1"}),),
        labels={"a": "b"},
        request_id="2cd08f71-f8fe",
        max_results=5,
        use_int64_timestamp=True,
        job_creation_optional=True,
    )


def test_the_default_dataset_is_of_the_path_project_unless_said() -> None:
    request = parse_query("p", _query(defaultDataset={"datasetId": "d"}))
    assert (request.default_project, request.default_dataset) == ("p", "d")


_REFUSED = [
    ("useLegacySql", True),
    ("tableDefinitions", {"t": {}}),
    ("userDefinedFunctionResources", [{"inlineCode": "x"}]),
    ("destinationEncryptionConfiguration", {"kmsKeyName": "k"}),
    ("continuous", True),
    ("writeIncrementalResults", True),
    ("reservation", "r"),
]


@pytest.mark.parametrize(("name", "value"), _REFUSED)
def test_fields_that_are_not_served_are_refused_by_name(name: str, value: object) -> None:
    for parse, body in ((parse_query, _query), (parse_insert, _insert)):
        with pytest.raises(RefusedError, match=name):
            parse("p", body(**{name: value}))


@pytest.mark.parametrize(("name", "value"), _REFUSED)
def test_the_same_fields_with_nothing_in_them_pass(name: str, value: object) -> None:
    empty = type(value)()
    assert parse_query("p", _query(**{name: empty})).sql == "select 1"
    assert parse_insert("p", _insert(**{name: None})).sql == "select 1"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"madeUpField": 1}, "madeUpField"),
        ({"madeUpField": None}, "madeUpField"),
        ({"query": 5}, "query"),
        ({"query": " "}, "query"),
        ({"query": "x" * (1 << 20)}, "larger"),
        ({"dryRun": "yes"}, "dryRun"),
        ({"timeoutMs": -1}, "timeoutMs"),
        ({"maxResults": "1e3"}, "maxResults"),
        ({"maxResults": "٣"}, "maxResults"),
        ({"maximumBytesBilled": str(1 << 63)}, "maximumBytesBilled"),
        ({"labels": {"A": "b"}}, "label"),
        ({"labels": {"a": "b\nc"}}, "label"),
        ({"labels": {str(i): "" for i in range(70)}}, "labels"),
        ({"requestId": "a b"}, "requestId"),
        ({"defaultDataset": {"datasetId": "d`x"}}, "defaultDataset"),
        ({"defaultDataset": {"datasetId": "d", "projectId": "p`"}}, "defaultDataset"),
        ({"queryResultsFormat": "ARROW"}, "queryResultsFormat"),
        ({"formatOptions": {"timestampOutputFormat": "ISO8601_STRING"}}, "formatOptions"),
        ({"jobCreationMode": "X"}, "jobCreationMode"),
    ],
)
def test_malformed_and_unknown_fields_are_named(changes: dict[str, object], named: str) -> None:
    with pytest.raises(InvalidRequestError, match=named):
        parse_query("p", _query(**changes))


@pytest.mark.parametrize(
    "body",
    [
        {"configuration": {"query": {"query": "x"}}, "madeUp": 1},
        {"configuration": {"query": {"query": "x"}, "madeUp": 1}},
        {"configuration": {"query": {"query": "x", "madeUp": 1}}},
        {"configuration": {"query": {"query": "x"}}, "jobReference": {"madeUp": "1"}},
        {"configuration": {"query": {"query": "x"}}, "jobReference": {"projectId": "other"}},
        {"configuration": {"query": {"query": "x"}}, "jobReference": {"jobId": "a/b"}},
        {"configuration": {}},
        {"configuration": {"query": {"query": "x"}, "jobType": "LOAD"}},
        {"configuration": {"query": {"query": "x"}, "load": {}}},
        {},
    ],
)
def test_a_malformed_insert_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(InvalidRequestError):
        parse_insert("p", json.dumps(body).encode())


def test_what_is_sent_upstream_reads_back_as_the_same_request() -> None:
    parameters = (
        Parameter("a", SqlType("INT64"), {"value": "1"}),
        Parameter("b", SqlType("ARRAY", element=SqlType("STRING")), {"arrayValues": []}),
    )
    body = job_body(
        NewJob(
            project="p",
            job_id="j",
            sql="select 1",
            location="EU",
            default_project="q",
            default_dataset="d",
            parameters=parameters,
            labels={"k": "v"},
            maximum_bytes_billed=7,
            use_query_cache=False,
            job_timeout_ms=9,
            dry_run=True,
        )
    )
    assert json.loads(body)["configuration"]["query"]["useLegacySql"] is False
    assert parse_insert("p", body) == QueryRequest(
        sql="select 1",
        project="p",
        location="EU",
        default_project="q",
        default_dataset="d",
        parameters=parameters,
        dry_run=True,
        use_query_cache=False,
        maximum_bytes_billed=7,
        job_timeout_ms=9,
        labels={"k": "v"},
        job_id="j",
    )


@pytest.mark.parametrize("micros", [True, False])
def test_every_query_of_javas_client_was_refused_for_a_format_that_says_nothing(
    *, micros: bool
) -> None:
    nothing = "TIMESTAMP_OUTPUT_FORMAT_UNSPECIFIED"
    options = {"useInt64Timestamp": micros, "timestampOutputFormat": nothing}
    assert parse_query("p", _query(formatOptions=options)).use_int64_timestamp is micros
    given_ = {f"formatOptions.{name}": str(value).lower() for name, value in options.items()}
    given_["formatOptions.timestampOutputFormat"] = nothing
    assert parse_page(Call("jobs.getQueryResults", parameters=given_)).use_int64_timestamp is micros


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
_FIELDS = st.sampled_from(
    [
        "query",
        "labels",
        "dryRun",
        "queryParameters",
        "parameterMode",
        "defaultDataset",
        "formatOptions",
        "maxResults",
        "timeoutMs",
        "configuration",
        "jobReference",
        "requestId",
    ]
)


@given(st.dictionaries(_FIELDS, _ANY, max_size=5).map(lambda body: json.dumps(body).encode()))
def test_any_body_gives_a_request_or_an_error_of_ours(body: bytes) -> None:
    for parse in (parse_query, parse_insert):
        with contextlib.suppress(InvalidRequestError, RefusedError):
            assert parse("p", body).sql


@pytest.mark.parametrize(("parse", "body"), [(parse_query, _query), (parse_insert, _insert)])
def test_a_session_is_begun_or_joined(parse: Any, body: Any) -> None:
    same = [{"key": "session_id", "value": "s1"}]
    assert parse("p", body(createSession=True)).creates_session
    assert parse("p", body(connectionProperties=same)).session == "s1"
    plain = parse("p", body(createSession=False, connectionProperties=[]))
    assert (plain.session, plain.creates_session) == ("", False)
    with pytest.raises(InvalidRequestError, match="exclude each other"):
        parse("p", body(createSession=True, connectionProperties=same))
    with pytest.raises(InvalidRequestError, match="two of `session_id`"):
        parse("p", body(connectionProperties=same * 2))
    for key in ("service_account", "dataset_project_id", "time_zone", "query_label"):
        with pytest.raises(RefusedError, match=f"`{key}`"):
            parse("p", body(connectionProperties=[*same, {"key": key, "value": "x"}]))
