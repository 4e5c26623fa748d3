"""The gRPC server that answers on one address."""

from __future__ import annotations

from typing import Any

import grpc
from grpc import aio

from keystile.model.errors import UnsafeConfigurationError
from keystile.rpc.service import CALLS_OF_ONE
from keystile.tls.end import End
from keystile.tls.pair import Pair

_OPTIONS = (
    ("grpc.so_reuseport", 0),  # else two servers would share a port without a word
    ("grpc.max_receive_message_length", 2 << 20),
)
_CALLS_AT_ONCE = 8 * CALLS_OF_ONE
_GRACE_SECONDS = 3.0


class RpcServer:
    """A server that listens. `port` is the one it has."""

    def __init__(self, server: Any, port: int) -> None:
        """Hold a started server."""
        self._server = server
        self.port = port

    @classmethod
    async def listening(
        cls, service: grpc.GenericRpcHandler, host: str, port: int, tls: End | None
    ) -> RpcServer:
        """Serve on an address; port 0 takes a free one.

        Raises `UnsafeConfigurationError` where the address is taken.
        """
        server = aio.server(options=_OPTIONS, maximum_concurrent_rpcs=_CALLS_AT_ONCE)
        server.add_generic_rpc_handlers((service,))
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if tls is None:
                bound = server.add_insecure_port(address)
            else:
                bound = server.add_secure_port(address, _Renewed(tls).credentials())
        except RuntimeError as error:
            raise UnsafeConfigurationError(
                f"cannot serve the Storage Read API on `{host}:{port}`",
                hint="choose another port, or stop what has it",
            ) from error
        await server.start()
        return cls(server, bound)

    async def close(self) -> None:
        """Stop taking calls, and end those under way after some seconds."""
        await self._server.stop(_GRACE_SECONDS)


class _Renewed:
    """Gives gRPC a certificate for each new connection: the one of `end` as of now."""

    def __init__(self, end: End) -> None:
        self._end = end
        self._given = end.material.pair

    def credentials(self) -> Any:
        return grpc.dynamic_ssl_server_credentials(_configuration(self._given), self._new)

    def _new(self) -> Any:
        """Give the new one if there is, else None. gRPC asks in a thread of its own."""
        pair = self._end.material.pair
        if pair is self._given:
            return None
        self._given = pair
        return _configuration(pair)


def _configuration(pair: Pair | None) -> Any:
    shown = [(pair.key, pair.certificate)] if pair else []  # of none, gRPC says so itself
    return grpc.ssl_server_certificate_configuration(shown)
