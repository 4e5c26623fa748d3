"""Tell open pages that something changed: one event stream (WHATWG HTML, server-sent events).

One watcher per process looks at the stores, whatever process wrote to them, and only while
somebody listens. A message is just the name of what changed; the page then fetches itself again,
so nothing protected ever travels here and there is one way only to make a page.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from keystile.console.desk import Desk
from keystile.model.errors import KeystileError, OverloadedError, UnauthenticatedError

Look = Callable[[], Awaitable[object]]

_LOOK_SECONDS = 1.0
_HEARTBEAT_SECONDS = 15.0
_MAX_LISTENERS = 256


class _Listener:
    """One open page: the topics it has not heard of yet. Each counts once, so this is bounded."""

    def __init__(self) -> None:
        self._topics: set[str] = set()
        self._any = asyncio.Event()
        self.greeted = False

    def tell(self, topic: str) -> None:
        self._topics.add(topic)
        self._any.set()

    async def changed(self, seconds: float) -> list[str]:
        """Wait for news, at most `seconds`, and take it."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._any.wait(), seconds)
        self._any.clear()
        topics, self._topics = self._topics, set()
        return sorted(topics)


class Live:
    """Watches `looks` (topic to a value that differs after a change) and tells who listens."""

    def __init__(self, desk: Desk, looks: Mapping[str, Look]) -> None:
        """Watch nothing yet; `running` starts it."""
        self._desk = desk
        self._looks = looks
        self._seen: dict[str, object] = {}
        self._listeners: set[_Listener] = set()
        self._somebody = asyncio.Event()

    @property
    def routes(self) -> list[Route]:
        """Where the stream stands."""
        return [Route("/live", self.stream, methods=["GET"])]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watch as long as the block lasts, then end every stream."""
        async with asyncio.TaskGroup() as group:
            watcher = group.create_task(self._watch())
            try:
                yield
            finally:
                watcher.cancel()

    async def stream(self, request: Request) -> Response:
        """Give the stream to a signed-in person. It ends when they sign out or the server stops."""
        visit = await self._desk.visit(request)
        if len(self._listeners) >= _MAX_LISTENERS:
            raise OverloadedError("too many pages are open", hint="reload the page to see changes")
        return StreamingResponse(
            self._messages(visit.session),
            media_type="text/event-stream",
            headers={"x-accel-buffering": "no"},
        )

    async def _messages(self, session: str) -> AsyncIterator[bytes]:
        listener = _Listener()
        self._listeners.add(listener)
        self._somebody.set()
        try:
            yield b"retry: 2000\n\n"
            while True:
                for topic in await listener.changed(_HEARTBEAT_SECONDS):
                    yield f"event: changed\ndata: {topic}\n\n".encode()
                # A comment keeps proxies from closing the stream; a session may have ended.
                await self._desk.people.signed_in(session)
                yield b": still here\n\n"
        except UnauthenticatedError:
            return
        finally:
            self._listeners.discard(listener)
            if not self._listeners:
                self._somebody.clear()

    async def _watch(self) -> None:
        while True:
            if not self._listeners:
                self._seen.clear()
                await self._somebody.wait()
            for topic, look in self._looks.items():
                try:
                    value = await look()
                except KeystileError:
                    continue  # The store is away; the pages themselves say so when fetched.
                if self._seen.setdefault(topic, value) != value:
                    self._seen[topic] = value
                    for listener in self._listeners:
                        listener.tell(topic)
            self._greet()
            await asyncio.sleep(_LOOK_SECONDS)

    def _greet(self) -> None:
        """Have a new listener's page fetched once more, now that changes from here on are seen.

        What changed between the making of the page and the first look would be missed otherwise.
        """
        if len(self._seen) < len(self._looks):
            return
        for listener in self._listeners:
            if not listener.greeted:
                listener.greeted = True
                for topic in self._looks:
                    listener.tell(topic)
