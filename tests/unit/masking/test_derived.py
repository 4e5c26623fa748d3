from __future__ import annotations

import pytest
from prove.shop import CUSTOMERS, PROJECT, Shop
from prove.trial import Court

from keystile.analysis.statement import Statement
from keystile.masking.derived import carried_down
from keystile.model.decision import ColumnMask
from keystile.model.errors import RefusedError
from keystile.model.masks import DefaultMask, NullMask
from keystile.model.schema import ColumnRef, Field, Table, TableId, TableKind


def _view(name: str, sql: str, *columns: str) -> Table:
    fields = tuple(Field(column, "STRING") for column in columns)
    return Table(TableId(PROJECT, "v", name), TableKind.VIEW, fields, "1", sql)


NAMES = _view(
    "names", "SELECT name AS n, email AS e, 'x' AS fixed FROM shop.customers", *"ne", "fixed"
)
BADGES = _view("badges", "SELECT n || e AS badge, n FROM v.names", "badge", "n")


class Source(Shop):
    async def table(self, id: TableId) -> Table:  # noqa: A002 - the port's own word
        views = {view.id: view for view in (NAMES, BADGES)}
        return views.get(id) or await super().table(id)


def _of(table: Table, *path: str) -> ColumnMask:
    return ColumnMask(ColumnRef(table.id, path), "l", DefaultMask())


async def _carried(court: Court, sql: str, *masks: ColumnMask) -> set[str]:
    analysed = await court.analyst.analyse(Statement(sql, PROJECT), Source())
    return {
        f"{mask.column.table.table}.{mask.column.path[0]}" for mask in carried_down(masks, analysed)
    }


async def test_mask_of_a_views_column_holds_for_what_it_derives_from(court: Court) -> None:
    """A label on a view alone once was no mask at all."""
    sql = "SELECT n FROM v.names"

    assert await _carried(court, sql, _of(NAMES, "n")) == {"customers.name"}
    analysed = await court.analyst.analyse(Statement(sql, PROJECT), Source())
    rewritten = await court.rewriter.rewrite(analysed, (_of(NAMES, "n"),))
    assert "IF(keystile_row.`name` IS NULL" in rewritten.sql


async def test_mask_goes_through_views_on_views(court: Court) -> None:
    found = await _carried(court, "SELECT badge FROM v.badges", _of(BADGES, "badge"))

    assert found == {"customers.name", "customers.email"}


async def test_mask_of_a_view_beneath_holds_above(court: Court) -> None:
    assert await _carried(court, "SELECT badge FROM v.badges", _of(NAMES, "n")) == {
        "customers.name"
    }


async def test_what_is_masked_beneath_keeps_that_mask(court: Court) -> None:
    own = ColumnMask(ColumnRef(CUSTOMERS.id, ("name",)), "l", NullMask())
    analysed = await court.analyst.analyse(Statement("SELECT n FROM v.names", PROJECT), Source())

    assert carried_down((own, _of(NAMES, "n")), analysed) == (own,)


async def test_unused_column_of_a_view_needs_no_mask(court: Court) -> None:
    assert await _carried(court, "SELECT e FROM v.names", _of(NAMES, "n")) == set()


async def test_column_that_derives_from_nothing_cannot_be_masked(court: Court) -> None:
    with pytest.raises(RefusedError, match=r"v\.names\.fixed"):
        await _carried(court, "SELECT fixed FROM v.names", _of(NAMES, "fixed"))


async def test_filter_on_a_masked_column_of_a_view_counts(court: Court) -> None:
    sql = "SELECT COUNT(*) FROM v.names WHERE n > 'A'"

    assert await _carried(court, sql, _of(NAMES, "n")) == {"customers.name"}
