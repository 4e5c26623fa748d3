"""Texts of a session: each is masked as a part of all of it, and sent alone."""

from __future__ import annotations

from typing import Any

import pytest
from prove.shop import MASKS
from prove.trial import Court, masks_for

from keystile.analysis.statement import Earlier, Statement
from keystile.masking.rewrite import Rewritten
from keystile.model.decision import ColumnMask, RowFilter
from keystile.model.errors import RefusedError
from keystile.model.masks import KeyedHashMask, NullMask
from keystile.model.schema import ColumnRef, TableId

CUSTOMERS = TableId("acme-shop", "shop", "customers")
MAKES = "CREATE TEMP TABLE kept AS SELECT id, name, ssn AS number FROM customers"


class Session:
    """A session whose texts are rewritten one after the other."""

    def __init__(self, court: Court) -> None:
        self._court = court
        self.texts: list[Earlier] = []

    async def run(
        self, sql: str, masks: tuple[ColumnMask, ...] | None = None, *filters: RowFilter
    ) -> Rewritten:
        earlier = tuple(self.texts)
        statement = Statement(sql, "acme-shop", "shop", in_session=True, earlier=earlier)
        analysed: Any = await self._court.analyst.analyse(statement, self._court.source)
        assert not analysed.facts.opaque
        wanted = masks_for(analysed) if masks is None else masks
        found = await self._court.rewriter.rewrite(analysed, wanted, filters)
        ending = analysed.session.ending
        self.texts.append(Earlier(sql + ending, found.sql + ending))
        return found


@pytest.fixture
def session(court: Court) -> Session:
    return Session(court)


async def test_every_text_is_masked_and_sent_alone(session: Session) -> None:
    first = await session.run(f"{MAKES}; -- é")
    assert first.sql.startswith("CREATE TEMP TABLE kept AS SELECT id, name, ssn AS number FROM (")
    assert first.sql.endswith("; -- é")
    second = await session.run("SELECT number FROM kept")
    assert (second.sql, second.parameters) == ("SELECT number FROM kept", ())
    assert second.masked == first.masked  # what it reads was read masked
    assert [(part.at, part.sql) for part in second.parts] == [(0, "SELECT number FROM kept")]
    third = await session.run(
        "SELECT k.number = c.ssn FROM kept AS k JOIN customers AS c USING (id)"
    )
    assert third.sql.count("kept") == 1
    assert [str(column) for column in third.masked] != []


async def test_the_key_goes_along_with_the_text_that_needs_it(session: Session) -> None:
    masks = (ColumnMask(ColumnRef(CUSTOMERS, ("name",)), "pii", KeyedHashMask()),)
    assert (await session.run(MAKES, masks)).hidden_parameters
    assert not (await session.run("SELECT name FROM kept", masks)).hidden_parameters
    assert (await session.run("SELECT name FROM customers", masks)).hidden_parameters


@pytest.mark.parametrize("weaker", [True, False])
async def test_what_was_read_under_other_rights_is_not_gone_on_from(
    session: Session, *, weaker: bool
) -> None:
    await session.run(MAKES, () if weaker else None)
    with pytest.raises(RefusedError, match="made under other rights"):
        await session.run("SELECT number FROM kept", None if weaker else ())


async def test_another_mask_or_row_filter_is_another_right(session: Session) -> None:
    await session.run(MAKES)
    others = tuple(ColumnMask(mask.column, mask.label, NullMask()) for mask in MASKS)
    with pytest.raises(RefusedError, match="made under other rights"):
        await session.run("SELECT number FROM kept", others)
    filters = RowFilter(CUSTOMERS, "own-rows", "name = 'Ada'")
    with pytest.raises(RefusedError, match="made under other rights"):
        await session.run("SELECT number FROM kept", None, filters)
    await session.run("SELECT number FROM kept")
