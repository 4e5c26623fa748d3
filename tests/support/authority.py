"""A certificate authority of the test's own."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keystile.tls.pair import PairFiles

_USES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}


class Authority:
    """Signs certificates for this machine. Its own stands in `root`."""

    def __init__(self, folder: Path, name: str = "ca", ends: float = 86_400) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        self.folder = folder
        self.root = folder / f"{name}.pem"
        made = _built(self._name, self._name, self._key, -3600, ends)
        constraint = x509.BasicConstraints(ca=True, path_length=0)
        signed = made.add_extension(constraint, critical=True).sign(self._key, hashes.SHA256())
        self.root.write_bytes(signed.public_bytes(serialization.Encoding.PEM))

    def write(
        self,
        name: str,
        use: str = "server",
        *,
        begins: float = -3600,
        ends: float = 86_400,
        password: bytes = b"",
    ) -> tuple[Path, Path]:
        """Put a new certificate and key in `NAME.pem` and `NAME-key.pem`; times from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        known = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        leaf = (
            _built(_name(name), self._name, key, begins, ends)
            .add_extension(x509.SubjectAlternativeName(known), critical=False)
            .add_extension(x509.ExtendedKeyUsage([_USES[use]]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        files = self.folder / f"{name}.pem", self.folder / f"{name}-key.pem"
        files[0].write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
        files[1].touch(mode=0o600)
        encrypted: Any = serialization.NoEncryption()
        if password:
            encrypted = serialization.BestAvailableEncryption(password)
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encrypted
            )
        )
        return files

    def pair(
        self, name: str, use: str = "server", *, begins: float = -3600, ends: float = 86_400
    ) -> PairFiles:
        """Write a pair, and give it as what reads it."""
        return PairFiles(*self.write(name, use, begins=begins, ends=ends))


def der(file: Path) -> bytes:
    """Give the certificate of a PEM file as the other side sees it."""
    made = x509.load_pem_x509_certificate(file.read_bytes())
    return made.public_bytes(serialization.Encoding.DER)


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _built(
    subject: x509.Name, issuer: x509.Name, key: Any, begins: float, ends: float
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(seconds=min(begins, ends - 1)))
        .not_valid_after(now + timedelta(seconds=ends))
    )
