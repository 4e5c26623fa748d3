from __future__ import annotations

from typing import Any

import msgspec
import pytest
from sqlalchemy import update

from keystile.analysis.statement import Earlier
from keystile.gate import sessions as module
from keystile.gate.sessions import Left, QuerySession, QuerySessions, SessionBusyError
from keystile.model.errors import NotFoundError, RefusedError
from keystile.store.tables import query_sessions

MADE = Earlier("CREATE TEMP TABLE t AS SELECT 1 AS x\n;\n", "sent\n;\n")


@pytest.fixture
def sessions(bench: Any) -> QuerySessions:
    return QuerySessions(bench.database)


def job_in(bench: Any, session: QuerySession, **changes: Any) -> Any:
    return bench.a_job(request=bench.request(session=session.id, **changes))


async def take(bench: Any, session: QuerySession, job: Any, left: Left) -> None:
    async with bench.database.begin() as connection:
        await QuerySessions.take(connection, session, job, left)


async def begun(bench: Any, sessions: QuerySessions, left: Left | None = None) -> QuerySession:
    """Begin a session whose first job has ended well."""
    new = await sessions.of(bench.principal(), bench.request(creates_session=True))
    assert new is not None
    session = msgspec.structs.replace(new, location="EU", upstream="theirs")
    job = job_in(bench, session, creates_session=True)
    await take(bench, session, job, left or Left())
    await sessions.ended(job, well=True)
    return session


async def again(bench: Any, sessions: QuerySessions, id_: str, **changes: Any) -> QuerySession:
    found = await sessions.of(bench.principal(), bench.request(session=id_, **changes))
    assert found is not None
    return found


async def test_without_a_wish_there_is_none(bench: Any, sessions: QuerySessions) -> None:
    assert await sessions.of(bench.principal(), bench.request()) is None


async def test_what_a_job_left_is_there_for_the_next(bench: Any, sessions: QuerySessions) -> None:
    session = await begun(bench, sessions, Left(MADE))
    found = await again(bench, sessions, session.id)
    assert (found.texts, found.upstream, found.location) == ((MADE,), "theirs", "EU")
    job = job_in(bench, found)
    await take(bench, found, job, Left())
    await sessions.ended(job, well=True)
    assert (await again(bench, sessions, session.id)).texts == (MADE,)


async def test_a_session_is_its_owners_alone(bench: Any, sessions: QuerySessions) -> None:
    session = await begun(bench, sessions, Left(MADE))
    stranger = bench.principal("stranger")
    said = []
    for request in (
        bench.request(session=session.id),
        msgspec.structs.replace(bench.request(session=session.id), project="other"),
        bench.request(session="theirs"),
        bench.request(session="absent"),
    ):
        for who in (stranger, bench.principal()) if request.session != session.id else (stranger,):
            with pytest.raises(NotFoundError) as error:
                await sessions.of(who, request)
            said.append(str(error.value).replace(request.session, "ID"))
    assert len(set(said)) == 1
    job = msgspec.structs.replace(job_in(bench, session), principal=stranger)
    with pytest.raises(RefusedError):
        await take(bench, session, job, Left())


async def test_one_job_at_a_time_runs_in_a_session(bench: Any, sessions: QuerySessions) -> None:
    session = await begun(bench, sessions)
    found = await again(bench, sessions, session.id)
    one, two = job_in(bench, session), job_in(bench, session)
    await take(bench, found, one, Left(MADE))
    with pytest.raises(RefusedError, match="another job runs in this session"):
        await take(bench, found, two, Left())
    await sessions.ended(two, well=False)  # it never had it
    await sessions.ended(one, well=True)
    # What it was planned on is not what is there now.
    with pytest.raises(RefusedError, match="another job"):
        await take(bench, found, two, Left())
    await take(bench, await again(bench, sessions, session.id), two, Left())


@pytest.mark.parametrize(
    ("left", "broken"),
    [(Left(), False), (Left(MADE), False), (Left(MADE, several=True), True)],
)
async def test_where_it_is_not_known_what_is_there_nothing_goes_on(
    bench: Any, sessions: QuerySessions, left: Left, *, broken: bool
) -> None:
    session = await begun(bench, sessions)
    found = await again(bench, sessions, session.id)
    job = job_in(bench, session)
    await take(bench, found, job, left)
    await sessions.ended(job, well=False)
    await sessions.ended(job, well=True)  # a second end changes nothing
    if broken:
        with pytest.raises(RefusedError, match=f"`{job.job_id}` has failed in this session"):
            await again(bench, sessions, session.id)
    else:
        assert (await again(bench, sessions, session.id)).texts == ()


async def test_a_session_is_free_as_long_as_it_is_as_it_was_read(
    bench: Any, sessions: QuerySessions
) -> None:
    session = await begun(bench, sessions)
    found = await again(bench, sessions, session.id)
    job, other = job_in(bench, session), job_in(bench, session)
    await sessions.refuse_busy(found, job)
    await take(bench, found, other, Left())
    with pytest.raises(SessionBusyError):
        await sessions.refuse_busy(found, job)
    await sessions.ended(other, well=True)
    with pytest.raises(SessionBusyError):
        await sessions.refuse_busy(found, job)
    await sessions.refuse_busy(await again(bench, sessions, session.id), job)


async def test_a_session_has_one_place_and_one_default_dataset(
    bench: Any, sessions: QuerySessions
) -> None:
    session = await begun(bench, sessions)
    await again(bench, sessions, session.id, location="eu")
    with pytest.raises(RefusedError, match="runs in `EU`"):
        await again(bench, sessions, session.id, location="US")
    with pytest.raises(RefusedError, match="another `defaultDataset`"):
        await again(bench, sessions, session.id, default_project="p", default_dataset="d")


async def test_old_sessions_go(
    bench: Any, sessions: QuerySessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await begun(bench, sessions)
    async with bench.database.begin() as connection:
        past = {"created_at": 0.0}
        await connection.execute(update(query_sessions).values(**past))
    monkeypatch.setattr(module, "_KEPT_SECONDS", 1)
    await begun(bench, sessions)
    with pytest.raises(NotFoundError):
        await again(bench, sessions, old.id)
