from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keystile.gate.by_statement import ByStatement
from keystile.gate.own_jobs import OwnJobs
from keystile.gate.routine_changes import RoutineChanges
from keystile.googlesql.inline import InlineRunner
from keystile.model.errors import (
    InvalidQueryError,
    InvalidRequestError,
    NotFoundError,
    PreconditionError,
    RefusedError,
)
from keystile.model.schema import Argument, Routine, RoutineId, RoutineKind, SqlType
from keystile.wire.routines import NewRoutine

ID = RoutineId("acme-shop", "lab", "f")
ROUTINE = Routine(ID, RoutineKind.SCALAR, "SQL", (Argument("x", SqlType("INT64")),), " x + 1\n")
NEW = NewRoutine(ROUTINE)
PATH = "`acme-shop`.`lab`.`f`"
RUNNER = InlineRunner()


class FakeMetadata:
    """Says what there is `now`; None for nothing that the agent may know of."""

    def __init__(self) -> None:
        self.now: dict[str, Any] | None = {
            "routineType": "SCALAR_FUNCTION",
            "definitionBody": "x",
            "etag": "e1",
        }

    async def routine(self, _principal: Any, id_: RoutineId) -> dict[str, Any]:
        if self.now is None:
            raise NotFoundError(f"Not found: Routine {id_}")
        return self.now


@pytest.fixture
def metadata() -> FakeMetadata:
    return FakeMetadata()


@pytest.fixture
def statements(bench: Any, one: Any) -> ByStatement:
    return ByStatement(one.duties, OwnJobs(bench.database), bench.planned_policy)


@pytest.fixture
def changes(statements: ByStatement, metadata: Any) -> RoutineChanges:
    return RoutineChanges(statements, metadata, RUNNER)


def asked(bench: Any) -> list[str]:
    return [event.body["sql"] for event in bench.events if event.kind in {"intent", "refused"}]


def text(body: str) -> NewRoutine:
    return NewRoutine(msgspec.structs.replace(ROUTINE, body=body))


async def test_what_is_made_is_on_record_and_answered(
    bench: Any, changes: RoutineChanges, metadata: FakeMetadata
) -> None:
    metadata.now = {"definitionBody": "x + 1", "etag": "e2"}
    made = await changes.create(bench.principal(), NEW)
    assert made == {"definitionBody": " x + 1\n", "etag": "e2"}
    assert asked(bench) == [f"CREATE FUNCTION {PATH}(`x` INT64) AS (\n x + 1\n\n)"]


async def test_what_is_replaced_and_dropped_is_on_record(
    bench: Any, changes: RoutineChanges
) -> None:
    await changes.replace(bench.principal(), NEW, '"e1"')
    await changes.delete(bench.principal(), ID)
    assert asked(bench) == [
        f"CREATE OR REPLACE FUNCTION {PATH}(`x` INT64) AS (\n x + 1\n\n)",
        f"DROP FUNCTION {PATH}",
    ]


async def test_what_is_so_already_needs_no_statement(
    bench: Any, changes: RoutineChanges, metadata: FakeMetadata
) -> None:
    argument = {"name": "x", "dataType": {"typeKind": "INT64"}}
    metadata.now = {
        "routineType": "SCALAR_FUNCTION",
        "definitionBody": "x + 1",
        "arguments": [argument],
        "etag": "e2",
    }
    told = await changes.replace(bench.principal(), NEW, "e1")
    assert (told["etag"], told["definitionBody"]) == ("e2", " x + 1\n")
    assert bench.events == []


async def test_another_state_than_the_client_knows_is_not_replaced(
    bench: Any, changes: RoutineChanges
) -> None:
    with pytest.raises(PreconditionError):
        await changes.replace(bench.principal(), NEW, "e0")
    assert bench.events == []
    await changes.replace(bench.principal(), NEW, "*")
    assert len(asked(bench)) == 1


async def test_what_people_approved_meanwhile_was_carried_out(
    bench: Any,
    one: Any,
    changes: RoutineChanges,
    metadata: FakeMetadata,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("keystile.gate.by_statement._WAIT_SECONDS", 0.05)
    bench.planner.ask_people()
    with pytest.raises(RefusedError, match="waits for approval"):
        await changes.replace(bench.principal(), NEW, "e1")
    await bench.vote()
    await one.watch()
    metadata.now = {"etag": "e2"}  # whoever must ask is not told the text
    assert await changes.replace(bench.principal(), NEW, "e1") == {"etag": "e2"}
    assert len(asked(bench)) == 1
    with pytest.raises(PreconditionError):
        await changes.replace(bench.principal(), text("x + 2"), "e1")


@pytest.mark.parametrize(
    "body",
    [
        "x) OPTIONS (description = 'a'",
        "x); DROP TABLE shop.customers; SELECT (1",
        "x) /* (",
        "x -- )",
        "x ) AS (x",
        "'a",
        "",
    ],
)
async def test_no_text_goes_on_beyond_its_brackets(
    bench: Any, changes: RoutineChanges, body: str
) -> None:
    if body == "x -- )":  # the brackets hold it, whatever its comment says
        await changes.create(bench.principal(), text(body))
        return
    with pytest.raises((InvalidRequestError, InvalidQueryError)):
        await changes.create(bench.principal(), text(body))
    assert bench.events == []


async def test_no_query_goes_on_beyond_its_statement(bench: Any, changes: RoutineChanges) -> None:
    table = msgspec.structs.replace(ROUTINE, kind=RoutineKind.TABLE_VALUED)
    for body in ("SELECT 1 AS a; DROP TABLE shop.customers", "SELECT 1 AS a;;"):
        with pytest.raises(InvalidQueryError):
            await changes.create(
                bench.principal(), NewRoutine(msgspec.structs.replace(table, body=body))
            )
    assert bench.events == []
    body = "SELECT 1 AS a; -- with an end of its own"
    await changes.create(bench.principal(), NewRoutine(msgspec.structs.replace(table, body=body)))


async def test_what_policy_denies_is_not_made(bench: Any, changes: RoutineChanges) -> None:
    bench.planner.decide_fails = RefusedError("agents make no functions")
    for doing in (
        changes.create(bench.principal(), NEW),
        changes.replace(bench.principal(), NEW, ""),
        changes.delete(bench.principal(), ID),
    ):
        with pytest.raises(RefusedError, match="no functions"):
            await doing
    assert bench.bigquery.started == []


async def test_what_is_hidden_cannot_be_told_from_what_is_absent(
    bench: Any, changes: RoutineChanges, metadata: FakeMetadata
) -> None:
    metadata.now = None
    with pytest.raises(NotFoundError):
        await changes.replace(bench.principal(), NEW, "")
    with pytest.raises(NotFoundError):
        await changes.delete(bench.principal(), ID)
    assert bench.events == []
