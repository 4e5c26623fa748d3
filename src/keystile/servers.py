"""The HTTP servers of one process."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from keystile.config.listeners import HttpListener, Listener
from keystile.model.errors import UnsafeConfigurationError
from keystile.tls.end import End, front

_GRACE_SECONDS = 3
# Longer than load balancers keep theirs, Google's for 600 seconds: they must close first, or else
# a request meets a closed connection, and its client a 502.
_KEEP_ALIVE_SECONDS = 630


class Served(NamedTuple):
    """An ASGI application and where it is served, with TLS or without.

    `lifespan` tells whether it has a start.
    """

    at: HttpListener
    app: Any
    lifespan: Literal["on", "off"]
    tls: End | None


class _Server(uvicorn.Server):
    """A server among several in one process, which leaves signals to `run`."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Protocol(HttpToolsProtocol):
    """Tells the application what certificate the client has shown and OpenSSL has verified.

    It stands where ASGI has its TLS extension, which is there for TLS only, as `client_cert`: in
    DER, or None. Nothing that a client sends can put it there.
    """

    _tls: dict[object, object] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        secured = transport.get_extra_info("ssl_object")
        if secured is not None:
            self._tls = {"client_cert": secured.getpeercert(binary_form=True)}

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._tls is not None:
            self.scope["extensions"] = {"tls": self._tls}


async def run(
    served: Sequence[Served], lasting: Iterable[Coroutine[Any, Any, None]], ready: asyncio.Event
) -> None:
    """Serve until SIGTERM or SIGINT, with work beside that ends then as well.

    `ready` is set once every port answers. Raises `UnsafeConfigurationError` for a port that is
    taken.
    """
    sockets = [_listening(one.at) for one in served]
    servers = tuple(_server(one) for one in served)
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, _stop, servers)
    background = [asyncio.ensure_future(work) for work in lasting]
    try:
        async with asyncio.TaskGroup() as group:
            for server, listening in zip(servers, sockets, strict=True):
                group.create_task(server.serve(sockets=[listening]))
            while not all(server.started for server in servers):
                if any(server.should_exit for server in servers):
                    break
                await asyncio.sleep(0.01)
            else:
                ready.set()
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)


def _listening(listener: Listener) -> socket.socket:
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((listener.host, listener.port))
    except OSError as error:
        listening.close()
        raise UnsafeConfigurationError(
            f"cannot listen on `{listener.host}:{listener.port}`: {error.strerror}",
            hint="choose another port, or stop what has it",
        ) from error
    return listening


def _server(served: Served) -> _Server:
    return _Server(
        uvicorn.Config(
            served.app,
            http=_Protocol,
            ssl_context_factory=_context_of(served.tls) if served.tls else None,
            lifespan=served.lifespan,
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=bool(served.at.trusted_proxies),
            forwarded_allow_ips=[*served.at.trusted_proxies],
            timeout_graceful_shutdown=_GRACE_SECONDS,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        )
    )


def _context_of(end: End) -> Callable[..., ssl.SSLContext]:
    return lambda *_: front(end)


def _stop(servers: tuple[_Server, ...]) -> None:
    for server in servers:
        server.should_exit = True
