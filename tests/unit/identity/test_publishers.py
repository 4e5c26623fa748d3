from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prove.identity.attacks import ATTACKS
from prove.identity.presets import AUDIENCE, GITHUB, GITLAB, Example, signed, trusted

from keystile.config.identity import Identity, Issuer, Publisher, Publishing, SenderConstraint
from keystile.config.settings import Settings
from keystile.identity.disabling import Target
from keystile.identity.publishers import Presented, Publishers
from keystile.identity.wiring import Identity as Wired
from keystile.identity.wiring import build
from keystile.model.errors import (
    RefusedError,
    TokenRefusedError,
    UnauthenticatedError,
    UnsafeConfigurationError,
)
from keystile.model.sender import UNKNOWN, Sender
from keystile.store.database import Database

OURS = "//keystile/policy"
MERGED = "assertion.repository == 'acme/shop' && assertion.ref == 'refs/heads/main'"
PROTECTED = "assertion.project_path == 'acme/shop' && assertion.ref_protected == 'true'"

Make = Callable[..., Settings]


@pytest.fixture
def configured(tmp_path: Path) -> Make:
    def make(
        *conditions: str,
        example: Example = GITHUB,
        audience: str = OURS,
        constraint: SenderConstraint = "",
    ) -> Settings:
        issuer = Issuer(**(trusted(example, tmp_path) | {"sender_constraint": constraint}))
        name = example.claims["iss"]
        publishers = [Publisher(issuer=name, condition=one) for one in conditions]
        return Settings(
            folder=tmp_path,
            identity=Identity(issuers=[issuer]),
            publishing=Publishing(audience=audience, publishers=publishers),
        )

    return make


@asynccontextmanager
async def built(settings: Settings, database: Database) -> AsyncIterator[Wired]:
    made = build(settings, database)
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def identity(configured: Make, database: Database) -> AsyncIterator[Wired]:
    async with built(configured(MERGED), database) as made:
        yield made


@pytest.fixture
def publishers(identity: Wired) -> Publishers:
    return identity.publishers


def token(example: Example = GITHUB, **changes: Any) -> str:
    return signed(example, **({"aud": OURS} | changes))


async def why_not(publishers: Publishers, unverified: str) -> str:
    refusal = (await publishers.present(unverified, UNKNOWN)).refusal
    assert isinstance(refusal, RefusedError)
    return str(refusal)


async def test_a_job_of_the_branch_may_publish_and_is_named(publishers: Publishers) -> None:
    shown = await publishers.present(token(), UNKNOWN)
    assert shown.refusal is None
    assert shown.author == (
        "sample-person by repo:acme/shop:environment:production at "
        "https://token.actions.githubusercontent.com"
    )


async def test_a_gitlab_job_of_a_protected_branch_may(configured: Make, database: Database) -> None:
    settings = configured(PROTECTED, example=GITLAB)
    async with built(settings, database) as made:
        assert (await made.publishers.present(token(GITLAB), UNKNOWN)).refusal is None
        open_branch = token(GITLAB, ref_protected="false", ref="patch")
        assert "not fulfil" in await why_not(made.publishers, open_branch)


@pytest.mark.parametrize(
    "changes",
    [
        {"ref": "refs/pull/12/merge", "event_name": "pull_request"},
        {"ref": "refs/heads/mine"},
        {"repository": "acme/other"},
        {"repository": "evil/shop", "repository_owner": "evil"},
        {"repository_owner": "evil"},
        {"ref": None},
        {"ref": ["refs/heads/main"]},
        {"ref": "refs/heads/main\0"},
        {"ref": ...},
        {"act": {"sub": "agent"}},
        {"may_act": {"sub": "agent"}},
        {"cnf": {"jkt": "key"}},
    ],
)
async def test_what_is_no_merge_to_the_branch_publishes_nothing(
    publishers: Publishers, changes: dict[str, Any]
) -> None:
    assert await why_not(publishers, token(**changes))


@pytest.mark.parametrize("audience", [AUDIENCE, "//keystile/agents", [OURS, AUDIENCE], "", ...])
async def test_what_agents_sign_in_with_publishes_nothing(
    publishers: Publishers, audience: Any
) -> None:
    with pytest.raises(UnauthenticatedError, match="audience"):
        await publishers.present(token(aud=audience), UNKNOWN)


async def test_what_publishes_is_no_agents_token(identity: Wired, publishers: Publishers) -> None:
    assert (await publishers.present(token(), UNKNOWN)).refusal is None
    body = (
        b"grant_type=urn:ietf:params:oauth:grant-type:token-exchange"
        b"&audience=//keystile/agents&subject_token_type=urn:ietf:params:oauth:token-type:jwt"
        b"&subject_token=" + token().encode()
    )
    with pytest.raises(TokenRefusedError, match="for the audience `//keystile/policy`"):
        await identity.exchange.exchange(body, "application/x-www-form-urlencoded")
    with pytest.raises(UnauthenticatedError):
        await identity.callers.principal(token())


async def test_the_built_in_issuers_agents_and_gateway_tokens_publish_nothing(
    identity: Wired, publishers: Publishers
) -> None:
    assert identity.builtin
    with pytest.raises(UnauthenticatedError, match="nobody may publish with a token of this"):
        await publishers.present(identity.builtin.mint("agent", "s1"), UNKNOWN)
    with pytest.raises(UnauthenticatedError, match="not a signed JWT"):
        await publishers.present("ks_" + "a" * 43, UNKNOWN)


@pytest.mark.parametrize("name", [name for name in ATTACKS if "none" in name or "HS" in name])
async def test_forged_tokens_publish_nothing(publishers: Publishers, name: str) -> None:
    with pytest.raises(UnauthenticatedError):
        await publishers.present(ATTACKS[name].token, UNKNOWN)


async def test_an_expired_token_publishes_nothing(publishers: Publishers) -> None:
    with pytest.raises(UnauthenticatedError, match="expired"):
        await publishers.present(token(iat=1000, exp=2000), UNKNOWN)


async def test_each_token_publishes_once_on_all_gateways(
    publishers: Publishers, configured: Make, database: Database
) -> None:
    shown = await publishers.present(token(jti="one"), UNKNOWN)
    await publishers.use(shown)
    async with built(configured(MERGED), database) as other:
        with pytest.raises(RefusedError, match="has published already"):
            await other.publishers.use(shown)
        await other.publishers.use(await publishers.present(token(jti="two"), UNKNOWN))


async def test_who_is_disabled_as_an_agent_publishes_nothing(
    identity: Wired, publishers: Publishers
) -> None:
    await identity.disablings.disable(Target("acme/shop"), "ann", "cli")
    assert "disabled" in await why_not(publishers, token())


async def test_an_issuer_whose_tokens_need_a_key_needs_it_here_too(
    configured: Make, database: Database
) -> None:
    settings = configured(MERGED, constraint="dpop")
    async with built(settings, database) as made:
        assert "only with a DPoP proof" in await why_not(made.publishers, token())


async def test_of_several_publishers_any_will_do(configured: Make, database: Database) -> None:
    other = "assertion.repository == 'acme/else' && assertion.ref == 'refs/heads/main'"
    async with built(configured(other, MERGED), database) as made:
        assert (await made.publishers.present(token(), UNKNOWN)).refusal is None
        strange = token(repository="acme/third")
        assert "who may publish" in await why_not(made.publishers, strange)


async def test_nobody_may_publish_unless_the_settings_say_so(
    configured: Make, database: Database
) -> None:
    async with built(configured(), database) as made:
        with pytest.raises(UnauthenticatedError, match="nobody may publish the policy here"):
            await made.publishers.present(token(), UNKNOWN)


async def test_who_fails_too_often_is_not_looked_at(publishers: Publishers) -> None:
    guesser = Sender(address="192.0.2.1")
    for _ in range(120):
        with pytest.raises(UnauthenticatedError):
            await publishers.present("a.b.c", guesser)
    with pytest.raises(UnauthenticatedError, match="too many"):
        await publishers.present(token(), guesser)
    assert isinstance(await publishers.present(token(), UNKNOWN), Presented)


@pytest.mark.parametrize(
    ("example", "condition", "words"),
    [
        (GITHUB, "assertion.repository_owner == 'acme'", "`assertion.repository`"),
        (GITHUB, "assertion.repository == 'acme/shop'", "`assertion.ref`"),
        (GITHUB, "true", "`assertion.repository`"),
        (GITLAB, "assertion.namespace_path == 'acme'", "`assertion.project_path`"),
        (GITLAB, "assertion.project_path == 'acme/shop'", "`assertion.ref_protected`"),
        (GITHUB, f"{MERGED} &&", "is not understood|Syntax error"),
        (GITHUB, f"{MERGED} ? 'yes' : 'no'", "not true or false"),
    ],
)
def test_a_condition_that_holds_for_too_much_does_not_start(
    configured: Make, database: Database, example: Example, condition: str, words: str
) -> None:
    with pytest.raises(UnsafeConfigurationError, match=words) as caught:
        build(configured(condition, example=example), database)
    assert "publishing.publishers[0].condition" in str(caught.value)


@pytest.mark.parametrize("audience", [AUDIENCE, "//keystile/agents"])
def test_an_audience_that_agents_have_does_not_start(
    configured: Make, database: Database, audience: str
) -> None:
    with pytest.raises(UnsafeConfigurationError, match="tokens of agents are for"):
        build(configured(MERGED, audience=audience), database)


def test_a_publisher_of_an_unknown_issuer_does_not_start(
    database: Database, tmp_path: Path
) -> None:
    publishing = Publishing(publishers=[Publisher(issuer="https://else.test", condition="true")])
    settings = Settings(folder=tmp_path, publishing=publishing)
    with pytest.raises(UnsafeConfigurationError, match=r"is none of `identity\.issuers`"):
        build(settings, database)
