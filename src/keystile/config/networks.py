"""Refuses settings that would send tokens or data over a network that others read."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlsplit

from keystile.config.identity import Issuer
from keystile.config.listeners import HttpListener, Listener
from keystile.config.proxy import Proxy
from keystile.config.settings import Settings
from keystile.config.upstream import Upstream
from keystile.config.urls import is_loopback
from keystile.model.errors import UnsafeConfigurationError


def check_networks(file: Path, settings: Settings) -> None:
    """Raise `UnsafeConfigurationError`, naming the file and the setting."""
    for name, listener in settings.listeners.items():
        _check_listener(file, name, listener)
    if settings.gateway.client_ca_file and not settings.gateway.certificate_file:
        message = f"`{file}` names `gateway.client_ca_file` where no TLS is spoken"
        raise UnsafeConfigurationError(message, hint="name `gateway.certificate_file`, too")
    _check_proxies(file, "gateway", settings.gateway)
    _check_proxies(file, "console", settings.console)
    _check_address(file, "public_url", settings.public_url, settings.gateway)
    _check_address(file, "console_url", settings.console_url, settings.console)
    _check_upstream(file, settings.upstream)
    _check_proxy(file, "identity.proxy", settings.identity.proxy)
    _check_secret_servers(file, settings)
    for number, issuer in enumerate(settings.identity.issuers):
        _check_issuer(file, f"identity.issuers[{number}]", issuer)


def _check_listener(file: Path, name: str, listener: Listener) -> None:
    _check_pair(file, f"{name}.", listener.certificate_file, listener.key_file)
    plain = not listener.certificate_file and not listener.unsafe_plain_http
    if plain and not is_loopback(listener.host):
        raise UnsafeConfigurationError(
            f"`{file}` would serve tokens and data without encryption at `{name}.host` "
            f"`{listener.host}`",
            hint=f"name `{name}.certificate_file` and `{name}.key_file`, listen on 127.0.0.1, or, "
            f"behind a proxy with TLS in a network that you trust, set `{name}.unsafe_plain_http`",
        )


def _check_proxies(file: Path, name: str, listener: HttpListener) -> None:
    for given in listener.trusted_proxies:
        try:
            ip_network(given)
        except ValueError as error:
            raise UnsafeConfigurationError(
                f"`{file}`: `{name}.trusted_proxies` has `{given}`, which is no address",
                hint="write addresses, or networks such as `10.0.0.0/28`",
            ) from error


def _check_pair(file: Path, prefix: str, certificate: str, key: str) -> None:
    if bool(certificate) != bool(key):
        message = f"`{file}` names one of `{prefix}certificate_file` and `{prefix}key_file`"
        raise UnsafeConfigurationError(message, hint="name both, or none")


def _check_address(file: Path, name: str, url: str, listener: Listener) -> None:
    # A cookie would go without `Secure`, and clients would be sent to where nobody understands.
    if listener.certificate_file and url and not url.startswith("https://"):
        message = f"`{file}`: `{name}` `{url}` is not https, though TLS is spoken there"
        raise UnsafeConfigurationError(message, hint="write https")


def _check_upstream(file: Path, upstream: Upstream) -> None:
    certificate, key = upstream.client_certificate_file, upstream.client_key_file
    _check_pair(file, "upstream.client_", certificate, key)
    _check_proxy(file, "upstream.proxy", upstream.proxy)
    _check_names(file, "upstream.endpoint", upstream.endpoint, "upstream.proxy", upstream.proxy)
    chosen = upstream.ca_file or certificate or upstream.proxy
    if chosen and not upstream.endpoint.startswith("https://"):
        raise UnsafeConfigurationError(
            f"`{file}`: `upstream.endpoint` `{upstream.endpoint}` is not https, so neither "
            "certificates nor a proxy are of use",
            hint="write https, or leave them out",
        )


def _check_secret_servers(file: Path, settings: Settings) -> None:
    google, proxy = settings.secret_manager, settings.upstream.proxy
    _check_names(file, "secret_manager.endpoint", google.endpoint, "upstream.proxy", proxy)
    if proxy and proxy.password and proxy.password.secret_manager:
        raise UnsafeConfigurationError(
            f"`{file}`: `upstream.proxy.password` stands in Secret Manager, which is asked by way"
            " of that proxy",
            hint="keep it in a file, in the environment or in Vault",
        )
    vault = settings.vault
    if vault is None:
        return
    _check_proxy(file, "vault.proxy", vault.proxy)
    _check_names(file, "vault.address", vault.address, "vault.proxy", vault.proxy)
    if (vault.ca_file or vault.proxy) and not vault.address.startswith("https://"):
        raise UnsafeConfigurationError(
            f"`{file}`: `vault.address` `{vault.address}` is not https, so neither certificates "
            "nor a proxy are of use",
            hint="write https, or leave them out",
        )
    word = vault.proxy.password if vault.proxy else None
    if word and (word.vault or word.secret_manager):
        raise UnsafeConfigurationError(
            f"`{file}`: `vault.proxy.password` stands on a server",
            hint="keep it in a file or in the environment",
        )


def _check_names(file: Path, name: str, url: str, proxy_name: str, proxy: Proxy | None) -> None:
    """Refuse one name for both, which are told apart by it where certificates are looked at."""
    secured = proxy and proxy.address.startswith("https:")
    if proxy and secured and urlsplit(proxy.address).hostname == urlsplit(url).hostname:
        message = f"`{file}` names one host as `{name}` and as `{proxy_name}`"
        raise UnsafeConfigurationError(message, hint="give the proxy a name of its own")


def _check_issuer(file: Path, at: str, issuer: Issuer) -> None:
    address = issuer.jwks_uri or issuer.issuer
    if issuer.ca_file and address and not address.startswith("https://"):
        message = f"`{file}` names `{at}.ca_file`, and `{address}` is not https"
        raise UnsafeConfigurationError(message, hint="leave `ca_file` out")


def _check_proxy(file: Path, name: str, proxy: Proxy | None) -> None:
    if proxy is None:
        return
    url = proxy.address
    try:
        parts = urlsplit(url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        plain = url.rstrip("/") == f"http://{host}:{parts.port}"
        secured = url.rstrip("/") == f"https://{host}:{parts.port}"
    except ValueError:
        plain = secured = False
    if not plain and not secured:
        # INVARIANT: not quoted, since somebody may have written a password into it.
        raise UnsafeConfigurationError(
            f"`{file}`: `{name}.address` is no plain address of a proxy",
            hint=f"write `http://HOST:PORT` or `https://HOST:PORT`, and who comes in `{name}.user`"
            f" and `{name}.password`",
        )
    if bool(proxy.user) != bool(proxy.password):
        message = f"`{file}` names one of `{name}.user` and `{name}.password`"
        raise UnsafeConfigurationError(message, hint="name both, or none")
    if proxy.ca_file and plain:
        message = f"`{file}` names `{name}.ca_file`, and `{url}` is not https"
        raise UnsafeConfigurationError(message, hint="write https, or leave `ca_file` out")
    exposed = proxy.password and plain and not is_loopback(str(parts.hostname))
    if exposed and not proxy.unsafe_plain_http:
        raise UnsafeConfigurationError(
            f"`{file}` would send `{name}.password` to `{url}` without encryption",
            hint=f"use an https proxy or, in a network that you trust, set"
            f" `{name}.unsafe_plain_http`",
        )
