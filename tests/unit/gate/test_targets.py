from __future__ import annotations

from typing import Any

import pytest

from keystile.gate import targets
from keystile.model.decision import Decision, Effect, RowFilter
from keystile.model.errors import InvalidRequestError, NotFoundError, RefusedError
from keystile.model.facts import Redefined
from keystile.model.schema import ColumnRef, Field, Table, TableId, TableKind

PLAIN, TAGGED = Field("id", "INT64"), Field("ssn", "STRING", policy_tags=("tag",))


def named(table: str, dataset: str = "d") -> TableId:
    return TableId("p", dataset, table)


KNOWN = {
    one.id: one
    for one in (
        Table(named("t"), TableKind.TABLE, (PLAIN,), "1"),
        Table(named("tagged"), TableKind.TABLE, (Field("s", "STRUCT", fields=(TAGGED,)),), "1"),
        Table(named("view"), TableKind.VIEW, (PLAIN,), "1"),
        Table(named("then"), TableKind.SNAPSHOT, (PLAIN,), "1"),
    )
}


class Objects:
    async def table(self, id: TableId) -> Table:  # noqa: A002 - the word of the port
        if id not in KNOWN:
            raise NotFoundError(f"Not found: Table {id}")
        return KNOWN[id]


OBJECTS: Any = Objects()


async def test_a_table_is_found_and_what_is_absent_or_hidden_is_none() -> None:
    assert await targets.target(named("t"), OBJECTS) is KNOWN[named("t")]
    assert await targets.target(named("nothing"), OBJECTS) is None


@pytest.mark.parametrize(
    ("id_", "error"),
    [
        (named("view"), InvalidRequestError),
        (named("then"), InvalidRequestError),
        (named("t$20240101"), NotFoundError),
        (named("t@0"), NotFoundError),
        (named("t*"), NotFoundError),
        (named("t", "_hidden"), NotFoundError),
        (named("TABLES", "INFORMATION_SCHEMA"), NotFoundError),
    ],
)
async def test_nothing_but_a_table_is_written_to(id_: TableId, error: type[Exception]) -> None:
    with pytest.raises(error):
        await targets.target(id_, OBJECTS)


def test_columns_go_with_the_rows_that_a_job_replaces() -> None:
    assert targets.redefined(named("t"), replaced=True) == (Redefined(ColumnRef(named("t"), ())),)
    assert targets.redefined(named("t"), replaced=False) == ()


def test_rows_that_nobody_was_shown_were_replaced() -> None:
    filters = (RowFilter(named("t"), "own-rows", "TRUE"),)
    decision = Decision(Effect.ALLOW, (), "p1", row_filters=filters)
    with pytest.raises(RefusedError, match="would replace them"):
        targets.refuse_to_replace(named("t"), decision)
    targets.refuse_to_replace(named("other"), decision)
