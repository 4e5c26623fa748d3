"""Each preset against a token of the shape that its vendor documents."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any, get_args

import pytest
from prove.identity.presets import (
    AUTH0,
    CLIENT,
    ENTRA_APP,
    EXAMPLES,
    GITHUB,
    GITLAB,
    GOOGLE,
    KEYCLOAK,
    KUBERNETES,
    OBJECT,
    OKTA,
    OTHERS,
    SPIFFE,
    TENANT,
    Example,
    signed,
    trusted,
)

from keystile.config.identity import Issuer, PresetName
from keystile.identity.issuers import source
from keystile.identity.keys import Documents
from keystile.identity.presets import PRESETS
from keystile.identity.tokens import TokenVerifier
from keystile.model.errors import TokenRefusedError, UnsafeConfigurationError
from keystile.model.principal import Principal

each = pytest.mark.parametrize("example", EXAMPLES, ids=[example.preset for example in EXAMPLES])


def _issuer(example: Example, folder: Path, **changes: Any) -> Issuer:
    return Issuer(**(trusted(example, folder) | changes))


async def _principal(example: Example, folder: Path, **claims: Any) -> Principal:
    """Sign the example's claims with changes, and see who they name."""
    issuer, mapping, *_ = source(0, _issuer(example, folder), Documents())
    token = signed(example, **claims)
    return mapping.principal(await TokenVerifier([issuer], 0).verify(token), time.time())


@each
async def test_a_token_of_its_shape_names_its_agent(example: Example, tmp_path: Path) -> None:
    principal = await _principal(example, tmp_path)
    told = {"groups": (), "attributes": {}, "service_account": "", "on_behalf_of": ""}
    for word, value in (told | example.principal).items():
        assert getattr(principal, word) == value, word
    assert principal.issuer == (example.issuer or PRESETS[example.preset].issuer)


@each
async def test_without_an_audience_it_is_refused(example: Example, tmp_path: Path) -> None:
    with pytest.raises(TokenRefusedError, match="has no audience"):
        await _principal(example, tmp_path, aud=...)


@each
async def test_without_a_required_claim_it_is_refused(example: Example, tmp_path: Path) -> None:
    required = PRESETS[example.preset].required
    for claim in set(required) - {"sub"}:
        with pytest.raises(TokenRefusedError, match=f"no claim `{claim}`, as "):
            await _principal(example, tmp_path, **{claim: ...})


@each
async def test_without_optional_claims_it_is_taken(example: Example, tmp_path: Path) -> None:
    optional = dict.fromkeys(PRESETS[example.preset].optional, ...)
    if example is AUTH0:
        del optional["azp"]
    assert (await _principal(example, tmp_path, **optional)).agent


@pytest.mark.parametrize("name", PRESETS)
def test_a_mapping_asks_for_nothing_that_may_be_missing(name: PresetName) -> None:
    preset = PRESETS[name]
    for text in (*preset.mapping.values(), preset.condition):
        asked = {a or b for a, b in re.findall(r"assertion(?:\.(\w+)|\['([^']+)'\])", text)}
        assert asked <= {*preset.required, *preset.optional, "iss"}, text
        assert all(
            f"has(assertion.{claim}" in text or claim == "client_id"
            for claim in asked & set(preset.optional)
        ), text


def test_every_preset_has_an_example() -> None:
    assert set(PRESETS) == set(get_args(PresetName))
    assert {example.preset for example in EXAMPLES} == set(PRESETS) - {""}
    for preset in PRESETS.values():
        assert re.fullmatch(preset.shape, preset.example)
        assert set(preset.tenants) <= {*preset.required, *preset.optional} | {
            "repository_owner_id",
            "repository_id",
            "enterprise",
            "enterprise_id",
            "namespace_id",
            "project_id",
        }


@pytest.mark.parametrize(("example", "claims", "message"), OTHERS)
async def test_another_token_of_its_issuer_is_refused(
    example: Example, claims: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(TokenRefusedError, match=re.escape(message)):
        await _principal(example, tmp_path, **claims)


PEOPLE: list[tuple[Example, dict[str, Any], str, str]] = [
    (
        OKTA,
        {"sub": "sample-person@example.com", "uid": "00u1"},
        "sample-person@example.com",
        "0oareportbot/sample-person@example.com",
    ),
    (ENTRA_APP, {"sub": "pairwise", "idtyp": "user", "scp": "read"}, OBJECT, f"{CLIENT}/{OBJECT}"),
    (AUTH0, {"sub": "auth0|1", "gty": "password"}, "auth0|1", "reportbot/auth0|1"),
    (AUTH0, {"sub": "other@clients"}, "other@clients", "reportbot/other@clients"),
    (
        KEYCLOAK,
        {"client_id": ..., "preferred_username": "sample-person"},
        "sample-person",
        f"report-bot/{OBJECT}",
    ),
]


@pytest.mark.parametrize(("example", "claims", "person", "subject"), PEOPLE)
async def test_a_person_behind_the_agent_is_named_and_shares_nothing_between_agents(
    example: Example, claims: dict[str, Any], person: str, subject: str, tmp_path: Path
) -> None:
    principal = await _principal(example, tmp_path, **claims)
    assert (principal.on_behalf_of, principal.subject) == (person, subject)


async def test_auth0s_other_profile_names_its_client_too(tmp_path: Path) -> None:
    example = AUTH0._replace(header={"typ": "at+jwt"})
    principal = await _principal(example, tmp_path, azp=..., client_id="reportbot", jti="1")
    assert (principal.agent, principal.on_behalf_of) == ("reportbot", "")


async def test_a_jwt_svid_may_name_an_issuer_and_another_key_is_none(tmp_path: Path) -> None:
    principal = await _principal(SPIFFE, tmp_path, iss="https://spire.example.org")
    assert principal.issuer == "spiffe://example.org"
    with pytest.raises(TokenRefusedError, match="no key that fits"):
        await _principal(SPIFFE._replace(use="x509-svid"), tmp_path)


@pytest.mark.parametrize("example", [GITHUB, GITLAB, GOOGLE], ids=lambda e: e.preset)
@pytest.mark.parametrize("condition", ["", "true", "assertion.exp > 0", "assertion.subject == 'x'"])
def test_where_everybody_is_a_condition_must_say_who(
    example: Example, condition: str, tmp_path: Path
) -> None:
    issuer = _issuer(example, tmp_path, attribute_condition=condition)
    with pytest.raises(UnsafeConfigurationError, match="does not say whose tokens are taken") as it:
        source(3, issuer, Documents())
    assert "`identity.issuers[3].attribute_condition`" in str(it.value)
    tenant = PRESETS[example.preset].tenants[0]
    assert f"`assertion.{tenant} == '…'`" in str(it.value)
    issuer = _issuer(example, tmp_path, attribute_condition=f"assertion[ '{tenant}' ] == 'acme'")
    assert source(3, issuer, Documents())


@pytest.mark.parametrize(
    ("example", "name"),
    [
        (OKTA, "https://acme.okta.example.com"),
        (AUTH0, "https://acme.auth0.example.com"),
        (ENTRA_APP, "https://login.entra.example.com/common/v2.0"),
        (ENTRA_APP, f"https://sts.entra.example.com/{TENANT}/"),
        (KEYCLOAK, "https://keycloak.example.com"),
        (SPIFFE, "https://spire.example.org"),
        (SPIFFE, "spiffe://example.org/"),
        (GOOGLE, "https://accounts.example.com"),
    ],
)
def test_a_name_that_no_such_issuer_has_does_not_start(
    example: Example, name: str, tmp_path: Path
) -> None:
    with pytest.raises(UnsafeConfigurationError, match=r"issuers\[0\].issuer` .* it looks like"):
        source(0, _issuer(example, tmp_path, issuer=name), Documents())


@pytest.mark.parametrize("example", [KUBERNETES, OKTA, SPIFFE], ids=lambda e: e.preset)
def test_an_issuer_that_has_no_one_name_must_be_named(example: Example, tmp_path: Path) -> None:
    with pytest.raises(
        UnsafeConfigurationError, match=r"`identity.issuers\[0\].issuer` is missing"
    ):
        source(0, _issuer(example, tmp_path, issuer=""), Documents())


def test_a_trust_domain_needs_a_place_of_its_keys(tmp_path: Path) -> None:
    with pytest.raises(UnsafeConfigurationError, match="jwks_uri` is missing"):
        source(0, _issuer(SPIFFE, tmp_path, jwks_uri=""), Documents())


async def test_an_operators_mapping_takes_the_presets_place_word_by_word(tmp_path: Path) -> None:
    issuer = _issuer(
        GITHUB, tmp_path, attribute_mapping={"keystile.agent": "'ci/' + assertion.repository"}
    )
    mapping = source(0, issuer, Documents()).mapping
    claims: Any = GITHUB.claims
    principal = mapping.principal(claims, 0)
    assert principal.agent == "ci/acme/shop"
    assert principal.attributes["ref"] == "refs/heads/main"
