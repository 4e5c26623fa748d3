"""Who is asking."""

from __future__ import annotations

import msgspec


class Principal(msgspec.Struct, frozen=True):
    """A verified non-human identity: an agent, with what its issuer says of it.

    `issuer` and `subject` identify it (OpenID Connect Core section 2); `agent` is the name that
    people know it by; `session` groups what one run of the agent does; `on_behalf_of` is the
    person behind it, where the token names one.
    """

    issuer: str
    subject: str
    agent: str
    session: str
    service_account: str = ""
    groups: tuple[str, ...] = ()
    attributes: dict[str, str] = {}
    on_behalf_of: str = ""

    @property
    def key(self) -> str:
        """What owns jobs, results and tokens: issuer and subject, never the display name."""
        return f"{self.issuer}|{self.subject}"
