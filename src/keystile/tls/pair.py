"""A certificate and its private key, read from two PEM files and found to fit each other."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cryptography import x509

from keystile.model.errors import UnsafeConfigurationError
from keystile.secrets.file import SecretFile

_MAX_BYTES = 1 << 20


class Pair(NamedTuple):
    """What stands in both files. All of the chain counts from `begins` to `ends`, UTC seconds."""

    certificate: bytes
    key: bytes
    begins: float
    ends: float

    def __repr__(self) -> str:
        """Say how long it counts, never the key."""
        return f"Pair(ends={self.ends})"

    def load_into(self, context: ssl.SSLContext) -> None:
        """Make a context show this certificate. Raises `ssl.SSLError` where the two do not fit."""
        # From memory, since OpenSSL takes files only, and those on disk may be changing.
        with in_memory(self.certificate) as certificate, in_memory(self.key) as key:
            # No password, since OpenSSL would ask a terminal for that of an encrypted key.
            context.load_cert_chain(certificate, key, password="")


class PairFiles:
    """Where a certificate with its chain, and its private key, stand; PEM both."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Remember both paths; nothing is read yet."""
        self._certificate = certificate
        self._key = SecretFile(key)
        self._last: Pair | None = None

    def read(self) -> Pair:
        """Read both files, and check them if they have changed.

        Raises `UnsafeConfigurationError` when one is unreadable or not what it should be, when they
        do not fit each other, or when the certificate does not count now.
        """
        certificate, key = read_pem(self._certificate), self._key.read()
        last = self._last
        if last and (certificate, key) == (last.certificate, last.key):
            return last
        self._last = self._checked(certificate, key)
        return self._last

    def _checked(self, certificate: bytes, key: bytes) -> Pair:
        try:
            chain = x509.load_pem_x509_certificates(certificate)
            begins = max(one.not_valid_before_utc.timestamp() for one in chain)
            ends = min(one.not_valid_after_utc.timestamp() for one in chain)
            pair = Pair(certificate, key, begins, ends)
            pair.load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        except (ValueError, ssl.SSLError):
            # INVARIANT: `from None`, since the cause may quote the key.
            raise UnsafeConfigurationError(
                f"`{self._certificate}` and `{self._key.path}` are no certificate and its key",
                hint="give PEM files: the own certificate before its chain, a key without password",
            ) from None
        if not begins <= time.time() < ends:
            raise UnsafeConfigurationError(
                f"the certificate `{self._certificate}` counts from {_day(begins)} to {_day(ends)}",
                hint="renew it",
            )
        return pair


class Span(NamedTuple):
    """How long a certificate counts, in UTC seconds."""

    begins: float
    ends: float


def spans(authorities: bytes) -> tuple[Span, ...]:
    """Say how long each certificate of a PEM file counts; none where Python cannot read one."""
    try:
        found = x509.load_pem_x509_certificates(authorities)
    except ValueError:
        return ()
    return tuple(
        Span(one.not_valid_before_utc.timestamp(), one.not_valid_after_utc.timestamp())
        for one in found
    )


def read_pem(path: Path) -> bytes:
    """Read a file of certificates. Raises `UnsafeConfigurationError`."""
    try:
        content = path.read_bytes() if path.stat().st_size <= _MAX_BYTES else b""
    except OSError as error:
        raise UnsafeConfigurationError(
            f"cannot read `{path}`: {error.strerror}", hint="name a file that this user may read"
        ) from error
    if not content:
        raise UnsafeConfigurationError(f"`{path}` is empty or larger than {_MAX_BYTES} bytes")
    return content


@contextmanager
def in_memory(content: bytes) -> Iterator[str]:
    """Give the path of a file that is on no disk."""
    descriptor = os.memfd_create("keystile")
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _day(moment: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(moment))
