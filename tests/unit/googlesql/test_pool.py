from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import engine_tasks as tasks
import pytest

from keystile.config.settings import EngineLimits
from keystile.googlesql import pool as pool_module
from keystile.googlesql.pool import EnginePool, PoolStats, Restart
from keystile.model.errors import (
    InvalidQueryError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    RefusedError,
)
from keystile.model.schema import SqlType

INT64 = (SqlType("INT64"),)


async def test_answers_come_back_typed(start_pool: Any) -> None:
    pool = await start_pool()
    many = await asyncio.gather(*(pool.run(tasks.TYPES, "select 1") for _ in range(20)))
    assert many == [INT64] * 20
    stats = pool.stats()
    assert stats == PoolStats(
        workers=2,
        busy=0,
        queued=0,
        restarts=dict.fromkeys(Restart, 0),
        ran=20,
        waited_seconds=stats.waited_seconds,
    )
    assert stats.waited_seconds > 0


async def test_a_tasks_own_errors_cross_the_border(start_pool: Any) -> None:
    pool = await start_pool(workers=1)
    with pytest.raises(NotFoundError) as caught:
        await pool.run(tasks.NOT_FOUND, "x")
    assert (caught.value.message, caught.value.hint) == ("no `x`", "look elsewhere")
    with pytest.raises(InvalidQueryError, match=r"^Unrecognized name: nope at \[1:8\]$"):
        await pool.run(tasks.TYPES, "select nope")


async def test_a_bug_is_a_refusal_that_quotes_nothing(
    start_pool: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    pool = await start_pool(workers=1)
    with pytest.raises(RefusedError, match="stopped the analyser") as caught:
        await pool.run(tasks.BUG, "the secret")
    assert "secret" not in str(caught.value)
    assert await pool.run(tasks.TYPES, "select 1") == INT64
    err = capfd.readouterr().err
    assert "ZeroDivisionError in a task" in err
    assert "the secret" not in err


async def test_a_worker_has_nothing_of_the_gateways(
    start_pool: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GATEWAY_SECRET", "hush")
    held = tmp_path / "key"
    with held.open("w") as file:
        os.set_inheritable(file.fileno(), True)  # noqa: FBT003 -- takes no keyword
        pool = await start_pool(workers=1)
        seen = await pool.run(tasks.LOOK_AROUND, "")
    assert "GATEWAY_SECRET" not in seen.environment
    assert set(seen.environment) <= {"LC_CTYPE", "TZDIR"}
    assert set(seen.files) <= {1, 2}  # where it may write what went wrong


async def test_a_worker_that_is_taken_over_can_do_nothing_but_compute(
    start_pool: Any, tmp_path: Path
) -> None:
    pool = await start_pool(workers=1)
    key = tmp_path / "key"
    key.write_bytes(b"secret")
    tried = await pool.run(tasks.BREAK_OUT, str(key))
    assert len(tried) > 10
    assert [one.what for one in tried if not one.got] == []
    assert key.read_bytes() == b"secret"


async def test_a_sealed_worker_knows_every_time_zone(start_pool: Any) -> None:
    pool = await start_pool(workers=1)
    for zone in ("Europe/Paris", "Antarctica/Troll", "US/Pacific"):
        assert await pool.run(tasks.TYPES, f"SELECT TIMESTAMP '2024-05-06 07:08:09 {zone}'") == (
            SqlType("TIMESTAMP"),
        )
    with pytest.raises(InvalidQueryError, match="Invalid TIMESTAMP"):
        await pool.run(tasks.TYPES, "SELECT TIMESTAMP '2024-05-06 07:08:09 Europe/Nowhere'")


async def test_what_a_task_prints_spoils_nothing(start_pool: Any) -> None:
    pool = await start_pool(workers=1)
    assert await pool.run(tasks.PRINT, "hello") == "hello"
    assert await pool.run(tasks.TYPES, "select 1") == INT64


@pytest.mark.parametrize("how", ["kills itself", "is killed"])
async def test_a_worker_that_dies_is_replaced_and_its_caller_told(
    start_pool: Any, how: str
) -> None:
    pool = await start_pool(workers=1)
    if how == "is killed":
        pid = (await pool.run(tasks.LOOK_AROUND, "")).pid
        running = asyncio.ensure_future(pool.run(tasks.SLEEP, 30.0))
        await asyncio.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
    else:
        running = asyncio.ensure_future(pool.run(tasks.DIE, 7))
    behind = asyncio.ensure_future(pool.run(tasks.TYPES, "select 1"))
    with pytest.raises(RefusedError, match="stopped the analyser"):
        await running
    assert await behind == INT64
    assert pool.stats().restarted == 1
    assert pool.stats().workers == 1


async def test_a_worker_that_ran_past_its_stack_is_told_as_nesting(start_pool: Any) -> None:
    pool = await start_pool(workers=1)
    pid = (await pool.run(tasks.LOOK_AROUND, "")).pid
    running = asyncio.ensure_future(pool.run(tasks.SLEEP, 30.0))
    await asyncio.sleep(0.1)
    os.kill(pid, signal.SIGSEGV)
    with pytest.raises(RefusedError, match="nested too deeply"):
        await running
    assert await pool.run(tasks.TYPES, "select 1") == INT64
    assert pool.stats().restarts[Restart.DEPTH] == pool.stats().restarted == 1


async def test_a_worker_that_died_idle_costs_nobody_a_query(start_pool: Any) -> None:
    pool = await start_pool(workers=1)
    os.kill((await pool.run(tasks.LOOK_AROUND, "")).pid, signal.SIGKILL)
    await asyncio.sleep(0.2)
    assert await pool.run(tasks.TYPES, "select 1") == INT64


async def test_python_that_runs_past_the_deadline_is_killed(start_pool: Any) -> None:
    pool = await start_pool(workers=1, deadline=1)
    started = time.monotonic()
    with pytest.raises(RefusedError, match="longer than 1 seconds"):
        await pool.run(tasks.SLEEP, 60.0)
    assert time.monotonic() - started < 4
    assert await pool.run(tasks.TYPES, "select 1") == INT64
    assert pool.stats().restarts[Restart.DEADLINE] == pool.stats().restarted == 1


async def test_a_full_queue_says_so_and_loses_nothing(start_pool: Any) -> None:
    pool = await start_pool(workers=1, queue=3)
    accepted = [asyncio.ensure_future(pool.run(tasks.SLEEP, 0.3)) for _ in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError):
        await pool.run(tasks.TYPES, "select 1")
    assert len(await asyncio.gather(*accepted)) == 4
    assert await pool.run(tasks.TYPES, "select 1") == INT64


async def test_a_caller_that_left_does_not_hold_a_worker(start_pool: Any) -> None:
    pool = await start_pool(workers=1)
    running = asyncio.ensure_future(pool.run(tasks.SLEEP, 0.3))
    left = asyncio.ensure_future(pool.run(tasks.SLEEP, 4.0))
    await asyncio.sleep(0.1)
    left.cancel()
    running.cancel()
    async with asyncio.timeout(2):
        assert await pool.run(tasks.TYPES, "select 1") == INT64
    assert pool.stats().restarted == 0


async def test_closing_answers_everyone_and_ends_the_workers(start_pool: Any) -> None:
    pool = await start_pool(workers=1)
    pid = (await pool.run(tasks.LOOK_AROUND, "")).pid
    callers = [asyncio.ensure_future(pool.run(tasks.SLEEP, 30.0)) for _ in range(3)]
    await asyncio.sleep(0.1)
    await pool.close()
    for result in await asyncio.gather(*callers, return_exceptions=True):
        assert isinstance(result, RefusedError)
        assert "shutting down" in str(result)
    assert not _alive(pid)
    assert pool.stats().workers == 0


async def test_memory_is_bounded(start_pool: Any) -> None:
    pool = await start_pool(workers=1, memory_bytes=48 << 20)
    with pytest.raises(RefusedError, match="more than 48 MB of memory"):
        await pool.run(tasks.TAKE_MEMORY, 1 << 30)
    long_list = ",".join(map(str, range(45_000)))
    with pytest.raises(RefusedError, match="more than 48 MB of memory"):
        await pool.run(tasks.TYPES, f"select 1 in ({long_list})")
    assert await pool.run(tasks.TYPES, "select 1") == INT64


async def test_half_a_character_is_a_clear_error(start_pool: Any) -> None:
    pool = await start_pool(workers=1)
    with pytest.raises(InvalidRequestError, match="surrogate"):
        await pool.run(tasks.TYPES, "select '\ud800'")


HOSTILE = {
    "a list of 1 MB": "select 1 in (" + ",".join(["123456789"] * 100_000) + ")",
    "a concatenation of 1 MB": "select " + "||".join(["'a'"] * 200_000),
    "10,000 brackets": "select " + "(" * 10_000 + "1" + ")" * 10_000,
    "10,000 open brackets": "select " + "(" * 10_000,
    "10,000 nested queries": "select " + "(select " * 10_000 + "1" + ")" * 10_000,
    "10,000 nested calls": "select " + "upper(" * 10_000 + "'a'" + ")" * 10_000,
    "NUL": "select 1\0, 2",
    "not a character": "select '\ufffe', \ufffd",
    "nothing": "",
}


async def test_hostile_text_ends_in_time_while_others_are_served(start_pool: Any) -> None:
    pool = await start_pool(workers=2, deadline=2)
    served = 0
    for name, sql in HOSTILE.items():
        started = time.monotonic()
        hostile = asyncio.ensure_future(pool.run(tasks.TYPES, sql))
        while not hostile.done():
            assert await pool.run(tasks.TYPES, "select 1") == INT64
            served += 1
        error = hostile.exception()
        if error is None:
            assert hostile.result() in {INT64, (SqlType("BOOL"),)}, name
        else:
            assert isinstance(error, InvalidQueryError | RefusedError), name
            assert "\n" not in error.message, name
            assert len(error.message) < 300, name
        assert time.monotonic() - started < 4, name
    assert served > 50
    async with asyncio.timeout(5):
        while pool.stats().workers < 2:  # noqa: ASYNC110 -- nothing tells when it stands again
            await asyncio.sleep(0.05)


PARENT = """
import asyncio, sys
sys.path.insert(0, {here!r})
import engine_tasks
from pathlib import Path
from keystile.config.settings import EngineLimits
from keystile.googlesql import pool
plain = pool._command
pool._command = lambda *given: [
    sys.executable, "-I", "-c",
    "import sys; sys.path.insert(0, {here!r}); from keystile.googlesql.worker import main; main()",
    *plain(*given)[4:],
]
async def main():
    runner = pool.EnginePool(EngineLimits(workers=1), [engine_tasks.TYPES])
    await runner.start()
    print((await runner.run(engine_tasks.LOOK_AROUND, "")).pid, flush=True)
    await runner.run(engine_tasks.SLEEP, 60.0)
asyncio.run(main())
"""


def test_workers_end_with_a_killed_gateway() -> None:
    script = PARENT.format(here=str(Path(__file__).parent))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        time.sleep(0.2)
        parent.kill()
    end = time.monotonic() + 3
    while _alive(worker) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _alive(worker)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def test_a_pool_that_cannot_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-c", "raise SystemExit(1)"]
    monkeypatch.setattr(pool_module, "_command", lambda *_: command)
    with pytest.raises(RefusedError, match="could not be started"):
        await EnginePool(EngineLimits(), []).start()


def test_a_worker_that_cannot_start_says_why() -> None:
    code = (
        "import sys; sys.argv[1:] = ['{}']; from keystile.googlesql import seal, worker\n"
        "seal._NO_NEW_PRIVILEGES = -1; worker.main()"
    )
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as worker:
        assert worker.stderr is not None
        said = worker.stderr.read()
        assert worker.wait() == 1
    assert said.startswith("the system does not let a process give up rights: ")
    assert "Traceback" not in said


@pytest.mark.parametrize("depth", [150, 400, 2000])
async def test_an_answer_nested_too_deeply_to_read_does_not_end_its_slot(
    start_pool: Any, depth: int
) -> None:
    pool = await start_pool(workers=1, deadline=50)
    async with asyncio.timeout(60):
        try:
            await pool.run(tasks.TYPES, f"SELECT {'STRUCT(' * depth}1{')' * depth}")
        except RefusedError as error:
            assert "nested too deeply" in error.message  # noqa: PT017 -- shallow ones are answered
        assert await pool.run(tasks.TYPES, "select 1") == INT64


async def test_a_machine_without_room_for_a_worker_does_not_end_its_slot(
    start_pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = await start_pool(workers=1)
    command, room = pool_module._command, False

    def crowded(*arguments: Any) -> list[str]:
        if not room:
            raise BlockingIOError("no more processes")
        return command(*arguments)

    monkeypatch.setattr(pool_module, "_command", crowded)
    with pytest.raises(RefusedError, match="stopped the analyser"):
        await pool.run(tasks.DIE, 1)
    behind = asyncio.ensure_future(pool.run(tasks.TYPES, "select 1"))
    with pytest.raises(RefusedError, match="could not be started"):
        await behind
    room = True
    async with asyncio.timeout(30):
        assert await pool.run(tasks.TYPES, "select 1") == INT64


async def test_nobody_waits_for_a_worker_that_cannot_start_again(
    start_pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = await start_pool(workers=1)
    command = [sys.executable, "-c", "raise SystemExit(1)"]
    monkeypatch.setattr(pool_module, "_command", lambda *_: command)
    dying = asyncio.ensure_future(pool.run(tasks.DIE, 1))
    behind = asyncio.ensure_future(pool.run(tasks.TYPES, "select 1"))
    with pytest.raises(RefusedError, match="stopped the analyser"):
        await dying
    with pytest.raises(RefusedError, match="could not be started"):
        await behind
    assert pool.stats().workers == 0
