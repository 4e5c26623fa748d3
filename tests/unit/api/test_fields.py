from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.api import fields
from keystile.model.errors import InvalidRequestError

ANSWER = {
    "kind": "k",
    "jobReference": {"projectId": "p", "jobId": "j"},
    "schema": {"fields": [{"name": "a", "type": "STRING"}, {"name": "b", "type": "INTEGER"}]},
    "rows": [{"f": [{"v": "1"}, {"v": None}]}, {"f": [{"v": "2"}, {"v": "x"}]}],
    "totalRows": "2",
    "pageToken": None,
}


def kept(text: str, answer: Any = ANSWER) -> Any:
    return json.loads(fields.apply(fields.parse(text), json.dumps(answer).encode()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kind", {"kind": "k"}),
        ("absent", {}),
        ("pageToken", {"pageToken": None}),
        ("kind/below", {}),
        ("jobReference/jobId,kind", {"kind": "k", "jobReference": {"jobId": "j"}}),
        ("jobReference(jobId)", {"jobReference": {"jobId": "j"}}),
        ("schema(fields(name))", {"schema": {"fields": [{"name": "a"}, {"name": "b"}]}}),
        ("schema/fields/type,totalRows", {
            "schema": {"fields": [{"type": "STRING"}, {"type": "INTEGER"}]}, "totalRows": "2",
        }),
        ("*", ANSWER),
        ("*/jobId", {"jobReference": {"jobId": "j"}, "schema": {}, "rows": [{}, {}]}),
        ("*/jobId,jobReference/projectId", {
            "jobReference": {"projectId": "p", "jobId": "j"}, "schema": {}, "rows": [{}, {}],
        }),
        ("rows/f/v", {"rows": ANSWER["rows"]}),
        ("schema,schema/fields/name", {"schema": ANSWER["schema"]}),
        ("schema/fields/name,schema", {"schema": ANSWER["schema"]}),
        ("jobReference/jobId,jobReference/projectId", {"jobReference": ANSWER["jobReference"]}),
    ],
)  # fmt: skip
def test_what_is_kept(text: str, expected: object) -> None:
    assert kept(text) == expected


def test_the_python_client_s_own_selection_leaves_the_schema_out() -> None:
    answer = kept("jobReference,totalRows,pageToken,rows")
    assert set(answer) == {"jobReference", "totalRows", "pageToken", "rows"}
    assert answer["rows"] == ANSWER["rows"]


@pytest.mark.parametrize(
    "text",
    ["", ",", "a,", "a(", "a()", "a(b", "a)", "a//b", "/a", "a/", "a b", "a(b)c", "a(b)/c", "a*",
     "a%2Cb", "ä", "a\n", "a/" * 40 + "a", "a(" * 40 + "a" + ")" * 40, "a" * 3000],
)  # fmt: skip
def test_what_is_no_selection_is_refused_in_words(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="Invalid field selection"):
        fields.parse(text)


@given(st.text(alphabet="ab*/(),", max_size=60))
def test_any_text_either_parses_or_is_refused(text: str) -> None:
    try:
        tree = fields.parse(text)
    except InvalidRequestError:
        return
    fields.apply(tree, json.dumps(ANSWER).encode())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from("abc"), json_values))
def test_a_star_keeps_everything_and_a_name_keeps_exactly_its_value(answer: dict[str, Any]) -> None:
    assert kept("*", answer) == answer
    assert kept("a", answer) == {name: answer[name] for name in answer if name == "a"}
