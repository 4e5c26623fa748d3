from __future__ import annotations

import pytest

from keystile.model.errors import InvalidRequestError, RefusedError
from keystile.wire.list_parameters import parse_jobs, parse_page
from keystile.wire.paths import Call
from keystile.wire.requests import JobsRequest, PageRequest


def test_a_page_request_reads_its_query_parameters() -> None:
    given_ = {
        "location": "US",
        "pageToken": "t",
        "startIndex": "3",
        "maxResults": "0",
        "timeoutMs": "20",
        "formatOptions.useInt64Timestamp": "True",
        "selectedFields": "a,b",
    }
    assert parse_page(Call("tabledata.list", parameters=given_)) == PageRequest(
        "US", "t", 3, 0, 20, use_int64_timestamp=True, selected_fields=("a", "b")
    )


@pytest.mark.parametrize(
    "given_",
    [
        {"startIndex": "-1"},
        {"maxResults": "x"},
        {"formatOptions.useInt64Timestamp": "maybe"},
        {"formatOptions.timestampOutputFormat": "ISO8601_STRING"},
    ],
)
def test_a_malformed_page_request_is_refused(given_: dict[str, str]) -> None:
    with pytest.raises((InvalidRequestError, RefusedError)):
        parse_page(Call("jobs.getQueryResults", parameters=given_))


def test_a_list_of_jobs_is_asked_for() -> None:
    call = Call(
        "jobs.list",
        parameters={
            "allUsers": "True",
            "stateFilter": "DONE",
            "projection": "full",
            "minCreationTime": "5",
            "maxCreationTime": "7",
            "parentJobId": "p",
            "pageToken": "t",
            "maxResults": "9",
        },
    )
    assert parse_jobs(call) == JobsRequest(
        "done", 5, 7, "p", full=True, page_token="t", max_results=9
    )
    assert parse_jobs(Call("jobs.list")) == JobsRequest()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stateFilter", "gone"),
        ("projection", "all"),
        ("allUsers", "yes"),
        ("minCreationTime", "-1"),
        ("maxCreationTime", "soon"),
        ("maxResults", "1e3"),
    ],
)
def test_a_list_of_jobs_names_what_it_does_not_understand(name: str, value: str) -> None:
    with pytest.raises(InvalidRequestError, match=name):
        parse_jobs(Call("jobs.list", parameters={name: value}))
