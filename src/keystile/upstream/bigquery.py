"""BigQuery's REST API (`bigquery/v2`), as far as the gateway uses it."""

from __future__ import annotations

from keystile.config.upstream import MOST_BILLED
from keystile.tls.outward import DIRECT, Outward
from keystile.upstream.changes import Changes
from keystile.upstream.jobs import Jobs
from keystile.upstream.objects import Noted
from keystile.upstream.resources import Resources
from keystile.upstream.rows import StoredRows
from keystile.upstream.transport import Credential, Transport
from keystile.upstream.uploads import UpstreamUploads
from keystile.upstream.values import NOBODY, Account


class BigQuery(Jobs, StoredRows, Changes, Resources):
    """BigQuery under one account of the gateway's.

    Every method raises `RefusedError` on an outage, a time-out or an answer that is not understood,
    and else the error that BigQuery's own maps to (`upstream.errors`).
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what one account's BigQuery is made of
        self,
        endpoint: str,
        credential: Credential,
        timeout: float,
        outward: Outward = DIRECT,
        account: Account = NOBODY,
        noted: Noted | None = None,
        most_billed: int = MOST_BILLED,
    ) -> None:
        """Take the root URL; `timeout` is in seconds for one exchange. `credential` is `account`'s.

        `noted` tells what the gateway knows of tables beside. INVARIANT: no query, nor a statement
        of a script, is billed for more than `most_billed`. Raises `UnsafeConfigurationError` when
        the endpoint would expose the credential.
        """
        super().__init__(Transport(endpoint, credential, timeout, outward), noted)
        self.account = account
        self._most_billed = most_billed
        self.uploads = UpstreamUploads(self._transport, self._secrets)

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()
