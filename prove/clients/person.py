"""The person who decides on what waits: approves one customer, denies another, lets the rest be."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from keystile.approvals.requests import ApprovalRequest, Approvals, ApprovalState, Person
from keystile.config.settings import Settings
from keystile.store.database import Database

COMMENT = "ask for less"
SAYS = {
    "denial": f"denied by `operator`: {COMMENT}",
    "expiry": "nobody approved the query in time",
    "withdrawal": "cancelled while it waited for approval",
}
"""What a client must tell its user when its query is not run."""

_OPERATOR = Person("operator", ("data-stewards",))
_CUSTOMER = re.compile(r"\bid`?\)?\s*=\s*(\d)")
_RESULT = re.compile(r"\banon[0-9a-f]{32}\b")
_VERDICTS = {"1": True, "2": False}
_LOOK_EVERY = 0.5  # seconds


@contextmanager
def deciding(settings: Settings, after: float) -> Iterator[None]:
    """Decide on each request so many seconds after it was made, until the block ends."""
    over = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_decide(settings, after, over)))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


async def _decide(settings: Settings, after: float, over: threading.Event) -> None:
    database = Database(settings.database_url)
    await database.open()
    try:
        approvals = Approvals(database)
        while not over.is_set():
            now = time.time()
            for request in await approvals.list(ApprovalState.PENDING):
                verdict = _verdict(request)
                if verdict is not None and now >= request.requested_at + after:
                    await approvals.vote(
                        request.id, _OPERATOR, approve=verdict, comment=COMMENT, via="cli", now=now
                    )
            await asyncio.sleep(_LOOK_EVERY)
    finally:
        await database.close()


def _verdict(request: ApprovalRequest) -> bool | None:
    if _RESULT.search(request.summary.sql):
        return True  # goes on with the rows of a query that was approved
    found = _CUSTOMER.search(request.summary.sql)
    return _VERDICTS.get(found[1]) if found else None
