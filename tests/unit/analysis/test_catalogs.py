"""Texts share catalogs without seeing each other's tables."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keystile.analysis import catalogs
from keystile.analysis.resolve import Resolved, ResolveRequest, resolve
from keystile.analysis.scope import Scope, SpelledTable
from keystile.googlesql.engine import Engine
from keystile.model.errors import InvalidQueryError
from keystile.model.schema import Field, Table, TableId, TableKind

Names = tuple[tuple[str, ...], ...]


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


@pytest.fixture
def registered(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Begin without shared catalogs; gives what is registered."""
    catalogs._shared.pop(engine, None)
    made: list[object] = []
    register = engine.register

    def counted(catalog: object) -> int:
        made.append(catalog)
        return register(catalog)  # type: ignore[arg-type]

    monkeypatch.setattr(engine, "register", counted)
    return made


def scope(*paths: str, column: str = "id") -> Scope:
    tables = []
    for path in paths:
        parts = tuple(path.split("."))
        id_ = TableId(*("p", "d")[: 3 - len(parts)], *parts)
        fields = (Field(column, "INT64"),)
        tables.append(SpelledTable(parts, Table(id_, TableKind.TABLE, fields, "1")))
    return Scope(tuple(tables))


@pytest.fixture
def ask(
    engine: Engine,
    registered: list[object],  # noqa: ARG001 - none is shared before
) -> Callable[[str, Scope], Resolved]:
    return lambda sql, scope: resolve(engine, ResolveRequest(sql, scope))


def test_each_set_of_tables_and_each_spelling_shares_one_catalog(
    ask: Callable[[str, Scope], Resolved], registered: list[object]
) -> None:
    ask("SELECT one.id FROM d.one, p.d.two", scope("d.one", "p.d.two"))
    for sql, names in (
        ("SELECT id FROM d.one", scope("d.one")),
        ("SELECT id FROM p.d.one", scope("p.d.one")),
        ("SELECT 1 + 1", scope()),
        ("SELECT id FROM p.d.two JOIN p.d.one USING (id)", scope("p.d.one", "p.d.two")),
    ):
        ask(sql, names)
    assert len(registered) == 1


def test_no_error_suggests_a_table_of_another_text(ask: Callable[[str, Scope], Resolved]) -> None:
    ask("SELECT id FROM d.salaries", scope("d.salaries"))
    with pytest.raises(InvalidQueryError) as caught:
        ask("SELECT id FROM d.salarie, d.one", scope("d.one"))
    assert "salaries" not in caught.value.message


@pytest.mark.parametrize("spelled", ["d.salaries", "D.Salaries", "`d`.`sal\\x61ries`"])
def test_no_text_reads_a_table_that_only_another_one_named(
    ask: Callable[[str, Scope], Resolved], spelled: str
) -> None:
    ask("SELECT id FROM d.salaries", scope("d.salaries"))
    with pytest.raises(InvalidQueryError, match="not found"):
        ask(f"SELECT id FROM {spelled}, d.one", scope("d.one"))  # noqa: S608 - made here


def test_a_table_that_changed_is_not_resolved_as_it_was(
    ask: Callable[[str, Scope], Resolved],
) -> None:
    ask("SELECT old FROM d.one", scope("d.one", column="old"))
    ask("SELECT fresh FROM d.one", scope("d.one", column="fresh"))
    with pytest.raises(InvalidQueryError, match="old"):
        ask("SELECT old FROM d.one", scope("d.one", column="fresh"))


def test_one_path_may_stand_for_another_table_in_another_text(
    ask: Callable[[str, Scope], Resolved],
) -> None:
    for project in ("p", "q", "p"):
        id_ = TableId(project, "d", "one")
        table = Table(id_, TableKind.TABLE, (Field("id", "INT64"),), "1")
        found = ask("SELECT id FROM d.one", Scope((SpelledTable(("d", "one"), table),)))
        assert found.scans[0].table == id_


def test_what_is_shared_is_bounded(
    ask: Callable[[str, Scope], Resolved], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogs, "_MOST_TABLES", 4)
    for number in range(12):
        ask(f"SELECT id FROM d.t{number}", scope(f"d.t{number}"))  # noqa: S608 - made here
    known = catalogs._shared[engine]
    assert len(known) == catalogs._SHARED_CATALOGS
    assert all(len(one.tables) <= 4 for one in known)
