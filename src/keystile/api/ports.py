"""What the data port needs of the rooms below it. Tests give fakes, `app.py` the real ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from typing import Protocol

from keystile.model.principal import Principal
from keystile.model.schema import TableId
from keystile.model.sender import Sender
from keystile.wire.read_sessions import ReadRequest, ReadSession
from keystile.wire.requests import JobsRequest, PageRequest, QueryRequest
from keystile.wire.resources import NewDataset, NewTable
from keystile.wire.responses import JobsView, JobView, Resource, ResultsView, Row
from keystile.wire.routines import NewRoutine
from keystile.wire.streaming import BadRow, NewRows
from keystile.wire.updates import Update
from keystile.wire.uploads import Piece

Check = Callable[[], Awaitable[None]]
"""One readiness check. Raises `KeystileError`, whose sentence `/readyz` shows, when not ready."""


class ReadSessions(Protocol):
    """Sessions of the Storage Read API. Raises as `Gate` does."""

    async def create(self, principal: Principal, asked: ReadRequest) -> ReadSession:
        """Open a session, under the decision that a query of the same rows gets."""
        ...

    async def session(self, principal: Principal, name: str) -> ReadSession:
        """Give the principal's session; another's is `NotFoundError`, like an absent one."""
        ...

    async def rows(self, principal: Principal, name: str, start: int) -> Sequence[Row]:
        """Give some rows of a session from row `start` on."""
        ...


class Gate(Protocol):
    """The pipeline and job ownership.

    Every method raises `KeystileError` and, where it waits for a job without giving it,
    `JobFailedError`; nothing else.

    INVARIANT: a job, result or page of another principal is `NotFoundError`, like an absent one.
    """

    async def query(
        self, principal: Principal, request: QueryRequest, page: PageRequest
    ) -> ResultsView:
        """Plan and start a query, then do as `results`; a dry run gives no rows."""
        ...

    async def insert(self, principal: Principal, request: QueryRequest) -> JobView:
        """Plan and start a query without waiting for its end."""
        ...

    async def job(self, principal: Principal, project: str, job_id: str) -> JobView:
        """Give a job as it stands."""
        ...

    async def results(
        self, principal: Principal, project: str, job_id: str, page: PageRequest
    ) -> ResultsView:
        """Wait for a job up to `page.timeout_ms`, then give a page of its rows.

        A job that is not done gives no rows. A `max_results` of None lets the gate choose.
        """
        ...

    async def jobs(self, principal: Principal, project: str, asked: JobsRequest) -> JobsView:
        """List the principal's jobs, newest first."""
        ...

    async def cancel(self, principal: Principal, project: str, job_id: str) -> JobView:
        """Ask for a job's end."""
        ...

    async def rows(
        self, principal: Principal, project: str, dataset: str, table: str, page: PageRequest
    ) -> ResultsView | None:
        """Give a page of a table's rows, as its query would; none of one without columns."""
        ...

    async def insert_rows(self, principal: Principal, rows: NewRows) -> tuple[BadRow, ...]:
        """Put rows into a table at once, and give those that are not in it."""
        ...

    async def projects(self, principal: Principal, page: PageRequest) -> Resource:
        """Give the answer of projects.list."""
        ...

    async def datasets(
        self, principal: Principal, project: str, page: PageRequest, labels: str
    ) -> Resource:
        """Give the answer of datasets.list; `labels` is its `filter`."""
        ...

    async def dataset(self, principal: Principal, project: str, dataset: str) -> Resource:
        """Give the answer of datasets.get."""
        ...

    async def tables(
        self, principal: Principal, project: str, dataset: str, page: PageRequest
    ) -> Resource:
        """Give the answer of tables.list."""
        ...

    async def table(self, principal: Principal, project: str, dataset: str, table: str) -> Resource:
        """Give the answer of tables.get."""
        ...

    async def permissions(
        self, principal: Principal, table: TableId, asked: Collection[str]
    ) -> list[str]:
        """Give those of BigQuery's permissions on a table that policy gives the principal."""
        ...

    async def routines(
        self, principal: Principal, project: str, dataset: str, page: PageRequest
    ) -> Resource:
        """Give the answer of routines.list."""
        ...

    async def service_account(self, principal: Principal, project: str) -> Resource:
        """Give the answer of projects.getServiceAccount."""
        ...

    async def models(
        self, principal: Principal, project: str, dataset: str, page: PageRequest
    ) -> Resource:
        """Give the answer of models.list."""
        ...

    async def routine(
        self, principal: Principal, project: str, dataset: str, routine: str
    ) -> Resource:
        """Give the answer of routines.get."""
        ...

    async def create_dataset(self, principal: Principal, new: NewDataset) -> Resource:
        """Make a dataset and give the answer of datasets.insert."""
        ...

    async def update_dataset(
        self, principal: Principal, project: str, dataset: str, update: Update
    ) -> Resource:
        """Change a dataset and give the answer of datasets.patch."""
        ...

    async def delete_dataset(
        self, principal: Principal, project: str, dataset: str, *, contents: bool
    ) -> None:
        """Drop a dataset; one that holds something only with `contents`."""
        ...

    async def create_table(self, principal: Principal, new: NewTable) -> Resource:
        """Make a table or a view and give the answer of tables.insert."""
        ...

    async def update_table(
        self, principal: Principal, project: str, dataset: str, table: str, update: Update
    ) -> Resource:
        """Change a table or a view and give the answer of tables.patch."""
        ...

    async def delete_table(
        self, principal: Principal, project: str, dataset: str, table: str
    ) -> None:
        """Drop a table or a view."""
        ...

    async def create_routine(self, principal: Principal, new: NewRoutine) -> Resource:
        """Make a function and give the answer of routines.insert."""
        ...

    async def replace_routine(self, principal: Principal, new: NewRoutine, etag: str) -> Resource:
        """Replace a routine by a function and give the answer of routines.update.

        `etag` is the state that the client knows; empty or `*` for any.
        """
        ...

    async def delete_routine(
        self, principal: Principal, project: str, dataset: str, routine: str
    ) -> None:
        """Drop a routine."""
        ...


class Progress(Protocol):
    """How far an upload has come."""

    @property
    def job(self) -> JobView | None:
        """Its job, once all bytes are there."""
        ...

    @property
    def received(self) -> int:
        """How many bytes are there."""
        ...


class Uploads(Protocol):
    """Load jobs with data. Every method raises `KeystileError`, and what the bytes raise."""

    async def begin(self, principal: Principal, request: QueryRequest) -> str:
        """Begin an upload piece by piece, and give its id."""
        ...

    async def go_on(
        self,
        principal: Principal,
        project: str,
        id_: str,
        piece: Piece,
        chunks: AsyncIterator[bytes],
    ) -> Progress:
        """Take a piece, or with an empty one tell how far the upload has come."""
        ...

    async def whole(
        self, principal: Principal, request: QueryRequest, chunks: AsyncIterator[bytes]
    ) -> JobView:
        """Take an upload that comes in one request."""
        ...

    async def drop(self, principal: Principal, project: str, id_: str) -> None:
        """Give an upload up."""
        ...


class Principals(Protocol):
    """Who stands behind a gateway token."""

    async def principal(self, unverified_token: str, sender: Sender) -> Principal:
        """Give the principal of a token that `sender` has sent.

        Raises `UnauthenticatedError` for a token that is unknown, has expired or is another's,
        `RefusedError` for a disabled agent and when that cannot be found out.
        """
        ...


class Agents(Principals, Protocol):
    """Who stands behind a token, and what became of them since."""

    async def current(self, principal: Principal) -> Principal:
        """Give what an agent of earlier is by now.

        Raises `RefusedError` for a disabled one, `UnauthenticatedError` for one that is gone.
        """
        ...


class IssuedToken(Protocol):
    """A gateway token that was just issued, as RFC 8693 section 2.2.1 answers it."""

    @property
    def access_token(self) -> str:
        """The opaque token."""
        ...

    @property
    def expires_in(self) -> int:
        """Seconds until it expires."""
        ...

    @property
    def issued_token_type(self) -> str:
        """The URN of an access token."""
        ...

    @property
    def token_type(self) -> str:
        """How the token is presented: `Bearer`."""
        ...


class TokenExchange(Protocol):
    """RFC 8693: an agent's own token for a gateway token, and the end of that by RFC 7009."""

    async def exchange(self, body: bytes, content_type: str, sender: Sender) -> IssuedToken:
        """Answer one request, whose form is in `body`.

        Raises `TokenRefusedError` when the form or its subject token is not accepted.
        """
        ...

    async def revoke(self, body: bytes, content_type: str, sender: Sender) -> None:
        """End the gateway token that the form names (RFC 7009). Raises `TokenRefusedError`."""
        ...


class IssuerDocuments(Protocol):
    """What verifiers read of the built-in issuer (OpenID Connect Discovery section 4)."""

    def discovery(self) -> Mapping[str, object]:
        """Give the provider's metadata."""
        ...

    def jwks(self) -> Mapping[str, object]:
        """Give the public keys (RFC 7517 section 5)."""
        ...
