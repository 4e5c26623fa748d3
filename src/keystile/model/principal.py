"""Who is asking."""

from __future__ import annotations

import msgspec


class Principal(msgspec.Struct, frozen=True):
    """A verified non-human identity: an agent, with what its issuer says of it.

    `issuer` and `subject` identify it (OpenID Connect Core section 2); `agent` is the name that
    people know it by; `session` groups what one run of the agent does; `on_behalf_of` is the
    person behind it, where a token names one. `address` is the IP address that the request came
    from and `client` what its `User-Agent` says, which is any text that the agent likes; both are
    empty where nobody knows.
    """

    issuer: str
    subject: str
    agent: str
    session: str
    service_account: str = ""
    groups: tuple[str, ...] = ()
    attributes: dict[str, str] = {}
    on_behalf_of: str = ""
    address: str = ""
    client: str = ""

    @property
    def key(self) -> str:
        """What owns jobs and results: issuer and subject, never the display name.

        INVARIANT: what an agent does on behalf of one person is not there for another's. No mapped
        text has a line break, so that no two can be one.
        """
        agent = f"{self.issuer}|{self.subject}"
        return f"{agent}\n{self.on_behalf_of}" if self.on_behalf_of else agent


def agent_of(key: str) -> str:
    """Give the part of a `Principal.key` that is the agent's, whomever it acts for."""
    return key.partition("\n")[0]
