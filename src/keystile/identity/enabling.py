"""The way back from a disabling, by whichever door: tokens of before are ended first."""

from __future__ import annotations

from typing import NamedTuple

from keystile.identity.agents import Agents
from keystile.identity.disabling import Disabled, Disablings, Target
from keystile.identity.gateway_tokens import GatewayTokens


class Enabling(NamedTuple):
    """What enabling takes; `own_issuer` is the name of the built-in issuer."""

    agents: Agents
    disablings: Disablings
    tokens: GatewayTokens
    own_issuer: str

    async def enable(self, target: Target, by: str, reason: str, via: str) -> Disabled:
        """Let in again what was disabled by exactly these words, and give that disabling.

        Raises what `Disablings.enable` raises.
        """
        meant = {(target.issuer, target.subject)} if target.subject else set()
        if target.name:
            meant = {(each.issuer, each.subject) for each in await self.agents.named(target.name)}
        # First, for whoever had one of them when it was disabled may not be the agent.
        for issuer, subject in meant:
            await self.tokens.revoke_all(issuer or self.own_issuer, subject)
        return await self.disablings.enable(target, by, reason, via)
