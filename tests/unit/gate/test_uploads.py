from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from sqlalchemy import select, update
from tests.support.accounts import OneAccount

from keystile.gate.duties import Duties
from keystile.gate.uploads import _BLOCK, Uploads
from keystile.model.errors import (
    DuplicateError,
    InvalidRequestError,
    KeystileError,
    NotFoundError,
    RefusedError,
)
from keystile.model.facts import Action, QueryFacts
from keystile.store.tables import uploads
from keystile.upstream.uploads import Taken
from keystile.wire.transfers import transfer_of
from keystile.wire.uploads import Piece

TABLE = {"projectId": "acme-shop", "datasetId": "shop", "tableId": "t"}
LOAD = transfer_of("acme-shop", "load", {"destinationTable": TABLE}, upload=True)


class FakeUpstream(OneAccount):
    """Takes bytes under one target; `fails` is raised by the next piece."""

    def __init__(self, bench: Any) -> None:
        super().__init__()
        self.uploads = self
        self.bench = bench
        self.jobs: list[str] = []
        self.got = bytearray()
        self.pieces: list[Piece] = []
        self.dropped: list[str] = []
        self.fails: KeystileError | None = None

    async def begin(self, query: Any, job: str) -> str:
        if self.fails:
            raise self.fails
        del query
        self.jobs.append(job)
        return "/upload/x"

    async def send(self, target: str, piece: Piece, chunks: Any) -> Taken:
        assert target == "/upload/x"
        if self.fails:
            raise self.fails
        self.pieces.append(piece)
        if isinstance(chunks, bytes):
            self.got += chunks
        else:
            async for chunk in chunks:
                self.got += chunk
        if piece.total is None or len(self.got) < piece.total:
            return Taken(done=False, received=len(self.got))
        await self.bench.bigquery.start(_Started(), self.jobs[-1])
        return Taken(done=True)

    async def drop(self, target: str) -> None:
        self.dropped.append(target)


class _Started:
    sql = "an upload"


async def data(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@pytest.fixture
def upstream(bench: Any) -> FakeUpstream:
    # What the bench's planner decides on changes no schema, so no table may be made.
    bench.planner.transfer = {"load": {**LOAD.configuration, "createDisposition": "CREATE_NEVER"}}
    return FakeUpstream(bench)


@pytest.fixture
def taking(bench: Any, one: Any, upstream: Any) -> Uploads:
    recorder: Any = one.pipeline._recorder
    return Uploads(bench.database, one.pipeline, one.duties, one.jobs, recorder, upstream)


def request(bench: Any, **more: Any) -> Any:
    return bench.request("-- load job", transfer=LOAD, **more)


async def rows(bench: Any) -> list[Any]:
    async with bench.database.read() as connection:
        return list((await connection.execute(select(uploads))).all())


async def test_the_decision_is_on_record_before_a_byte_goes(
    bench: Any, one: Any, upstream: FakeUpstream, taking: Uploads
) -> None:
    bench.planner.decide_fails = RefusedError("no rule allows it")
    with pytest.raises(RefusedError, match="no rule"):
        await taking.whole(bench.principal(), request(bench), data(b"a"))
    assert (bench.kinds, upstream.jobs) == (["refused"], [])
    bench.planner.decide_fails = None
    view = await taking.whole(bench.principal(), request(bench), data(b"ab", b"c"))
    assert bytes(upstream.got) == b"abc"
    assert upstream.pieces == [Piece(0, 3, 3)]
    await one.settle()
    assert bench.kinds == ["refused", "intent", "outcome"]
    job = await bench.job(view)
    assert upstream.jobs == [job.upstream_id]
    assert job.outcome is not None


async def test_a_long_upload_goes_on_in_blocks(
    bench: Any, upstream: FakeUpstream, taking: Uploads
) -> None:
    await taking.whole(bench.principal(), request(bench), data(b"a" * _BLOCK, b"b" * 5))
    assert upstream.pieces == [Piece(0, _BLOCK, None), Piece(_BLOCK, 5, _BLOCK + 5)]
    assert all(piece.size % (256 << 10) == 0 for piece in upstream.pieces[:-1])


async def test_a_client_that_leaves_in_the_middle_leaves_no_job(
    bench: Any, upstream: FakeUpstream, taking: Uploads
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"a"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await taking.whole(bench.principal(), request(bench), broken())
    assert bench.kinds == ["intent", "outcome"]
    assert bench.events[-1].body["state"] == "failed"
    assert upstream.pieces == []


async def test_pieces_are_their_owners_alone(
    bench: Any, one: Any, upstream: FakeUpstream, taking: Uploads
) -> None:
    me, other = bench.principal(), bench.principal("other")
    id_ = await taking.begin(me, request(bench))
    for who, project in ((other, "acme-shop"), (me, "elsewhere")):
        with pytest.raises(NotFoundError):
            await taking.go_on(who, project, id_, Piece(0, 3, 6), data(b"abc"))
        with pytest.raises(NotFoundError):
            await taking.drop(who, project, id_)
    assert (await taking.go_on(me, "acme-shop", id_, Piece(0, 3, 6), data(b"abc"))).received == 3
    done = await taking.go_on(me, "acme-shop", id_, Piece(3, 3, 6), data(b"def"))
    assert done.job is not None
    await one.settle()
    again = await taking.go_on(me, "acme-shop", id_, Piece(3, 3, 6), data(b"def"))
    assert again.job is not None
    assert (again.job.job_id, again.job.state) == (done.job.job_id, "DONE")
    assert bytes(upstream.got) == b"abcdef"


async def test_the_last_bytes_wait_for_a_second_decision(
    bench: Any, upstream: FakeUpstream, taking: Uploads
) -> None:
    me = bench.principal()
    id_ = await taking.begin(me, request(bench))
    await taking.go_on(me, "acme-shop", id_, Piece(0, 3, 6), data(b"abc"))
    bench.planner.decide_fails = RefusedError("no longer")
    with pytest.raises(RefusedError, match="no longer"):
        await taking.go_on(me, "acme-shop", id_, Piece(3, 3, 6), data(b"def"))
    assert bytes(upstream.got) == b"abc"
    assert bench.events[-1].body["state"] == "failed"
    bench.planner.decide_fails = None
    with pytest.raises(NotFoundError):
        await taking.go_on(me, "acme-shop", id_, Piece(3, 3, 6), data(b"def"))


async def test_a_last_piece_that_did_not_say_so_went_without_a_second_decision(
    bench: Any, upstream: FakeUpstream, taking: Uploads
) -> None:
    me = bench.principal()
    id_ = await taking.begin(me, request(bench))
    await taking.go_on(me, "acme-shop", id_, Piece(0, 3, 6), data(b"abc"))
    bench.planner.decide_fails = RefusedError("no longer")
    with pytest.raises(RefusedError, match="no longer"):
        await taking.go_on(me, "acme-shop", id_, Piece(3, 3, None), data(b"def"))
    assert bytes(upstream.got) == b"abc"


@pytest.mark.parametrize(
    "change",
    [
        {"facts": QueryFacts("LOAD", (Action.WRITE, Action.SCHEMA_CHANGE))},
        {"sql": "-- load job into another table"},
    ],
)
async def test_a_table_that_came_or_went_since_ends_the_upload(
    bench: Any, upstream: FakeUpstream, taking: Uploads, change: dict[str, Any]
) -> None:
    id_ = await taking.begin(bench.principal(), request(bench))
    vars(bench.planner).update(change)
    with pytest.raises(RefusedError, match="has changed since the upload began"):
        await taking.go_on(bench.principal(), "acme-shop", id_, Piece(0, 3, 3), data(b"abc"))
    assert upstream.pieces == []


async def test_what_needs_a_person_is_refused_at_once(
    bench: Any, upstream: FakeUpstream, taking: Uploads
) -> None:
    bench.planner.ask_people()
    with pytest.raises(RefusedError, match="person's approval"):
        await taking.begin(bench.principal(), request(bench))
    assert (bench.kinds, upstream.jobs) == (["refused"], [])


@pytest.mark.parametrize(
    "error", [InvalidRequestError("no CSV"), RefusedError("BigQuery cannot be reached")]
)
async def test_an_outage_ends_no_upload_and_bigquerys_word_does(
    bench: Any, upstream: FakeUpstream, taking: Uploads, error: KeystileError
) -> None:
    me = bench.principal()
    id_ = await taking.begin(me, request(bench))
    upstream.fails = error
    with pytest.raises(type(error)):
        await taking.go_on(me, "acme-shop", id_, Piece(0, 3, 3), data(b"abc"))
    upstream.fails = None
    ended = isinstance(error, InvalidRequestError)
    assert bench.kinds == ["intent"] + ["outcome"] * ended
    assert len(await rows(bench)) == 1 - ended


@pytest.mark.parametrize("chunks", [(b"ab",), (b"abc", b"d"), ()])
async def test_a_piece_has_as_many_bytes_as_it_says(
    bench: Any, taking: Uploads, chunks: tuple[bytes, ...]
) -> None:
    me = bench.principal()
    id_ = await taking.begin(me, request(bench))
    with pytest.raises(RefusedError, match="as many bytes"):
        await taking.go_on(me, "acme-shop", id_, Piece(0, 3, 9), data(*chunks))


async def test_a_job_id_is_given_once(bench: Any, one: Any, taking: Uploads) -> None:
    me = bench.principal()
    first = await taking.begin(me, request(bench, job_id="mine"))
    await taking.whole(me, request(bench, job_id="mine"), data(b"abc"))
    await one.settle()
    with pytest.raises(DuplicateError):
        await taking.begin(me, request(bench, job_id="mine"))
    del first


async def test_an_upload_that_is_given_up_or_forgotten_is_on_record(
    bench: Any, upstream: FakeUpstream, taking: Uploads
) -> None:
    me = bench.principal()
    await taking.drop(me, "acme-shop", await taking.begin(me, request(bench)))
    assert upstream.dropped == ["/upload/x"]
    assert bench.events[-1].body["state"] == "cancelled"
    await taking.begin(me, request(bench))
    async with bench.database.begin() as connection:
        await connection.execute(update(uploads).values(begun_at=time.time() - 8 * 24 * 3600))
    await taking.begin(me, request(bench))
    assert [event.body["state"] for event in bench.events if event.kind == "outcome"] == [
        "cancelled",
        "expired",
    ]
    assert len(await rows(bench)) == 1


async def test_news_that_came_twice_ended_a_job_that_ran_as_failed(
    bench: Any, one: Any, taking: Uploads
) -> None:
    me = bench.principal()
    id_ = await taking.begin(me, request(bench))
    last = Piece(0, 3, 3)
    first = await taking.go_on(me, "acme-shop", id_, last, data(b"abc"))
    await one.settle()
    async with bench.database.begin() as connection:  # as if the gateway had died before this
        await connection.execute(update(uploads).values(done=False))
    again = await taking.go_on(me, "acme-shop", id_, Piece(0, 0, 3), data())
    await one.settle()
    assert first.job is not None
    assert again.job is not None
    assert again.job.job_id == first.job.job_id
    assert bench.kinds == ["intent", "outcome"]
    assert bench.events[-1].body["state"] == "done"


async def test_all_of_an_upload_is_one_session_on_record(bench: Any, taking: Uploads) -> None:
    me = bench.principal()
    id_ = await taking.begin(me, request(bench))
    later = msgspec.structs.replace(me, session="run-2")
    await taking.drop(later, "acme-shop", id_)
    assert {event.session for event in bench.events} == {me.session}


async def test_one_agent_holds_only_so_many_blocks_in_memory(bench: Any, taking: Uploads) -> None:
    release, waiting = asyncio.Event(), asyncio.Semaphore(0)

    async def slow() -> AsyncIterator[bytes]:
        waiting.release()
        await release.wait()
        yield b"abc"

    async def whole(name: str, chunks: AsyncIterator[bytes]) -> Any:
        return await taking.whole(bench.principal(name), request(bench), chunks)

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(whole("demo-agent", slow()))
            await waiting.acquire()
        with pytest.raises(RefusedError, match="come in at this moment"):
            await whole("demo-agent", data(b"abc"))
        await whole("other", data(b"abc"))
        release.set()
    await whole("demo-agent", data(b"abc"))


async def test_one_agent_begins_only_so_many(bench: Any, taking: Uploads) -> None:
    for _ in range(50):
        await taking.begin(bench.principal(), request(bench))
    with pytest.raises(RefusedError, match="under way already"):
        await taking.begin(bench.principal(), request(bench))
    await taking.begin(bench.principal("other"), request(bench))


async def test_an_uploaded_job_that_bigquery_does_not_know_was_started_without_its_bytes(
    bench: Any, one: Any
) -> None:
    duties: Duties = one.duties
    job = bench.a_job(request=request(bench))
    await one.jobs.add(job)
    duties.carry(job, None)
    await one.settle()
    assert bench.bigquery.started == []
    assert bench.events[-1].body["error"]["message"].startswith("BigQuery does not know")


async def test_what_a_disabled_agent_has_under_way_ends_and_nothing_of_others(
    bench: Any, upstream: FakeUpstream, taking: Uploads
) -> None:
    await taking.begin(bench.principal(), request(bench))
    await taking.begin(bench.principal("other"), request(bench))
    why = RefusedError("the agent `demo-agent` was disabled by `operator`")
    await taking.end_of({bench.principal().key}, why)
    assert upstream.dropped == ["/upload/x"]
    (left,) = await rows(bench)
    assert left.owner == bench.principal("other").key
    (ended,) = [event.body for event in bench.events if event.kind == "outcome"]
    assert (ended["state"], ended["error"]["message"]) == ("cancelled", why.message)


async def test_the_last_bytes_of_a_disabled_agent_do_not_go(
    bench: Any, upstream: FakeUpstream, taking: Uploads
) -> None:
    async def disabled_meanwhile() -> AsyncIterator[bytes]:
        yield b"a"
        bench.disabled = True
        yield b"b"

    with pytest.raises(RefusedError, match="is disabled"):
        await taking.whole(bench.principal(), request(bench), disabled_meanwhile())
    assert bytes(upstream.got) == b""
