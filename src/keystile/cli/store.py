"""The control store, for the commands that need it: it takes half a second to import."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from keystile.config.settings import Settings
from keystile.store.database import Database


@asynccontextmanager
async def database(settings: Settings) -> AsyncIterator[Database]:
    """Open the control store for one command."""
    store = Database(settings.database_url)
    await store.open()
    try:
        yield store
    finally:
        await store.close()
