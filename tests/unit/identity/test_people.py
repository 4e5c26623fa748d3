from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from sqlalchemy import select

from keystile.identity import people as module
from keystile.identity.people import People
from keystile.model.errors import (
    DuplicateError,
    InvalidRequestError,
    NotFoundError,
    UnauthenticatedError,
)
from keystile.store import tables
from keystile.store.database import Database


@pytest.fixture
async def people(database: Database) -> People:
    people = People(database)
    await people.create("operator", ["data-stewards"])
    return people


async def test_the_registry(people: People) -> None:
    await people.create("a-second", [])
    assert [person.name for person in await people.list()] == ["a-second", "operator"]
    assert (await people.get("operator")).groups == ("data-stewards",)
    with pytest.raises(DuplicateError, match="a person `operator` already"):
        await people.create("operator", [])
    with pytest.raises(InvalidRequestError, match="cannot be a name"):
        await people.create("a b", [])
    with pytest.raises(NotFoundError, match="no person `ghost`"):
        await people.get("ghost")


async def test_a_link_signs_in_once(people: People) -> None:
    link = await people.new_link("operator")
    session = await people.sign_in(link)
    assert (await people.signed_in(session)).name == "operator"
    with pytest.raises(UnauthenticatedError, match="unknown, used or older"):
        await people.sign_in(link)
    await people.sign_out(session)
    with pytest.raises(UnauthenticatedError, match="not signed in"):
        await people.signed_in(session)


async def test_of_many_uses_at_once_one_succeeds(people: People, tmp_path: Path) -> None:
    link = await people.new_link("operator")
    others = [Database(f"sqlite+aiosqlite:///{tmp_path / 'store.db'}") for _ in range(3)]
    for other in others:
        await other.open()
    uses = [People(other).sign_in(link) for other in others] + [
        people.sign_in(link) for _ in range(5)
    ]
    outcomes = await asyncio.gather(*uses, return_exceptions=True)
    assert len([outcome for outcome in outcomes if isinstance(outcome, str)]) == 1
    assert len([o for o in outcomes if isinstance(o, UnauthenticatedError)]) == 7
    for other in others:
        await other.close()


async def test_links_and_sessions_end_by_time(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, late = await people.new_link("operator"), await people.new_link("operator")
    session = await people.sign_in(link)
    start = time.time()
    monkeypatch.setattr(module.time, "time", lambda: start + module.LINK_SECONDS + 1)
    with pytest.raises(UnauthenticatedError):
        await people.sign_in(late)
    assert await people.signed_in(session)
    monkeypatch.setattr(module.time, "time", lambda: start + module.SESSION_SECONDS + 1)
    with pytest.raises(UnauthenticatedError):
        await people.signed_in(session)


@pytest.mark.parametrize("secret", ["", "unknown", "x" * 10_000, "\udc80"])
async def test_unknown_secrets_are_refused(people: People, secret: str) -> None:
    with pytest.raises(UnauthenticatedError):
        await people.sign_in(secret)
    with pytest.raises(UnauthenticatedError):
        await people.signed_in(secret)
    await people.sign_out(secret)


async def test_a_link_is_no_session_and_the_store_knows_neither(
    people: People, database: Database
) -> None:
    link = await people.new_link("operator")
    with pytest.raises(UnauthenticatedError):
        await people.signed_in(link)
    session = await people.sign_in(link)
    with pytest.raises(UnauthenticatedError):
        await people.sign_in(session)
    async with database.read() as connection:
        links = (await connection.execute(select(tables.sign_in_links))).all()
        sessions = (await connection.execute(select(tables.console_sessions))).all()
    assert link not in str(links)
    assert session not in str(sessions)


async def test_a_link_for_nobody_is_refused(people: People) -> None:
    with pytest.raises(NotFoundError, match="no person `ghost`"):
        await people.new_link("ghost")
