"""One end of TLS, a listener's or a client's: what it shows and whom it trusts, as of now."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from keystile.model.errors import UnsafeConfigurationError
from keystile.tls.pair import Pair, PairFiles, in_memory, read_pem

# With forward secrecy and authenticated; TLS 1.3 has no other.
_CIPHERS = "@SECLEVEL=2:ECDHE+AESGCM:ECDHE+CHACHA20"


class Material(NamedTuple):
    """What a context is made of: the pair that is shown, and the authorities that are trusted."""

    pair: Pair | None
    authorities: bytes


class End:
    """A context that is never changed, only replaced when its files hold something new and sound.

    So connections that are there go on, and a broken file breaks nothing.
    """

    def __init__(
        self,
        name: str,
        files: PairFiles | None,
        authorities: Path | None,
        build: Callable[[Material], ssl.SSLContext],
    ) -> None:
        """Read all files. Raises `UnsafeConfigurationError` for what is not sound."""
        self.name = name
        self._files, self._authorities, self._build = files, authorities, build
        self.material, self.context = self._made(self._read())

    def renew(self) -> bool:
        """Take what is new in the files, and tell whether something is.

        Raises `UnsafeConfigurationError` for what is not sound; then all stays as it was.
        """
        material = self._read()
        if material == self.material:
            return False
        self.material, self.context = self._made(material)
        return True

    def _read(self) -> Material:
        pair = self._files.read() if self._files else None
        return Material(pair, read_pem(self._authorities) if self._authorities else b"")

    def _made(self, material: Material) -> tuple[Material, ssl.SSLContext]:
        try:
            return material, self._build(material)
        except ssl.SSLError as error:
            message = f"`{self._authorities}` holds no certificates of authorities"
            raise UnsafeConfigurationError(message, hint="give PEM certificates") from error


def server(name: str, files: PairFiles, client_authorities: Path | None = None) -> End:
    """Make the end of a listener, which asks for a client's certificate where it trusts some.

    A client may show none; one that no authority stands behind ends the connection.
    """
    return End(name, files, client_authorities, _server_context)


def client(name: str, files: PairFiles | None, authorities: Path | None) -> End:
    """Make the end of a client. Without authorities of its own it trusts those of the system."""
    return End(name, files, authorities, _client_context)


def front(end: End) -> ssl.SSLContext:
    """Give a listener's context that hands each new connection to the one of `end` as of now."""

    def switch(connection: ssl.SSLObject | ssl.SSLSocket, *_: object) -> None:
        connection.context = end.context

    context = _server_context(end.material)
    context.sni_callback = switch
    return context


def _server_context(material: Material) -> ssl.SSLContext:
    context = _hardened(ssl.PROTOCOL_TLS_SERVER, material)
    if material.authorities:
        context.verify_mode = ssl.CERT_OPTIONAL
        # INVARIANT: no session is resumed: it would bring a certificate that was verified long ago.
        # In TLS 1.2 the server keeps sessions itself, which Python cannot turn off.
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.num_tickets = 0
    return context


def _client_context(material: Material) -> ssl.SSLContext:
    context = _hardened(ssl.PROTOCOL_TLS_CLIENT, material)
    if not material.authorities:
        context.load_default_certs()
    return context


def _hardened(protocol: int, material: Material) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    if material.pair:
        material.pair.load_into(context)
    if material.authorities:
        with in_memory(material.authorities) as path:
            context.load_verify_locations(path)
    return context
