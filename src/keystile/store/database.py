"""The connection to the control database, shared by every process of one gateway."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from keystile.model.errors import StoreUnavailableError, UnsafeConfigurationError
from keystile.store.migrations import HEAD
from keystile.store.writing import BEGIN, WritingConnection

# How long a writer waits for its turn, in its process and then among all, before the store counts
# as unavailable. Google's clients wait two minutes for a token, and do not ask again after an error
# (google-auth 2.x, `transport/requests.py` and `oauth2/sts.py`).
_WAIT_SECONDS = 20.0
_READERS = 8


class Database:
    """The control store: one SQLite file that gateway and commands use at the same time.

    INVARIANT: a transaction that `begin` left without an error survives a power failure.
    """

    def __init__(self, url: str) -> None:
        """Take a SQLAlchemy URL such as `sqlite+aiosqlite:////var/lib/keystile/keystile.db`.

        Raises `UnsafeConfigurationError` for any other kind of database.
        """
        self._file = _file_of(url)
        self._readers: AsyncEngine | None = None
        self._writer: AsyncEngine | None = None
        self._reader: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Create the database or bring it to this version. Several processes may do so at once.

        Raises `UnsafeConfigurationError` when the file cannot be used or is of a newer version.
        """
        if self._writer is not None:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            await asyncio.to_thread(_prepare, self._file)
        except OSError as error:
            raise UnsafeConfigurationError(
                f"cannot use the control store `{self._file}`: {error.strerror}",
                hint="give the gateway a data folder that it may write to",
            ) from error
        self._readers, self._writer = _readers(self._file), _writer(self._file)
        self._reader = _reader(self._file)

    async def close(self) -> None:
        """Give every connection back."""
        if self._readers is not None:
            await self._readers.dispose()
            self._readers = None
        if self._writer is not None:
            await self._writer.dispose()
            self._writer = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection inside one writing transaction; it commits unless the block raises.

        Writers of all processes take turns (`BEGIN IMMEDIATE`), so what the block reads stays true
        until it commits; those of one process in the order in which they came. Keep the block short
        and wait for nothing else in it. Raises `StoreUnavailableError` when the store cannot be
        reached; `IntegrityError` passes through.
        """
        async with _transaction(self._writer) as connection:
            yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection inside one reading snapshot; it never waits for writers.

        Raises `StoreUnavailableError` when the store cannot be reached.
        """
        async with _transaction(self._readers) as connection:
            yield connection

    def look_up(self, sql: str, values: Sequence[str | float]) -> list[tuple[Any, ...]]:
        """Read on this thread what every query or moment needs: some rows, found by an index.

        It takes some microseconds, where `read` takes some thousand, and sees all that was
        committed before. What a loop looks for, and mostly does not find, is to be looked up so.
        Raises `StoreUnavailableError`.
        """
        if self._reader is None:
            raise StoreUnavailableError("the control store is not open")
        try:
            return self._reader.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise StoreUnavailableError(
                "the control store is unavailable",
                hint="try again; an operator sees why in the log",
            ) from error


@asynccontextmanager
async def _transaction(engine: AsyncEngine | None) -> AsyncIterator[AsyncConnection]:
    if engine is None:
        raise StoreUnavailableError("the control store is not open")
    try:
        async with engine.begin() as connection:
            yield connection
    except IntegrityError:
        raise
    except (DBAPIError, PoolTimeoutError) as error:
        raise StoreUnavailableError(
            "the control store is unavailable",
            hint="try again; an operator sees why in the log",
        ) from error


def _file_of(url: str) -> Path:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise UnsafeConfigurationError(
            "the setting `database` is no database URL", hint="leave it out to use a SQLite file"
        ) from error
    if parsed.drivername != "sqlite+aiosqlite" or parsed.database in {None, "", ":memory:"}:
        raise UnsafeConfigurationError(
            f"the control store cannot be `{parsed.drivername}`",
            hint="use `sqlite+aiosqlite:///FILE`",
        )
    return Path(str(parsed.database))


def _readers(file: Path) -> AsyncEngine:
    engine = create_async_engine(_url(file), pool_size=_READERS, max_overflow=0)
    event.listen(engine.sync_engine, "begin", _begins("BEGIN"))
    return engine


def _writer(file: Path) -> AsyncEngine:
    """Give what writes: one connection, for which its process's writers queue."""
    engine = create_async_engine(
        _url(file),
        async_creator=lambda: WritingConnection(file, _WAIT_SECONDS),
        pool_size=1,
        max_overflow=0,
        pool_timeout=_WAIT_SECONDS,
    )
    event.listen(engine.sync_engine, "connect", _connected)
    event.listen(engine.sync_engine, "begin", _begins(BEGIN))
    return engine


def _begins(sql: str) -> Callable[[Connection], object]:
    return lambda connection: connection.exec_driver_sql(sql)


def _url(file: Path) -> str:
    return f"sqlite+aiosqlite:///{file}"


def _reader(file: Path) -> sqlite3.Connection:
    address = f"{file.absolute().as_uri()}?mode=ro"
    # Of one event loop's thread at a time, which need not be the one that opened it.
    return sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)


def _connected(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _prepare(file: Path) -> None:
    """Create or upgrade the file, one process at a time.

    The lock is a file of its own: SQLite's busy timeout does not cover the change to WAL.
    """
    if _is_current(file):
        return
    with _locked(file.with_name(f"{file.name}.lock")):
        os.close(os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        asyncio.run(_upgrade(file))


def _is_current(file: Path) -> bool:
    """Tell cheaply whether the file needs nothing, as at every start but the first.

    Any doubt is left to the migrations, which say what is wrong.
    """
    if not file.exists():
        return False
    try:
        with closing(
            sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)
        ) as connection:
            revisions = connection.execute("SELECT version_num FROM alembic_version").fetchall()
            journal = connection.execute("PRAGMA journal_mode").fetchone()
    except sqlite3.Error:
        return False
    return revisions == [(HEAD,)] and journal == ("wal",)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    handle = os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


async def _upgrade(file: Path) -> None:
    engine = _writer(file)
    try:
        async with engine.connect() as connection:
            raw = await connection.get_raw_connection()
            await raw.driver_connection.execute("PRAGMA journal_mode=WAL")  # type: ignore[union-attr]
        async with engine.begin() as connection:
            await connection.run_sync(_run_migrations)
    except DBAPIError as error:
        raise UnsafeConfigurationError(
            f"cannot use the control store `{file}`: {error.orig}",
            hint="check that it is a Keystile database and that its disk is not full",
        ) from error
    finally:
        await engine.dispose()


def _run_migrations(connection: Connection) -> None:
    # Alembic is slow to import and nothing else needs it.
    from alembic import command  # noqa: PLC0415 - the line above
    from alembic.config import Config  # noqa: PLC0415 - the same
    from alembic.util import CommandError  # noqa: PLC0415 - the same

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise UnsafeConfigurationError(
            "the control store was written by a newer version of Keystile",
            hint="start that version, or restore a backup from before the upgrade",
        ) from error
