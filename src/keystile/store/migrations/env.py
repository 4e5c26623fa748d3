"""What Alembic runs: the revisions, on the connection and in the transaction of `Database.open`."""

from __future__ import annotations

from alembic import context

from keystile.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite does roll a schema change back, so a failed upgrade leaves the database as it was.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
