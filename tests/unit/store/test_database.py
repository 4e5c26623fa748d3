from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, insert, select, text
from sqlalchemy.exc import IntegrityError

from keystile.model.errors import RefusedError, StoreUnavailableError, UnsafeConfigurationError
from keystile.store import migrations
from keystile.store.database import Database
from keystile.store.tables import metadata, people, sign_in_links


def url(folder: Path) -> str:
    return f"sqlite+aiosqlite:///{folder / 'data' / 'keystile.db'}"


async def test_open_creates_every_table_as_declared(tmp_path: Path) -> None:
    database = Database(url(tmp_path))
    await database.open()

    def differences(connection: Connection) -> object:
        return compare_metadata(MigrationContext.configure(connection), metadata)

    async with database.read() as connection:
        assert await connection.run_sync(differences) == []
        version = await connection.scalar(text("SELECT version_num FROM alembic_version"))
        assert version == "0001"
    await database.close()
    assert (tmp_path / "data" / "keystile.db").stat().st_mode & 0o777 == 0o600


async def test_it_is_durable_and_checks_foreign_keys(tmp_path: Path) -> None:
    database = Database(url(tmp_path))
    await database.open()
    async with database.read() as connection:
        assert await connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert await connection.scalar(text("PRAGMA synchronous")) == 2
        assert await connection.scalar(text("PRAGMA busy_timeout")) == 5000
    link = {"digest": "d", "person": "nobody", "expires_at": 0.0}
    with pytest.raises(IntegrityError):
        async with database.begin() as connection:
            await connection.execute(insert(sign_in_links).values(link))
    await database.close()


async def test_a_transaction_that_raises_leaves_nothing(tmp_path: Path) -> None:
    database = Database(url(tmp_path))
    await database.open()

    async def half_done() -> None:
        async with database.begin() as connection:
            await connection.execute(
                insert(people).values(name="operator", groups="[]", created_at=0.0)
            )
            raise LookupError

    with pytest.raises(LookupError):
        await half_done()
    async with database.read() as connection:
        assert (await connection.execute(select(people))).all() == []
    await database.close()


async def test_writers_of_two_connections_take_turns(tmp_path: Path) -> None:
    """Read, wait, write: without `BEGIN IMMEDIATE` both would read the same number."""
    first, second = Database(url(tmp_path)), Database(url(tmp_path))
    await first.open()
    await second.open()
    async with first.begin() as connection:
        await connection.execute(insert(people).values(name="p", groups="", created_at=0.0))

    async def add_one(database: Database) -> None:
        async with database.begin() as connection:
            count = await connection.scalar(select(people.c.created_at))
            await asyncio.sleep(0.02)
            await connection.execute(people.update().values(created_at=count + 1))

    await asyncio.gather(*(add_one(database) for database in (first, second) * 4))
    async with first.read() as connection:
        assert await connection.scalar(select(people.c.created_at)) == 8
    await first.close()
    await second.close()


async def test_a_reader_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    database = Database(url(tmp_path))
    await database.open()
    async with database.begin() as writer, asyncio.timeout(1):
        await writer.execute(insert(people).values(name="p", groups="", created_at=0.0))
        async with database.read() as reader:
            assert (await reader.execute(select(people))).all() == []
    await database.close()


async def test_a_store_that_fails_refuses(tmp_path: Path) -> None:
    database = Database(url(tmp_path))
    with pytest.raises(RefusedError, match="not open"):
        async with database.begin():
            pass
    await database.open()
    with pytest.raises(RefusedError, match="unavailable"):
        async with database.begin() as connection:
            await connection.execute(text("SELECT * FROM no_such_table"))
    await database.close()


def test_many_processes_may_open_a_new_store_at_once(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys; from keystile.store.database import Database\n"
        "async def main():\n"
        "    database = Database(sys.argv[1]); await database.open(); await database.close()\n"
        "asyncio.run(main())"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, url(tmp_path)], stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    answers = [(process.communicate()[1], process.returncode) for process in processes]
    assert answers == [(b"", 0)] * 3


@pytest.mark.parametrize(
    "bad", ["postgresql://user:hidden@host/db", "sqlite+aiosqlite://", "sqlite:///x", "nonsense"]
)
def test_other_databases_are_refused_without_repeating_a_password(bad: str) -> None:
    with pytest.raises(UnsafeConfigurationError) as caught:
        Database(bad)
    assert "hidden" not in str(caught.value)


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "data" / "keystile.db"
    file.parent.mkdir()
    file.write_bytes(b"this is a letter to grandmother, not a database\n" * 100)
    with pytest.raises(UnsafeConfigurationError, match="cannot use the control store"):
        await Database(url(tmp_path)).open()


async def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file stands where the folder should be")
    with pytest.raises(UnsafeConfigurationError, match="cannot use the control store"):
        await Database(url(tmp_path)).open()


async def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    database = Database(url(tmp_path))
    await database.open()
    async with database.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await database.close()
    with pytest.raises(UnsafeConfigurationError, match="newer version"):
        await database.open()


def test_the_noted_head_is_the_newest_migration() -> None:
    from alembic.config import Config  # noqa: PLC0415 - slow, and only needed here
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - the same

    config = Config()
    folder = Path(migrations.__file__).parent
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "newline")
    assert ScriptDirectory.from_config(config).get_heads() == [migrations.HEAD]


async def test_a_file_of_another_revision_is_not_taken_for_current(tmp_path: Path) -> None:
    file = tmp_path / "keystile.db"
    database = Database(f"sqlite+aiosqlite:///{file}")
    await database.open()
    await database.close()
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(UnsafeConfigurationError, match="newer version"):
        await database.open()


async def test_a_look_up_sees_what_was_committed_a_moment_ago(tmp_path: Path) -> None:
    database = Database(url(tmp_path))
    await database.open()
    query = "SELECT name FROM people WHERE name = ?"
    assert database.look_up(query, ("ada",)) == []
    async with database.begin() as connection:
        person = {"name": "ada", "groups": "[]", "created_at": 0.0}
        await connection.execute(insert(people).values(person))
        assert database.look_up(query, ("ada",)) == []
    assert database.look_up(query, ("ada",)) == [("ada",)]
    with pytest.raises(StoreUnavailableError):
        database.look_up("SELECT nothing FROM nowhere", ())
    with pytest.raises(StoreUnavailableError):
        database.look_up("DELETE FROM people", ())
    await database.close()
    with pytest.raises(StoreUnavailableError):
        database.look_up(query, ("ada",))
