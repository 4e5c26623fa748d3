"""The gRPC server that answers on one address."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import grpc
from grpc import aio

from keystile.model.errors import UnsafeConfigurationError

_OPTIONS = (
    ("grpc.so_reuseport", 0),  # else two servers would share a port without a word
    ("grpc.max_receive_message_length", 2 << 20),
)
_CALLS_AT_ONCE = 256
_GRACE_SECONDS = 3.0


class Tls(NamedTuple):
    """A certificate with its chain, and its private key; PEM files both."""

    certificate: Path
    key: Path


class RpcServer:
    """A server that listens. `port` is the one it has."""

    def __init__(self, server: Any, port: int) -> None:
        """Hold a started server."""
        self._server = server
        self.port = port

    @classmethod
    async def listening(
        cls, service: grpc.GenericRpcHandler, host: str, port: int, tls: Tls | None
    ) -> RpcServer:
        """Serve on an address; port 0 takes a free one.

        Raises `UnsafeConfigurationError` where the address is taken or a file is no such thing.
        """
        server = aio.server(options=_OPTIONS, maximum_concurrent_rpcs=_CALLS_AT_ONCE)
        server.add_generic_rpc_handlers((service,))
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if tls is None:
                bound = server.add_insecure_port(address)
            else:
                bound = server.add_secure_port(address, _credentials(tls))
        except RuntimeError as error:
            raise UnsafeConfigurationError(
                f"cannot serve the Storage Read API on `{host}:{port}`",
                hint="choose another port, or stop what has it; with TLS, check both files",
            ) from error
        await server.start()
        return cls(server, bound)

    async def close(self) -> None:
        """Stop taking calls, and end those under way after some seconds."""
        await self._server.stop(_GRACE_SECONDS)


def _credentials(tls: Tls) -> Any:
    try:
        pair = (tls.key.read_bytes(), tls.certificate.read_bytes())
    except OSError as error:
        raise UnsafeConfigurationError(
            f"cannot read `{error.filename}`: {error.strerror}",
            hint="name PEM files that this user may read",
        ) from error
    return grpc.ssl_server_credentials([pair])
