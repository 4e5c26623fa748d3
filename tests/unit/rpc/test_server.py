"""The server on an address: its port, and TLS with a certificate that is renewed."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio
from tests.support.authority import Authority, der

from keystile.model.errors import UnsafeConfigurationError
from keystile.rpc.server import RpcServer
from keystile.tls import end


class Echo(grpc.GenericRpcHandler):  # type: ignore[misc]  # Any to mypy
    def service(self, _details: Any) -> Any:
        async def answer(request: bytes, _context: Any) -> bytes:
            return request

        return grpc.unary_unary_rpc_method_handler(answer)


def _shown(port: int) -> bytes:
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port), timeout=10))


async def test_two_servers_do_not_share_a_port() -> None:
    server = await RpcServer.listening(Echo(), "127.0.0.1", 0, None)
    try:
        with pytest.raises(UnsafeConfigurationError, match=f"127.0.0.1:{server.port}"):
            await RpcServer.listening(Echo(), "127.0.0.1", server.port, None)
    finally:
        await server.close()


async def test_a_renewed_certificate_is_shown_and_open_connections_go_on(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    listening = end.server("storage", authority.pair("a"))
    server = await RpcServer.listening(Echo(), "127.0.0.1", 0, listening)
    trusted = grpc.ssl_channel_credentials(authority.root.read_bytes())
    address = f"127.0.0.1:{server.port}"
    try:
        async with aio.secure_channel(address, trusted) as before:
            assert await before.unary_unary("/any/Method")(b"one") == b"one"
            assert await asyncio.to_thread(_shown, server.port) == der(tmp_path / "a.pem")
            authority.write("a")
            listening.renew()
            assert await asyncio.to_thread(_shown, server.port) == der(tmp_path / "a.pem")
            assert await before.unary_unary("/any/Method")(b"two") == b"two"
        (tmp_path / "a.pem").write_text("nothing")
        with pytest.raises(UnsafeConfigurationError):
            listening.renew()
        async with aio.secure_channel(address, trusted) as after:
            assert await after.unary_unary("/any/Method")(b"three") == b"three"
    finally:
        await server.close()
