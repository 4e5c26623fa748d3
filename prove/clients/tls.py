"""Puts TLS before a server, as an operator's own proxy does, for clients that ask for it."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

_HOST = "127.0.0.1"
_PASSWORD = "not-a-secret"  # noqa: S105 - Java opens no trust store without one
_CHUNK = 1 << 16


class Authority:
    """A certificate for this machine's own address, and what makes a client trust it.

    `file` holds it and its key.
    """

    def __init__(self, folder: Path) -> None:
        """Make the files in a folder that is there."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "prove clients")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(_HOST))]), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        self.file = folder / "tls.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        self.file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
        self._store = folder / "trust.p12"
        protection = serialization.BestAvailableEncryption(_PASSWORD.encode())
        trusted = [pkcs12.PKCS12Certificate(certificate, b"here")]
        self._store.write_bytes(pkcs12.serialize_java_truststore(trusted, protection))

    @property
    def trusting(self) -> dict[str, str]:
        """The variables by which a program for Java trusts it."""
        store = f"-Djavax.net.ssl.trustStore={self._store}"
        return {"JAVA_TOOL_OPTIONS": f"{store} -Djavax.net.ssl.trustStorePassword={_PASSWORD}"}

    @contextmanager
    def before(self, address: str) -> Iterator[str]:
        """Serve over TLS what a plain address serves, and give the new address."""
        port: Future[int] = Future()
        over = threading.Event()
        serving = self._serve(address, port, over)
        thread = threading.Thread(target=asyncio.run, args=(serving,))
        thread.start()
        try:
            yield f"https://{_HOST}:{port.result()}"
        finally:
            over.set()
            thread.join()

    async def _serve(self, address: str, port: Future[int], over: threading.Event) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file)
        there = urlsplit(address)

        async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            far_reader, far_writer = await asyncio.open_connection(there.hostname, there.port)
            await asyncio.gather(_passed(reader, far_writer), _passed(far_reader, writer))

        server = await asyncio.start_server(joined, _HOST, 0, ssl=context)
        async with server:
            port.set_result(server.sockets[0].getsockname()[1])
            await asyncio.to_thread(over.wait)


async def _passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on bytes one way until there are no more."""
    try:
        with suppress(ConnectionError):
            while data := await reader.read(_CHUNK):
                writer.write(data)
                await writer.drain()
    finally:
        writer.close()
