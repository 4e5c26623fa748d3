from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.model.errors import (
    InvalidRequestError,
    KeystileError,
    MethodNotAllowedError,
    NotFoundError,
    RefusedError,
)
from keystile.wire.methods import METHODS
from keystile.wire.paths import Call, route

_NAMES = {"{project}": "p-1", "{dataset}": "d", "{table}": "t", "{job}": "j-1", "{item}": "i"}


def _path(method: str) -> str:
    path = METHODS[method].path
    for placeholder, name in _NAMES.items():
        path = path.replace(placeholder, name)
    return path


@pytest.mark.parametrize("prefix", ["/", "/bigquery/v2/", "/bigquery/v2/bigquery/v2/"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_found_by_its_own_path(method: str, prefix: str) -> None:
    assert route(METHODS[method].verb, prefix + _path(method), "").method == method


def test_names_are_taken_from_the_path() -> None:
    call = route(
        "GET", "/bigquery/v2/projects/x.com:p/datasets/d/tables/T%C3%A9", "prettyPrint=false"
    )
    assert call == Call(
        "tables.get",
        project="x.com:p",
        dataset="d",
        table="Té",
        parameters={"prettyPrint": "false"},
    )


@pytest.mark.parametrize(
    "path",
    [
        "/projects/p%2Fdatasets",
        "/projects/p%252Fdatasets",
        "/projects/p/datasets/d/",
        "//projects/p/datasets",
        "/projects/../datasets",
        "/projects/p/%2e%2e/datasets",
        "/projects/p;x=1/datasets",
        "/bigquery/v2/bigquery/v2/bigquery/v2/projects/p/datasets",
        "/BigQuery/v2/projects/p/datasets",
        "/discovery/v1/apis/bigquery/v2/rest",
        "/projects/p/datasets/d\x00",
        "/projects/p/datasets/\xff%ff",
        "projects/p/datasets",
        "http://bigquery.googleapis.com/projects/p/datasets",
        "/",
        "",
    ],
)
def test_any_other_path_is_not_found(path: str) -> None:
    with pytest.raises((NotFoundError, InvalidRequestError)):
        route("GET", path, "")


@pytest.mark.parametrize("http_method", ["PUT", "HEAD", "TRACE", "get", ""])
def test_a_known_path_with_another_http_method_says_which_it_takes(http_method: str) -> None:
    with pytest.raises(MethodNotAllowedError, match=r"it takes GET, POST$"):
        route(http_method, "/projects/p/datasets", "")


def test_a_batch_is_refused_with_its_own_words() -> None:
    with pytest.raises(RefusedError, match="send each request by itself"):
        route("POST", "/batch/bigquery/v2", "")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_its_own_parameters_and_no_others(method: str) -> None:
    verb, own = METHODS[method].verb, METHODS[method].parameters
    query = "&".join(f"{name}=1" for name in own)
    assert route(verb, f"/{_path(method)}", query).parameters == dict.fromkeys(own, "1")
    with pytest.raises(InvalidRequestError, match="unknown query parameter `other`"):
        route(verb, f"/{_path(method)}", "other=1")


@pytest.mark.parametrize("root", ["/upload/bigquery/v2", "/resumable/upload/bigquery/v2"])
def test_an_address_of_uploads_names_no_method(root: str) -> None:
    with pytest.raises(NotFoundError, match="is not a method"):
        route("POST", f"{root}/projects/p/jobs", "")


@pytest.mark.parametrize(
    "query",
    [
        "access_token=x",
        "oauth_token=x",
        "callback=f",
        "alt=media",
        "alt=proto",
        "upload_protocol=raw",
        "maxResults=1&maxResults=2",
        "%ff=1",
        "&".join(f"a{i}=1" for i in range(100)),
    ],
)
def test_query_parameters_outside_the_list_are_refused(query: str) -> None:
    with pytest.raises((RefusedError, InvalidRequestError)):
        route("GET", "/projects/p/datasets", query)


def test_a_get_sent_as_a_post_reads_its_form() -> None:
    call = route("POST", "/projects/p/queries/j", "maxResults=3", override="GET")
    assert call.method == "jobs.getQueryResults"
    assert call.parameters == {"maxResults": "3"}


def test_a_patch_sent_as_a_post_keeps_its_address() -> None:
    call = route("POST", "/projects/p/datasets/d/tables/t", "fields=id", override="PATCH")
    assert (call.method, call.fields) == ("tables.patch", "id")


@pytest.mark.parametrize(
    ("http_method", "override"),
    [("POST", "DELETE"), ("POST", "PUT"), ("GET", "GET"), ("DELETE", "PATCH")],
)
def test_no_other_override_is_accepted(http_method: str, override: str) -> None:
    with pytest.raises(RefusedError, match="override"):
        route(http_method, "/projects/p/queries", "", override=override)


@given(
    http_method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]) | st.text(max_size=8),
    path=st.text(max_size=80)
    | st.lists(
        st.sampled_from(["projects", "p", "datasets", "d", "tables", "jobs", "queries", "%2F"])
        | st.text(max_size=6),
        max_size=8,
    ).map(lambda parts: "/" + "/".join(parts)),
    query=st.text(max_size=60),
    override=st.just("") | st.text(max_size=5),
)
def test_any_address_gives_a_call_or_an_error_of_ours(
    http_method: str, path: str, query: str, override: str
) -> None:
    with contextlib.suppress(KeystileError):
        call = route(http_method, path, query, override=override)
        assert METHODS[call.method].verb == (override or http_method)
