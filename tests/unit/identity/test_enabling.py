from __future__ import annotations

import pytest

from keystile.identity.agents import Agents
from keystile.identity.disabling import Disablings, Target
from keystile.identity.enabling import Enabling
from keystile.identity.gateway_tokens import GatewayTokens
from keystile.model.errors import UnauthenticatedError
from keystile.model.principal import Principal
from keystile.store.database import Database

OWN = "http://gw/issuer"
BOT = Principal(OWN, "bot", "bot", "s")
CI = Principal("https://issuer.test", "repo:acme/shop:main", "bot", "s")


@pytest.mark.parametrize(
    ("target", "ended"),
    [
        (Target("bot"), [BOT, CI]),
        (Target(subject="bot"), [BOT]),
        (Target("", CI.issuer, CI.subject), [CI]),
    ],
)
async def test_tokens_of_who_comes_back_are_ended_and_no_others(
    database: Database, target: Target, ended: list[Principal]
) -> None:
    agents = Agents(database)
    tokens, disablings = GatewayTokens(database, agents, OWN, 600), Disablings(database)
    await agents.create("bot", [], {}, "operator")
    await agents.saw(CI, own=False)
    held = [(one, (await tokens.issue(one))[0]) for one in (BOT, CI)]
    await disablings.close(await disablings.disable(target, "operator", "cli"))
    enabled = await Enabling(agents, disablings, tokens, OWN).enable(target, "ann", "ok", "cli")
    assert Target(enabled.name, enabled.issuer, enabled.subject) == target
    for one, token in held:
        if one in ended:
            with pytest.raises(UnauthenticatedError):
                await tokens.find(token)
        else:
            assert (await tokens.find(token)).principal.subject == one.subject
