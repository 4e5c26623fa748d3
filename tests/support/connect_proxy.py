"""A forward proxy as companies have them: asked to CONNECT, it leads every name to one port."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class ConnectProxy:
    """`heads` has all that it was asked, `url` is its address.

    `shown` has the certificate of each client, where it speaks TLS.

    Where it has a `password`, it asks for it (RFC 7617), and for who comes.
    """

    def __init__(self, port: int, user: str = "", password: str = "") -> None:
        self.heads: list[bytes] = []
        self.shown: list[bytes | None] = []
        self.url = ""
        self._port = port
        basic = base64.b64encode(f"{user}:{password}".encode())
        self._asks = b"\r\nProxy-Authorization: Basic " + basic + b"\r\n" if password else b""

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            if secured := writer.get_extra_info("ssl_object"):
                self.shown.append(secured.getpeercert(binary_form=True))
            if self._asks not in self.heads[-1]:
                writer.write(
                    b"HTTP/1.1 407 Proxy Authentication Required\r\n"
                    b"Proxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
                )
                await writer.drain()
                return
            beyond, back = await asyncio.open_connection("127.0.0.1", self._port)
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            async with asyncio.TaskGroup() as group:
                group.create_task(_pass(reader, back))
                group.create_task(_pass(beyond, writer))
        finally:
            writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def connect_proxy(
    port: int, user: str = "", password: str = "", tls: ssl.SSLContext | None = None
) -> AsyncIterator[ConnectProxy]:
    """Run one that leads to this port."""
    proxy = ConnectProxy(port, user, password)
    server = await asyncio.start_server(proxy._answer, "127.0.0.1", 0, ssl=tls)
    scheme = "https" if tls else "http"
    proxy.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
