from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.model.errors import InvalidRequestError
from keystile.wire.partial import select

_RESOURCE: dict[str, object] = {
    "kind": "k",
    "jobReference": {"projectId": "p", "jobId": "j"},
    "schema": {"fields": [{"name": "a", "type": "STRING"}, {"name": "b", "type": "INTEGER"}]},
    "rows": [msgspec.Raw(b'{"f":[{"v":"1"}]}')],
}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("kind", {"kind": "k"}),
        ("kind,nothing", {"kind": "k"}),
        ("jobReference/jobId", {"jobReference": {"jobId": "j"}}),
        ("jobReference(jobId),kind", {"kind": "k", "jobReference": {"jobId": "j"}}),
        ("schema/fields/name", {"schema": {"fields": [{"name": "a"}, {"name": "b"}]}}),
        ("schema(fields(name))", {"schema": {"fields": [{"name": "a"}, {"name": "b"}]}}),
        ("jobReference/jobId,jobReference", {"jobReference": _RESOURCE["jobReference"]}),
        ("jobReference,jobReference(jobId)", {"jobReference": _RESOURCE["jobReference"]}),
        (
            "jobReference/jobId,jobReference/projectId",
            {"jobReference": _RESOURCE["jobReference"]},
        ),
        ("rows/f/v", {"rows": [{"f": [{"v": "1"}]}]}),
        ("*/jobId", {"jobReference": {"jobId": "j"}, "schema": {}, "rows": [{}]}),
        (
            "*/jobId,jobReference/projectId",
            {"jobReference": _RESOURCE["jobReference"], "schema": {}, "rows": [{}]},
        ),
        ("*,jobReference/jobId", _RESOURCE),
        ("kind/below", {}),
        ("*", _RESOURCE),
        ("", _RESOURCE),
    ],
)
def test_only_what_is_named_is_kept(fields: str, expected: object) -> None:
    assert select(_RESOURCE, fields) == expected


@pytest.mark.parametrize(
    "fields", [",", "a(", "a(b", "a)", "a//b", "a b", "/", "a," * 5000, "a(" * 500, "a/" * 99 + "a"]
)
def test_malformed_fields_are_refused(fields: str) -> None:
    with pytest.raises(InvalidRequestError):
        select(_RESOURCE, fields)


@given(st.text(alphabet="ab/(),* ", max_size=40))
def test_any_text_selects_or_is_refused(fields: str) -> None:
    try:
        kept = select({"a": {"b": 1, "a": [{"b": 2}]}, "b": 3}, fields)
    except InvalidRequestError:
        return
    assert kept.keys() <= {"a", "b"}
