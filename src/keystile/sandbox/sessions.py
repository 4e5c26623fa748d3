"""Sessions: temporary tables, functions and variables that several jobs share."""

from __future__ import annotations

import base64
import re
import uuid

from keystile.model.errors import NotFoundError
from keystile.sandbox.binding import Scope
from keystile.sandbox.dialect import Given
from keystile.sandbox.queries import Catalog
from keystile.sandbox.store import Dataset

_KEPT = 100
_ABORT = re.compile(
    r"\s*CALL\s+BQ\s*\.\s*ABORT_SESSION\s*\(\s*(?:'([^'\\]*)'|\"([^\"\\]*)\")?\s*\)\s*;?\s*",
    re.IGNORECASE,
)


def aborted(sql: str) -> str | None:
    """Name the session that `CALL BQ.ABORT_SESSION` ends: empty for its own, None for other SQL."""
    found = _ABORT.fullmatch(sql)
    return found and (found[1] or found[2] or "")


class Sessions:
    """All sessions, by project and id; each has a hidden dataset for what is temporary."""

    def __init__(self, catalog: Catalog) -> None:
        """Keep what is temporary in `catalog`."""
        self._store = catalog.store
        self._datasets: dict[tuple[str, str], str] = {}
        self._variables: dict[tuple[str, str], tuple[Given, ...]] = {}

    def create(self, project: str) -> str:
        """Begin a session and give its id; the oldest goes where there are too many."""
        session = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()
        dataset = self._datasets[project, session] = f"_session{uuid.uuid4().hex}"
        self._store.put_dataset(Dataset((project, dataset), 0.0))
        if len(self._datasets) > _KEPT:
            oldest, gone = next(iter(self._datasets.items()))
            del self._datasets[oldest]
            self._variables.pop(oldest, None)
            self._store.drop_dataset((oldest[0], gone))
        return session

    def scope(self, project: str, session: str) -> Scope:
        """Give what a session adds to the names of a statement; without a session nothing.

        Raises `NotFoundError`.
        """
        if not session:
            return Scope()
        if (project, session) not in self._datasets:
            raise NotFoundError(f"Not found: Session {session[:100]}")
        key = project, session
        return Scope(self._datasets[key], self._variables.get(key, ()))

    def abort(self, project: str, session: str) -> None:
        """End a session with all that is temporary in it. Raises `NotFoundError`."""
        self.scope(project, session or "?")
        dataset = self._datasets.pop((project, session))
        self._variables.pop((project, session), None)
        self._store.drop_dataset((project, dataset))

    def keep(self, project: str, session: str, variables: tuple[Given, ...]) -> None:
        """Keep the variables of a script for the jobs after it; without a session none."""
        if (project, session) in self._datasets:
            self._variables[project, session] = variables
