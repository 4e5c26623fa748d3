from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from keystile.config.settings import Settings
from keystile.config.upstream import Connection, Upstream
from keystile.store.database import Database
from keystile.tls.from_settings import secrets_of
from keystile.upstream.connections import Connections
from keystile.upstream.listing import Listed, Listing
from keystile.upstream.stored import StoredConnection, StoredConnections


@pytest.fixture
async def listing(tmp_path: Path) -> AsyncIterator[Listing]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'keystile.db'}")
    await database.open()
    machine = Connection(metadata_server=True, impersonate="boss@p.iam")
    settings = Settings(upstream=Upstream(connections={"m": machine}), folder=tmp_path)
    connections = Connections(settings, database, secrets_of(settings))
    yield Listing(StoredConnections(database), connections)
    await database.close()


async def test_there_is_a_row_for_each_key_and_one_for_what_has_none(listing: Listing) -> None:
    await listing.stored.add(StoredConnection("a", Connection(), 1.0, "ana"))
    await listing.stored.adopt("a", "k1", "a@p.iam", 1.0)
    await listing.stored.add_key("a", "k2", "a@p.iam", 2.0)
    await listing.connections.load()
    assert await listing.list() == (
        Listed("a", "service account", "a@p.iam", "k1", "active", 1.0),
        Listed("a", "service account", "a@p.iam", "k2", "next", 2.0),
        Listed("m", "metadata server", "boss@p.iam", "", "", None),
    )
