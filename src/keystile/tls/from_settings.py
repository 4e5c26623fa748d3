"""Builds this room from the settings."""

from __future__ import annotations

from pathlib import Path

from keystile.config.listeners import Gateway
from keystile.config.proxy import Proxy as ProxySettings
from keystile.config.settings import Settings
from keystile.secrets.sources import Secrets
from keystile.telemetry.logs import logger
from keystile.tls.end import End, client, server
from keystile.tls.outward import Outward
from keystile.tls.pair import PairFiles
from keystile.tls.proxy import Proxy

_log = logger("tls")


def listening(settings: Settings) -> dict[str, End]:
    """Give the end of every listener that speaks TLS, by its name.

    Raises `UnsafeConfigurationError` for files that are not sound.
    """
    ends = {}
    for name, listener in settings.listeners.items():
        files = _pair(settings, listener.certificate_file, listener.key_file)
        if files:
            trusted = listener.client_ca_file if isinstance(listener, Gateway) else ""
            ends[name] = server(name, files, _file(settings, trusted))
        elif listener.unsafe_plain_http:
            _log.warning("unsafe_plain_http", at=name, host=listener.host)
    return ends


def to_upstream(settings: Settings) -> Outward:
    """Give the way to BigQuery. Raises `UnsafeConfigurationError` for files that are not sound."""
    upstream = settings.upstream
    files = _pair(settings, upstream.client_certificate_file, upstream.client_key_file)
    authorities = _file(settings, upstream.ca_file)
    end = client("upstream", files, authorities) if files or authorities else None
    return Outward(end, _proxy(settings, "upstream.proxy", upstream.proxy))


def to_google(settings: Settings) -> Outward:
    """Give the way to Google's servers that give tokens. Raises likewise."""
    return Outward(None, _proxy(settings, "upstream.proxy", settings.upstream.proxy))


def to_vault(settings: Settings) -> Outward:
    """Give the way to Vault. Raises `UnsafeConfigurationError` for files that are not sound."""
    vault = settings.vault
    if vault is None:
        return Outward()
    authorities = _file(settings, vault.ca_file)
    end = client("vault", None, authorities) if authorities else None
    return Outward(end, _proxy(settings, "vault.proxy", vault.proxy))


def secrets_of(settings: Settings, vault: Outward | None = None) -> Secrets:
    """Give the sources of secrets; `vault` is the way to Vault, where it is open already."""
    return Secrets(settings, lambda: vault or to_vault(settings), lambda: to_google(settings))


def to_issuer(settings: Settings, number: int) -> Outward:
    """Give the way to the issuer of that number. Raises `UnsafeConfigurationError` likewise."""
    authorities = _file(settings, settings.identity.issuers[number].ca_file)
    end = client(f"identity.issuers[{number}]", None, authorities) if authorities else None
    return Outward(end, _proxy(settings, "identity.proxy", settings.identity.proxy))


def _proxy(settings: Settings, name: str, chosen: ProxySettings | None) -> Proxy | None:
    if chosen is None:
        return None
    secret = chosen.password
    vault = to_vault(settings) if secret and secret.vault else None
    secrets = secrets_of(settings, vault)
    password = secrets.source(secret) if secret else None
    if password and chosen.unsafe_plain_http:
        _log.warning("unsafe_plain_http", at=name, host=chosen.address)
    speaks = chosen.address.startswith("https:")
    end = client(name, None, _file(settings, chosen.ca_file)) if speaks else None
    ends = (*((end,) if end else ()), *(vault.ends if vault else ()))
    return Proxy(chosen.address, end, chosen.user, password, secrets, ends)


def _pair(settings: Settings, certificate: str, key: str) -> PairFiles | None:
    return PairFiles(settings.path(certificate), settings.path(key)) if certificate else None


def _file(settings: Settings, name: str) -> Path | None:
    return settings.path(name) if name else None
