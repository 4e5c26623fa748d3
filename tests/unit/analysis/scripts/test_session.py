from __future__ import annotations

from typing import Any

import pytest

from keystile.analysis.analysed import Analysed, InSession
from keystile.analysis.analyst import Analyst
from keystile.analysis.statement import Earlier, Statement
from keystile.googlesql.inline import InlineRunner
from keystile.model.errors import InvalidQueryError, NotFoundError, RefusedError
from keystile.model.facts import Action
from keystile.model.schema import Field, Parameter, SqlType, Table, TableId, TableKind


def named(table: str) -> TableId:
    return TableId("acme-shop", "shop", table)


CUSTOMERS = Table(
    named("customers"), TableKind.TABLE, (Field("id", "INT64"), Field("ssn", "STRING")), "1"
)
KEPT = Table(named("kept"), TableKind.TABLE, (Field("raw", "STRING"),), "1")


class Source:
    async def table(self, id: TableId) -> Table:  # noqa: A002 - the port's own word
        known = {table.id: table for table in (CUSTOMERS, KEPT)}
        if id not in known:
            raise NotFoundError(f"Not found: Table {id}")
        return known[id]

    async def routine(self, id: Any) -> Any:  # noqa: A002 - as above
        raise NotFoundError(f"Not found: Routine {id}")


@pytest.fixture(scope="module")
def runner() -> InlineRunner:
    return InlineRunner()


async def analysed(runner: InlineRunner, sql: str, *earlier: str | Earlier) -> Analysed:
    texts = tuple(
        Earlier(f"{one}\n;\n", f"{one}\n;\n") if isinstance(one, str) else one for one in earlier
    )
    statement = Statement(sql, "acme-shop", "shop", (), in_session=True, earlier=texts)
    source: Any = Source()
    return await Analyst(runner, 10_000).analyse(statement, source)


def of(found: Analysed) -> InSession:
    assert found.session is not None
    return found.session


def columns(found: Analysed) -> set[str]:
    return {".".join(use.column.path) for use in found.facts.columns}


MAKES = "CREATE TEMP TABLE kept AS SELECT id, ssn AS s FROM customers"


async def test_what_a_temporary_table_holds_is_known_later(runner: InlineRunner) -> None:
    found = await analysed(runner, "SELECT s FROM kept", MAKES)
    assert not found.facts.opaque
    assert columns(found) == {"id", "ssn"}
    assert [str(source) for source in found.facts.output[0].sources] != []
    assert [field.name for field in found.schema] == ["s"]
    # Policy decides on all of the session: what it was made from counts whatever is read of it.
    assert of(found).all_facts.reads == (CUSTOMERS.id,)
    assert of(found).temporary == ("kept",)
    counted = await analysed(runner, "SELECT COUNT(*) AS n FROM kept", MAKES)
    assert of(counted).all_facts.reads == (CUSTOMERS.id,)


async def test_the_table_of_a_dataset_was_taken_for_the_temporary_one(
    runner: InlineRunner,
) -> None:
    before = await analysed(runner, "SELECT * FROM kept")
    after = await analysed(runner, "SELECT * FROM kept", MAKES)
    again = await analysed(runner, "SELECT * FROM kept", MAKES, "DROP TABLE kept")
    assert [field.name for found in (before, after, again) for field in found.schema] == [
        "raw",
        "id",
        "s",
        "raw",
    ]
    with pytest.raises(RefusedError, match="on some ways"):
        await analysed(runner, "SELECT * FROM kept", f"IF RAND() < 1 THEN {MAKES}; END IF")


async def test_functions_and_variables_go_on(runner: InlineRunner) -> None:
    makes = "CREATE TEMP FUNCTION f(x STRING) AS (x)"
    found = await analysed(runner, "SELECT f(ssn) AS y FROM customers", makes)
    assert not found.facts.opaque
    assert columns(found) == {"ssn"}
    sets = "SET top = (SELECT MAX(ssn) FROM customers)"
    found = await analysed(runner, "SELECT top", "DECLARE top STRING", sets)
    assert columns(found) == {"ssn"}
    assert found.facts.statement == "SELECT"


@pytest.mark.parametrize(
    ("sql", "statement", "leaves", "several"),
    [
        ("SELECT 1 AS x", "SELECT", False, False),
        (MAKES, "CREATE_TABLE_AS_SELECT", True, False),
        ("CREATE TEMP TABLE t (x INT64)", "CREATE_TABLE", True, False),
        ("CREATE TEMP FUNCTION f() AS (1)", "CREATE_FUNCTION", True, False),
        ("CREATE TEMP FUNCTION f() AS (1); SELECT f()", "SCRIPT", True, True),
        ("DECLARE x INT64", "SCRIPT", True, True),
        ("EXECUTE IMMEDIATE 'CREATE TEMP TABLE t AS SELECT 1 AS x'", "SCRIPT", True, True),
        ("INSERT INTO kept (raw) VALUES ('x')", "INSERT", False, False),
        ("CREATE TABLE shop.made AS SELECT 1 AS x", "CREATE_TABLE_AS_SELECT", False, False),
        ("SELECT 1; SELECT 2", "SCRIPT", False, True),
    ],
)
async def test_what_a_text_leaves(
    runner: InlineRunner, sql: str, statement: str, *, leaves: bool, several: bool
) -> None:
    found = await analysed(runner, sql)
    assert not found.facts.opaque
    assert (found.facts.statement, of(found).leaves, of(found).several) == (
        statement,
        leaves,
        several,
    )
    assert {Action.SESSION} <= set(found.facts.actions) & set(of(found).all_facts.actions)


@pytest.mark.parametrize(
    "sql", ["INSERT INTO kept (id) VALUES (1)", "DROP TABLE kept", "TRUNCATE TABLE kept"]
)
async def test_a_change_of_a_temporary_table_is_left_too(runner: InlineRunner, sql: str) -> None:
    assert of(await analysed(runner, sql, MAKES)).leaves


async def test_what_was_written_before_is_no_business_of_this_text(runner: InlineRunner) -> None:
    writes = "INSERT INTO shop.kept (raw) VALUES ('x')"
    found = await analysed(runner, "SELECT 1 AS x", f"{MAKES}; {writes}")
    assert (found.facts.writes, found.facts.reads, columns(found)) == ((), (), set())
    assert of(found).all_facts.writes == (KEPT.id,)


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("BEGIN TRANSACTION", "a transaction"),
        ("BEGIN TRANSACTION; COMMIT TRANSACTION", "a transaction"),
        ("SELECT @@row_count", "a system variable"),
        ("SET @@time_zone = 'UTC'", "@@time_zone"),
        ("#legacySQL\nSELECT 1", "#legacySQL"),
        ("CALL BQ.ABORT_SESSION()", "CALL"),
    ],
)
async def test_what_is_not_followed_is_opaque(runner: InlineRunner, sql: str, what: str) -> None:
    for earlier in ((), (MAKES,)):
        found = await analysed(runner, sql, *earlier)
        assert any(what in one.what for one in found.facts.opaque)


async def test_places_are_those_of_the_text_itself(runner: InlineRunner) -> None:
    found = await analysed(runner, "SELECT 1,\n  SESSION_USER()", MAKES)
    assert [(one.line, one.column) for one in found.facts.opaque] == [(2, 3)]
    with pytest.raises(NotFoundError) as error:
        await analysed(runner, "SELECT 1\n FROM nowhere", MAKES)
    assert error.value.place == (2, 7)
    with pytest.raises(InvalidQueryError, match=r"\[1:8\]"):
        await analysed(runner, "SELECT x FROM kept", MAKES)
    with pytest.raises(InvalidQueryError, match=r"Undeclared variable: y at \[1:5\]"):
        await analysed(runner, "SET y = 1", MAKES)


async def test_a_text_of_its_own_ends_nothing_of_another(runner: InlineRunner) -> None:
    for sql in ("END", "; DROP TABLE kept", "*/ SELECT 1"):
        with pytest.raises(InvalidQueryError):
            await analysed(runner, sql, MAKES)


def numbered(name: str, type_: str = "INT64") -> Parameter:
    return Parameter(name, SqlType(type_), {"value": "1"})


async def with_parameters(
    runner: InlineRunner, sql: str, given: tuple[Parameter, ...], earlier: Earlier
) -> Analysed:
    statement = Statement(sql, "acme-shop", "shop", given, in_session=True, earlier=(earlier,))
    source: Any = Source()
    return await Analyst(runner, 10_000).analyse(statement, source)


async def test_parameters_of_earlier_texts_are_known(runner: InlineRunner) -> None:
    text = "CREATE TEMP TABLE t AS SELECT {} AS x\n;\n"
    by_name = Earlier(text.format("@n"), "", (numbered("n"),))
    found = await with_parameters(runner, "SELECT x + @m FROM t", (numbered("m"),), by_name)
    assert not found.facts.opaque
    assert [one.name for one in of(found).parameters] == ["m"]
    by_place = Earlier(text.format("?"), "", (numbered("", "STRING"),))
    found = await with_parameters(runner, "SELECT x, ? + 1 AS y FROM t", (numbered(""),), by_place)
    assert [field.type for field in found.schema] == ["STRING", "INT64"]
    with pytest.raises(RefusedError, match="had another type before"):
        await with_parameters(runner, "SELECT @n", (numbered("n", "STRING"),), by_name)
    with pytest.raises(RefusedError, match="of the other kind"):
        await with_parameters(runner, "SELECT ?", (numbered(""),), by_name)


async def test_a_session_has_a_bound(runner: InlineRunner) -> None:
    with pytest.raises(RefusedError, match="bytes long"):
        await analysed(runner, "SELECT 1", *[MAKES] * 200)
