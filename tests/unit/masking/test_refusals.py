# ruff: noqa: E501, S608 - statements read best on one line, and are no injections here
"""A refusal to mask names what it is about and where, and nothing that lies beneath a view."""

from __future__ import annotations

import pytest
from prove.shop import CUSTOMERS, DATASET, MASKS, PROJECT, Shop
from prove.trial import Court

from keystile.analysis.places import line_and_column
from keystile.analysis.statement import Statement
from keystile.model.decision import ColumnMask, RowFilter
from keystile.model.errors import RefusedError
from keystile.model.masks import KeyedHashMask
from keystile.model.schema import (
    ColumnRef,
    Field,
    Parameter,
    Routine,
    RoutineId,
    SqlType,
    Table,
    TableId,
    TableKind,
)

SECRET = "beneath_it"
HIDDEN = Table(TableId(PROJECT, DATASET, SECRET), CUSTOMERS.kind, CUSTOMERS.fields, "1")
TEXTS = {
    "seen": f"SELECT id, ssn, age FROM {DATASET}.{SECRET}",
    "deep": f"SELECT id, ssn FROM {DATASET}.seen",
    "hinted": f"SELECT id, ssn FROM {DATASET}.{SECRET} @{{force_index = x}}",
    "deep_hinted": f"SELECT id FROM {DATASET}.seen @{{force_index = x}}",
    "cased": f"SELECT id FROM {DATASET}.{SECRET.upper()}",
}
FIELDS = (Field("id", "INT64"), Field("ssn", "STRING"), Field("age", "INT64"))
HASHED = tuple(
    ColumnMask(ColumnRef(table.id, ("ssn",)), "pii", KeyedHashMask())
    for table in (CUSTOMERS, HIDDEN)
)
PLAIN = (
    *(mask for mask in MASKS if mask.column.table == CUSTOMERS.id),
    *(
        ColumnMask(ColumnRef(HIDDEN.id, mask.column.path), mask.label, mask.mask)
        for mask in MASKS
        if mask.column.table == CUSTOMERS.id
    ),
)


class Source(Shop):
    async def table(self, id: TableId) -> Table:  # noqa: A002 - the port's own word
        if id.table.lower() == SECRET:
            return Table(id, HIDDEN.kind, HIDDEN.fields, "1")
        if id.table in TEXTS:
            text = TEXTS[id.table]
            count = text.partition(" FROM ")[0].count(",") + 1
            return Table(id, TableKind.VIEW, FIELDS[:count], "1", text)
        return await super().table(id)

    async def routine(self, id: RoutineId) -> Routine:  # noqa: A002 - the port's own word
        raise NotImplementedError


# The text, with `¶` in front of the place that must be told; what is named; words of the hint.
REFUSED = [
    (
        "UPDATE ¶customers SET name = 'x' WHERE ssn = '1'",
        PLAIN,
        "reads `ssn` of the table that it changes",
        "choose rows by `id`",
    ),
    (
        "INSERT INTO\n\t¶customers (id, ssn) SELECT id, ssn FROM customers",
        PLAIN,
        "its mask would be written over the values of `acme-shop.shop.customers.ssn`",
        "not protected",
    ),
    (
        "INSERT INTO customers (id, ssn) SELECT id, ssn FROM ¶seen",
        PLAIN,
        "a column beneath the view `acme-shop.shop.seen` is masked for you",
        "leave this one out",
    ),
    (
        "CREATE VIEW x AS SELECT ssn FROM ¶customers",
        HASHED,
        "`acme-shop.shop.customers.ssn` is masked with a key, which no view may hold",
        "CREATE TABLE AS SELECT",
    ),
    (
        "CREATE VIEW x AS SELECT ssn FROM ¶deep",
        HASHED,
        "a column beneath the view `acme-shop.shop.deep` is masked with a key",
        "CREATE TABLE AS SELECT",
    ),
    (
        "CREATE TABLE x COPY ¶customers",
        PLAIN,
        "columns masked for you such as `acme-shop.shop.customers.",
        "CREATE TABLE AS SELECT",
    ),
    (
        "ALTER TABLE ¶customers RENAME COLUMN name TO n",
        PLAIN,
        "`acme-shop.shop.customers` has masked columns",
        "to rename it",
    ),
    (
        "SELECT 1;\n\tSELECT ssn FROM ¶customers @{force_index = x}",
        PLAIN,
        "`acme-shop.shop.customers` is read through a filter or masks and cannot be read with a hint",
        "leave that out",
    ),
    (
        "SELECT '😀', ssn FROM ¶hinted",
        PLAIN,
        "a table beneath the view `acme-shop.shop.hinted` is read through a filter or masks",
        "leave that out",
    ),
    (
        "SELECT 1; EXECUTE IMMEDIATE ¶'SELECT ssn FROM customers'",
        HASHED,
        "masked with a key, which EXECUTE IMMEDIATE has not",
        "write the statement out",
    ),
    (
        "SELECT id FROM ¶seen @{force_index = x}",
        (),
        "the view `acme-shop.shop.seen` cannot be read with a hint",
        "leave that out",
    ),
    (
        "SELECT id FROM `acme-shop.shop.customers` JOIN ¶`acme-shop.shop.seen` @{a = x} USING (id)",
        (),
        "the view `acme-shop.shop.seen` cannot be read with a hint",
        "leave that out",
    ),
    (
        "SELECT id FROM customers JOIN\r\n¶deep_hinted USING (id)",
        (),
        "a view of this query reads another view in a form that is not understood",
        "read tables or other views",
    ),
    (
        "SELECT c.id FROM ¶cased AS c JOIN seen USING (id)",
        (),
        "the views of this query read tables whose names differ by upper and lower case only",
        "queries of their own",
    ),
]


async def refusal(
    court: Court, sql: str, masks: tuple[ColumnMask, ...], parameters: tuple[Parameter, ...] = ()
) -> RefusedError:
    statement = Statement(sql, PROJECT, DATASET, parameters)
    try:
        await court.rewriter.rewrite(await court.analyst.analyse(statement, Source()), masks)
    except RefusedError as error:
        return error
    pytest.fail("it was not refused")


FILTERED = [
    ("DELETE FROM ¶customers WHERE id = 1", "rows of `acme-shop.shop.customers`, so `DELETE`"),
    ("CREATE TABLE x COPY\n ¶customers", "so it cannot be copied as it is"),
    ("ALTER TABLE ¶customers RENAME COLUMN name TO n", "none of its columns may be renamed"),
    ("SELECT 1; TRUNCATE TABLE ¶customers", "so `TRUNCATE_TABLE` might change others"),
]


@pytest.mark.parametrize(("marked", "what"), FILTERED)
async def test_a_refusal_for_a_row_filter_is_placed(court: Court, marked: str, what: str) -> None:
    before, _, after = marked.partition("¶")
    statement = Statement(before + after, PROJECT, DATASET)
    analysed = await court.analyst.analyse(statement, Source())
    with pytest.raises(RefusedError) as caught:
        await court.rewriter.rewrite(analysed, (), (RowFilter(CUSTOMERS.id, "few", "id < 9"),))
    assert what in caught.value.message
    assert caught.value.place == line_and_column(before, len(before))


async def test_a_script_of_too_many_parts_is_refused_where_they_are_too_many(court: Court) -> None:
    refused = await refusal(court, "SELECT 1;\n" * 1_002, PLAIN)
    assert "more than 1,000" in refused.message
    assert refused.place == (1_001, 1)


@pytest.mark.parametrize(("marked", "masks", "what", "hint"), REFUSED)
async def test_a_refusal_to_mask_is_placed_and_names_nothing_hidden(
    court: Court, marked: str, masks: tuple[ColumnMask, ...], what: str, hint: str
) -> None:
    before, _, after = marked.partition("¶")

    refused = await refusal(court, before + after, masks)

    assert what in refused.message
    assert hint in refused.hint
    lines = before.replace("\r\n", "\n").split("\n")
    assert refused.place == (len(lines), len(lines[-1]) + 1)
    assert SECRET not in str(refused).lower()


async def test_positional_parameters_beside_a_keyed_hash_are_refused_where_the_table_stands(
    court: Court,
) -> None:
    parameters = (Parameter("", SqlType("INT64"), {"value": "1"}),)

    refused = await refusal(court, "SELECT ssn FROM seen WHERE id = ?", HASHED, parameters)

    assert "a column beneath the view `acme-shop.shop.seen`" in refused.message
    assert "`@name`" in refused.hint
    assert refused.place == (1, 17)
