from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from keystile.gate.basis import ABSENT, Digests, Noted, RestsOn, SchemaLog, digest_of_object
from keystile.gate.policy_tests import Declared
from keystile.model.errors import NotFoundError
from keystile.model.schema import Field, Routine, RoutineId, RoutineKind, Table, TableId, TableKind
from keystile.policy.context import Context
from keystile.recording.events import EventKind

TABLE = Table(TableId("p", "d", "t"), TableKind.TABLE, (Field("a", "INT64"),), "e1")
ROUTINE = Routine(RoutineId("p", "d", "t"), RoutineKind.SCALAR, "SQL", (), "1", etag="e1")
CONTEXT = Context("p", datetime(2026, 1, 31, tzinfo=UTC))
DAY = 24 * 60 * 60


def rests_on(*tables: Table) -> RestsOn:
    return Digests().rests_on(CONTEXT, {str(one.id): one for one in tables}, beside=False)


async def test_what_is_asked_is_noted_and_what_is_not_there_too() -> None:
    declared = Declared()
    declared.add(TABLE)
    noted = Noted(declared)
    assert await noted.table(TABLE.id) == TABLE
    with pytest.raises(NotFoundError):
        await noted.table(TableId("p", "d", "gone"))
    with pytest.raises(NotFoundError):
        await noted.routine(ROUTINE.id)
    assert noted.objects == {"p.d.t": TABLE, "p.d.gone": None, "p.d.t()": None}
    found = Digests().rests_on(CONTEXT, noted.objects, beside=False)
    assert found.basis.objects == {
        "p.d.t": digest_of_object(TABLE),
        "p.d.gone": ABSENT,
        "p.d.t()": ABSENT,
    }
    assert found.objects == {digest_of_object(TABLE): TABLE}


def test_new_rows_make_no_other_schema_and_a_new_column_does() -> None:
    rows = msgspec.structs.replace(TABLE, etag="e2")
    column = msgspec.structs.replace(TABLE, fields=(*TABLE.fields, Field("b", "STRING")))
    tagged = msgspec.structs.replace(TABLE, fields=(Field("a", "INT64", policy_tags=("x",)),))
    assert digest_of_object(rows) == digest_of_object(TABLE)
    assert len({digest_of_object(one) for one in (TABLE, column, tagged, ROUTINE)}) == 4


def test_a_digest_is_never_that_of_another_object() -> None:
    digests = Digests()
    for number in range(10_000):
        table = msgspec.structs.replace(TABLE, fields=(Field(f"c{number % 7}", "INT64"),))
        assert digests.of(table) == digest_of_object(table)


def test_a_schema_is_written_once_a_day() -> None:
    now = [DAY * 10.0]
    log = SchemaLog(lambda: now[0])
    [event] = log.due(rests_on(TABLE))
    assert event.kind is EventKind.SCHEMA
    assert msgspec.convert(event.body["object"], Table) == msgspec.structs.replace(TABLE, etag="")
    assert log.due(rests_on(TABLE))  # not durable yet
    log.written((event,))
    assert not log.due(rests_on(TABLE))
    assert log.due(rests_on(msgspec.structs.replace(TABLE, fields=())))
    now[0] += DAY
    assert log.due(rests_on(TABLE))
