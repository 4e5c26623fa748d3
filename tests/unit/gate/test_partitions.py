"""Which partitions are left unnamed, of real queries as the analysis finds them."""

from __future__ import annotations

import msgspec
import pytest

from keystile.analysis.analyst import Analyst
from keystile.analysis.statement import Statement
from keystile.gate.partitions import unnamed_partitions
from keystile.gate.policy_tests import Declared
from keystile.googlesql.inline import InlineRunner
from keystile.model.decision import ColumnMask, Decision, Effect, RowFilter
from keystile.model.masks import NullMask
from keystile.model.schema import ColumnRef, Field, Table, TableId, TableKind

FIELDS = (Field("id", "INT64"), Field("day", "DATE"))
EVENTS = Table(TableId("p", "d", "events"), TableKind.TABLE, FIELDS, "1", partitioned_by="Day")
NUMBERED = msgspec.structs.replace(EVENTS, id=TableId("p", "d", "a_few"), partitioned_by="id")
PLAIN = msgspec.structs.replace(EVENTS, id=TableId("p", "d", "plain"), partitioned_by="")
VIEW = Table(
    TableId("p", "d", "seen"), TableKind.VIEW, FIELDS, "1", "SELECT id, day FROM p.d.events"
)
ALLOWED = Decision(Effect.ALLOW, (), "p")
DAY, NUMBER = "p.d.events.Day", "p.d.a_few.id"


async def unnamed(sql: str, decision: Decision = ALLOWED) -> list[str]:
    declared = Declared()
    for table in (EVENTS, NUMBERED, PLAIN, VIEW):
        declared.add(table)
    analysed = await Analyst(InlineRunner(), 1 << 18).analyse(Statement(sql, "p"), declared)
    assert not analysed.facts.opaque
    return [*unnamed_partitions(analysed, decision)]


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("SELECT id FROM d.events LIMIT 1", [DAY]),
        ("SELECT id, day FROM d.events", [DAY]),
        ("SELECT id FROM d.events WHERE id = 1", [DAY]),
        ("SELECT id FROM d.events WHERE day = '2026-01-01'", []),
        ("SELECT id FROM d.seen", [DAY]),
        ("SELECT a.day FROM d.events AS a, d.a_few AS b WHERE a.day = b.day", [NUMBER]),
        ("SELECT a.id FROM d.events AS a, d.a_few AS b", [NUMBER, DAY]),
        ("SELECT a.id FROM d.events AS a JOIN d.a_few AS b USING (id)", [DAY]),
        ("SELECT id FROM d.plain", []),
        ("SELECT 1", []),
        ("INSERT INTO d.events (id) VALUES (1)", []),
    ],
)
async def test_partitions_that_a_query_does_not_ask_of_are_named(
    sql: str, names: list[str]
) -> None:
    assert await unnamed(sql) == names


async def test_a_condition_that_would_leave_out_nothing_is_not_proposed() -> None:
    mask = ColumnMask(ColumnRef(EVENTS.id, ("day",)), "x", NullMask())
    masked = msgspec.structs.replace(ALLOWED, masks=(mask,))
    assert await unnamed("SELECT id FROM d.events", masked) == []
    rows = RowFilter(EVENTS.id, "own", "id = 1")
    filtered = msgspec.structs.replace(ALLOWED, row_filters=(rows,))
    assert await unnamed("SELECT id FROM d.events", filtered) == []
