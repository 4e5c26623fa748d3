"""Names of one's own: a certificate for them, and a proxy that leads them to local ports.

The proxy is what HTTPS_PROXY is in a company: it is asked to CONNECT to a name, and knows where
that is. Every other name is refused and written down.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def free_port() -> int:
    """Give a port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port: int = holder.getsockname()[1]
    return port


class Certificate(NamedTuple):
    """Files: the root that clients trust, and the pair that a server shows."""

    root: Path
    certificate: Path
    key: Path


def certificate(folder: Path, names: list[str]) -> Certificate:
    """Make a certificate for some names and for this machine, under a root of its own."""
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test root")])
    root = (
        _certificate(root_name, root_name, root_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    called: list[Any] = [x509.DNSName(name) for name in names]
    called.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    leaf = (
        _certificate(subject, root_name, key)
        .add_extension(x509.SubjectAlternativeName(called), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    made = Certificate(folder / "root.pem", folder / "cert.pem", folder / "cert-key.pem")
    made.root.write_bytes(root.public_bytes(serialization.Encoding.PEM))
    made.certificate.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return made


def _certificate(subject: x509.Name, issuer: x509.Name, key: Any) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )


class Proxy:
    """Leads names to ports: to those of `plain` after it has taken TLS off, to `secure` as it is.

    `refused` has every other name that was asked for. It runs in a thread, from `with` on.
    """

    def __init__(
        self, shown: Certificate, plain: Mapping[str, int], secure: Mapping[str, int]
    ) -> None:
        """Show this certificate; serve nothing yet."""
        self.port = 0
        self.refused: list[str] = []
        self.led: list[str] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(shown.certificate, shown.key)
        self._plain, self._ports = plain, dict(secure)
        self._servers: list[asyncio.Server] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> None:
        for name, port in self._plain.items():
            server = await asyncio.start_server(_to(port), "127.0.0.1", 0, ssl=self._context)
            self._servers.append(server)
            self._ports[name] = server.sockets[0].getsockname()[1]
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self._servers.append(server)
        self.port = server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        for server in self._servers:
            server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        port = self._ports.get(asked.removesuffix(":443"))
        if port is None:
            self.refused.append(asked)
            writer.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            writer.close()
            return
        self.led.append(asked.removesuffix(":443"))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await _to(port)(reader, writer)


def _to(port: int) -> Any:
    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_copied(reader, back), _copied(there, writer))

    return lead


async def _copied(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(1 << 16):
            target.write(data)
            await target.drain()
    except OSError:
        return
    finally:
        target.close()
