"""Sessions: temporary tables and functions that several jobs share."""

from __future__ import annotations

import base64
import uuid

from keystile.model.errors import NotFoundError
from keystile.sandbox.binding import Scope
from keystile.sandbox.queries import Catalog
from keystile.sandbox.store import Dataset

_KEPT = 100


class Sessions:
    """All sessions, by project and id; each has a hidden dataset for what is temporary."""

    def __init__(self, catalog: Catalog) -> None:
        """Keep what is temporary in `catalog`."""
        self._store = catalog.store
        self._datasets: dict[tuple[str, str], str] = {}

    def create(self, project: str) -> str:
        """Begin a session and give its id; the oldest goes where there are too many."""
        session = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()
        dataset = self._datasets[project, session] = f"_session{uuid.uuid4().hex}"
        self._store.put_dataset(Dataset((project, dataset), 0.0))
        if len(self._datasets) > _KEPT:
            (oldest, _), gone = next(iter(self._datasets.items()))
            del self._datasets[next(iter(self._datasets))]
            self._store.drop_dataset((oldest, gone))
        return session

    def scope(self, project: str, session: str) -> Scope:
        """Give what a session adds to the names of a statement; without a session nothing.

        Raises `NotFoundError`.
        """
        if not session:
            return Scope()
        if (project, session) not in self._datasets:
            raise NotFoundError(f"Not found: Session {session[:100]}")
        return Scope(self._datasets[project, session])
