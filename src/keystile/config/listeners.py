"""Where the gateway listens: `gateway`, `console` and `storage`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from keystile.config.section import Port, Section, Text


class Listener(Section, frozen=True, kw_only=True):
    """Where a server listens, and the certificate that it shows: both PEM files, or none.

    Both are read again when they change. Without them the server speaks plain HTTP, to this machine
    only, unless `unsafe_plain_http` says that the network up to it is trusted.
    """

    host: Text = "127.0.0.1"
    port: Port
    certificate_file: str = ""
    key_file: str = ""
    unsafe_plain_http: bool = False


class HttpListener(Listener, frozen=True, kw_only=True):
    """Where HTTP is served, perhaps behind load balancers.

    INVARIANT: what a request says of the address that it came from (`X-Forwarded-For`) counts only
    from `trusted_proxies`, which are addresses or networks: conditions and limits rest on it.
    """

    trusted_proxies: list[Text] = msgspec.field(default_factory=list)


class Gateway(HttpListener, frozen=True, kw_only=True):
    """Where agents are served. Clients may show a certificate that `client_ca_file` vouches for."""

    port: Port = 8420
    client_ca_file: str = ""


class Console(HttpListener, frozen=True, kw_only=True):
    """Where people are served."""

    port: Port = 8421


class Storage(Listener, frozen=True, kw_only=True):
    """Where the Storage Read API is served, as gRPC; nowhere while the port is 0."""

    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
