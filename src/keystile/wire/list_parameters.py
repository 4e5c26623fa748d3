"""The query parameters of methods that give rows and lists, page by page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from keystile.model.errors import InvalidRequestError, RefusedError
from keystile.wire.paths import Call
from keystile.wire.requests import DEFAULT_TIMEOUT_MS, JobsRequest, PageRequest
from keystile.wire.strict import Int64, int64

# The first one, which leaves it to the other option, comes with each query of Java's client.
TimestampFormat = Literal["TIMESTAMP_OUTPUT_FORMAT_UNSPECIFIED", "FLOAT64", "INT64"]


def parse_page(call: Call) -> PageRequest:
    """Read the query parameters of jobs.getQueryResults, tabledata.list and the lists.

    Raises `InvalidRequestError` naming the parameter.
    """
    given = call.parameters
    timestamp_format = given.get("formatOptions.timestampOutputFormat", "")
    if timestamp_format and timestamp_format not in get_args(TimestampFormat):
        raise RefusedError(f"the timestamp format `{timestamp_format[:40]}` is not served")
    int64_wanted = truth_value(given, "formatOptions.useInt64Timestamp")
    return PageRequest(
        location=given.get("location", ""),
        page_token=given.get("pageToken", ""),
        start_index=int64(given.get("startIndex"), "startIndex"),
        max_results=int64(given.get("maxResults"), "maxResults"),
        timeout_ms=wait_ms(given.get("timeoutMs")),
        use_int64_timestamp=int64_wanted or timestamp_format == "INT64",
        selected_fields=tuple(filter(None, given.get("selectedFields", "").split(","))),
    )


def parse_jobs(call: Call) -> JobsRequest:
    """Read the query parameters of jobs.list. Raises `InvalidRequestError` naming the parameter.

    `allUsers` is understood and changes nothing: an agent sees its own jobs.
    """
    given = call.parameters
    truth_value(given, "allUsers")
    state, projection = (given.get(word, "").lower() for word in ("stateFilter", "projection"))
    if state not in ("", "pending", "running", "done"):
        raise InvalidRequestError("`stateFilter` must be `pending`, `running` or `done`")
    if projection not in ("", "full", "minimal"):
        raise InvalidRequestError("`projection` must be `full` or `minimal`")
    return JobsRequest(
        state=state,
        created_from=int64(given.get("minCreationTime"), "minCreationTime"),
        created_until=int64(given.get("maxCreationTime"), "maxCreationTime"),
        parent=given.get("parentJobId", ""),
        full=projection == "full",
        page_token=given.get("pageToken", ""),
        max_results=int64(given.get("maxResults"), "maxResults"),
    )


def truth_value(given: Mapping[str, str], name: str) -> bool:
    """Read a query parameter that is true or false; false where it is absent.

    Raises `InvalidRequestError` naming it.
    """
    value = given.get(name, "false").lower()
    if value not in ("true", "false"):
        raise InvalidRequestError(f"`{name}` is not a truth value")
    return value == "true"


def wait_ms(value: Int64 | None) -> int:
    """Read `timeoutMs`, or say how long to wait where it is not said."""
    wanted = int64(value, "timeoutMs")
    return DEFAULT_TIMEOUT_MS if wanted is None else wanted
