from __future__ import annotations

import pytest

from keystile.model.errors import InvalidRequestError, RefusedError
from keystile.model.schema import TableId
from keystile.wire.targets import Clustering, Reference, configuration_of, named_table, reference


def test_a_table_lies_in_the_project_of_the_request_unless_it_says_so() -> None:
    assert named_table("p", Reference("d", "t"), "x") == TableId("p", "d", "t")
    assert named_table("p", Reference("d", "t", "q"), "x") == TableId("q", "d", "t")


@pytest.mark.parametrize("name", ["t$20240101", "t@-3600000", "t*"])
def test_a_part_or_an_earlier_state_is_refused(name: str) -> None:
    with pytest.raises(RefusedError, match=r"`x` .* is a part or an earlier state"):
        named_table("p", Reference("d", name), "x")


@pytest.mark.parametrize(
    "given", [Reference("d", ""), Reference("d", "a.b"), Reference("d.e", "t"), Reference("d", "`")]
)
def test_what_is_no_name_is_refused(given: Reference) -> None:
    with pytest.raises(InvalidRequestError, match="`x` does not name a table"):
        named_table("p", given, "x")


def test_what_was_said_is_written_with_full_names() -> None:
    table = reference(TableId("p", "d", "t"))
    assert configuration_of(Clustering(("a",)), table=table) == {
        "fields": ["a"],
        "table": {"projectId": "p", "datasetId": "d", "tableId": "t"},
    }
