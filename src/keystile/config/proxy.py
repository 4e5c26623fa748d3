"""The proxies that stand between the gateway and what it asks."""

from __future__ import annotations

from typing import Annotated

import msgspec

from keystile.config.secret_places import Secret
from keystile.config.section import Section, Text


class Proxy(Section, frozen=True, kw_only=True):
    """A forward proxy, `http` or `https`, that is asked to CONNECT.

    `user` and `password` are for one that asks who comes (RFC 7617); `unsafe_plain_http` has them
    sent to one that speaks no TLS. `ca_file` replaces the system's authorities for the proxy alone.
    """

    address: Text
    user: Annotated[str, msgspec.Meta(pattern="^[^:\\x00-\\x1f]*$")] = ""
    password: Secret | None = None
    ca_file: str = ""
    unsafe_plain_http: bool = False
