"""The tables of the first release.

No release has been made yet, so the first revision is `tables.metadata` itself. Once one has been
made, its tables are spelled out here and every later change is a revision of its own.
"""

from __future__ import annotations

from alembic import op

from keystile.store.tables import metadata

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table."""
    metadata.create_all(op.get_bind(), checkfirst=False)
