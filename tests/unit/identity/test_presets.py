"""Each preset against a token of the shape that its vendor documents."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from keystile.config.settings import Issuer, PresetName
from keystile.identity.issuers import source
from keystile.identity.keys import Documents
from keystile.identity.presets import PRESETS
from keystile.identity.tokens import TokenVerifier
from keystile.model.errors import TokenRefusedError, UnsafeConfigurationError
from keystile.model.principal import Principal

AUDIENCE = "https://bigquery-gateway.example.com"
KEY = RSAKey.generate_key(2048, {"kid": "k1"})
TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT = "66666666-7777-8888-9999-000000000000"
OBJECT = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
ENTRA = f"https://login.entra.example.com/{TENANT}/v2.0"


class Example(NamedTuple):
    """A token of one issuer, the condition that an operator writes, and who it names."""

    preset: PresetName
    claims: dict[str, Any]
    condition: str
    principal: dict[str, Any]
    issuer: str = ""
    header: dict[str, str] = {"typ": "JWT"}  # noqa: RUF012 - a tuple's default
    use: str = "sig"
    unchecked: tuple[str, ...] = ()


GITHUB = Example(
    "github-actions",
    {
        "iss": "https://token.actions.githubusercontent.com",
        "jti": "3d2e1f00-0000-4000-8000-000000000001",
        "sub": "repo:acme/shop:environment:production",
        "environment": "production",
        "ref": "refs/heads/main",
        "sha": "0123456789012345678901234567890123456789",
        "repository": "acme/shop",
        "repository_owner": "acme",
        "actor_id": "12",
        "repository_visibility": "private",
        "repository_id": "74",
        "repository_owner_id": "65",
        "run_id": "1234567890",
        "run_number": "10",
        "run_attempt": "2",
        "runner_environment": "github-hosted",
        "actor": "sample-person",
        "workflow": "report",
        "head_ref": "",
        "base_ref": "",
        "event_name": "workflow_dispatch",
        "ref_type": "branch",
        "ref_protected": "true",
        "job_workflow_ref": "acme/shop/.github/workflows/report.yml@refs/heads/main",
    },
    "assertion.repository_owner == 'acme' && attribute.ref == 'refs/heads/main'",
    {
        "subject": "repo:acme/shop:environment:production",
        "agent": "acme/shop",
        "on_behalf_of": "sample-person",
        "attributes": {
            "repository": "acme/shop",
            "repository_owner": "acme",
            "ref": "refs/heads/main",
            "workflow": "report",
            "event_name": "workflow_dispatch",
            "environment": "production",
            "runner_environment": "github-hosted",
        },
    },
)
GITLAB = Example(
    "gitlab-ci",
    {
        "iss": "https://gitlab.com",
        "jti": "235b3a54-b797-45c7-ae9a-f72d7bc6ef5b",
        "namespace_id": "72",
        "namespace_path": "acme",
        "project_id": "20",
        "project_path": "acme/shop",
        "user_id": "1",
        "user_login": "sample-person",
        "user_email": "sample-person@example.com",
        "user_access_level": "developer",
        "pipeline_id": "574",
        "pipeline_source": "push",
        "job_id": "302",
        "ref": "main",
        "ref_type": "branch",
        "ref_path": "refs/heads/main",
        "ref_protected": "true",
        "groups_direct": ["acme/analysts"],
        "environment": "production",
        "runner_id": 1,
        "runner_environment": "self-hosted",
        "sha": "0123456789012345678901234567890123456789",
        "project_visibility": "private",
        "ci_config_sha": "0123456789012345678901234567890123456789",
        "sub": "project_path:acme/shop:ref_type:branch:ref:main",
    },
    "assertion.namespace_path == 'acme' && attribute.ref_protected == 'true'",
    {
        "subject": "project_path:acme/shop:ref_type:branch:ref:main",
        "agent": "acme/shop",
        "on_behalf_of": "sample-person",
        "attributes": {
            "project_path": "acme/shop",
            "namespace_path": "acme",
            "ref": "main",
            "ref_type": "branch",
            "ref_protected": "true",
            "pipeline_source": "push",
            "environment": "production",
        },
    },
)
KUBERNETES = Example(
    "kubernetes",
    {
        "iss": "https://kubernetes.default.svc.cluster.local",
        "aud": [AUDIENCE],
        "jti": "ea28ed49-2e11-4280-9ec5-bc3d1d84661a",
        "kubernetes.io": {
            "namespace": "analytics",
            "node": {"name": "node-1", "uid": "646e7c5e-32d6-4d42-9dbd-e504e6cbe6b1"},
            "pod": {"name": "report-bot-0", "uid": "5e0bd49b-f040-43b0-99b7-22765a53f7f3"},
            "serviceaccount": {"name": "report-bot", "uid": "14ee3fa4-a7e2-420f-9f9a-dbc4507c3798"},
            "warnafter": 1_700_000_000,
        },
        "sub": "system:serviceaccount:analytics:report-bot",
    },
    "attribute.namespace == 'analytics'",
    {
        "subject": "system:serviceaccount:analytics:report-bot",
        "agent": "analytics/report-bot",
        "service_account": "system:serviceaccount:analytics:report-bot",
        "attributes": {"namespace": "analytics"},
    },
    issuer="https://kubernetes.default.svc.cluster.local",
    header={},
)
GOOGLE = Example(
    "google",
    {
        "iss": "https://accounts.google.com",
        "azp": "112233445566778899001",
        "sub": "112233445566778899001",
        "email": "report-bot@acme-shop.iam.gserviceaccount.com",
        "email_verified": True,
        "google": {
            "compute_engine": {
                "project_id": "acme-shop",
                "project_number": 739_419_398_126,
                "zone": "europe-west1-b",
                "instance_id": "152986662232938449",
                "instance_name": "report-1",
                "instance_creation_timestamp": 1_700_000_000,
                "instance_confidentiality": 0,
            }
        },
    },
    "assertion.email == 'report-bot@acme-shop.iam.gserviceaccount.com'",
    {
        "subject": "112233445566778899001",
        "agent": "report-bot@acme-shop.iam.gserviceaccount.com",
        "service_account": "report-bot@acme-shop.iam.gserviceaccount.com",
        "attributes": {"project": "acme-shop"},
    },
)
OKTA = Example(
    "okta",
    {
        "ver": 1,
        "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE",
        "iss": "https://acme.okta.example.com/oauth2/default",
        "cid": "0oareportbot",
        "scp": ["bigquery.read"],
        "sub": "0oareportbot",
        "groups": ["analytics"],
    },
    "",
    {"subject": "0oareportbot/0oareportbot", "agent": "0oareportbot", "groups": ("analytics",)},
    issuer="https://acme.okta.example.com/oauth2/default",
    header={},
)
ENTRA_APP = Example(
    "entra",
    {
        "iss": ENTRA,
        "aio": "k2BgYGD4",
        "azp": CLIENT,
        "azpacr": "2",
        "idtyp": "app",
        "oid": OBJECT,
        "rh": "1.AAAA",
        "roles": ["BigQuery.Read"],
        "sub": OBJECT,
        "tid": TENANT,
        "uti": "zT1",
        "ver": "2.0",
    },
    "",
    {"subject": f"{CLIENT}/{OBJECT}", "agent": CLIENT, "groups": ("BigQuery.Read",)},
    issuer=ENTRA,
)
AUTH0 = Example(
    "auth0",
    {
        "iss": "https://acme.auth0.example.com/",
        "sub": "reportbot@clients",
        "scope": "read:shop",
        "gty": "client-credentials",
        "azp": "reportbot",
        "permissions": ["read:shop"],
    },
    "",
    {
        "subject": "reportbot/reportbot@clients",
        "agent": "reportbot",
        "groups": ("read:shop",),
    },
    issuer="https://acme.auth0.example.com/",
)
KEYCLOAK = Example(
    "keycloak",
    {
        "iss": "https://keycloak.example.com/realms/acme",
        "jti": "trrtcc:0d1c0d5e-0d0a-0f0e-0b0a-0c0d0e0f0a0b",
        "sub": OBJECT,
        "typ": "Bearer",
        "azp": "report-bot",
        "acr": "1",
        "allowed-origins": ["/*"],
        "realm_access": {"roles": ["analytics", "offline_access"]},
        "scope": "profile email",
        "clientHost": "192.0.2.7",
        "email_verified": False,
        "preferred_username": "service-account-report-bot",
        "clientAddress": "192.0.2.7",
        "client_id": "report-bot",
    },
    "",
    {
        "subject": f"report-bot/{OBJECT}",
        "agent": "report-bot",
        "groups": ("analytics", "offline_access"),
    },
    issuer="https://keycloak.example.com/realms/acme",
)
SPIFFE = Example(
    "spiffe",
    {"sub": "spiffe://example.org/ns/analytics/sa/report-bot", "aud": [AUDIENCE]},
    "assertion.sub.startsWith('spiffe://example.org/ns/analytics/')",
    {
        "subject": "spiffe://example.org/ns/analytics/sa/report-bot",
        "agent": "spiffe://example.org/ns/analytics/sa/report-bot",
        "service_account": "spiffe://example.org/ns/analytics/sa/report-bot",
        "attributes": {"trust_domain": "example.org"},
    },
    issuer="spiffe://example.org",
    header={"typ": "JOSE"},
    use="jwt-svid",
)
EXAMPLES = (GITHUB, GITLAB, KUBERNETES, GOOGLE, OKTA, ENTRA_APP, AUTH0, KEYCLOAK, SPIFFE)
each = pytest.mark.parametrize("example", EXAMPLES, ids=[example.preset for example in EXAMPLES])


def _issuer(example: Example, folder: Path, **changes: Any) -> Issuer:
    file = folder / "jwks.json"
    public = KEY.as_dict(private=False) | {"use": example.use}
    file.write_text(json.dumps({"keys": [public], "spiffe_sequence": 1}))
    settings = {
        "preset": example.preset,
        "issuer": example.issuer,
        "audiences": [AUDIENCE],
        "jwks_uri": file.as_uri(),
        "attribute_condition": example.condition,
    }
    return Issuer(**(settings | changes))


async def _principal(example: Example, folder: Path, **claims: Any) -> Principal:
    """Sign the example's claims with changes, `...` leaving one out, and see who they name."""
    now = int(time.time())
    times = {"aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + 300}
    body = {
        name: value for name, value in (times | example.claims | claims).items() if value is not ...
    }
    token = jwt.encode({"alg": "RS256", "kid": "k1"} | example.header, body, KEY)
    trusted, mapping, *_ = source(0, _issuer(example, folder), Documents())
    return mapping.principal(await TokenVerifier([trusted], 0).verify(token), now)


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


OTHERS: list[tuple[Example, dict[str, Any], str]] = [
    (GITHUB, {"repository_owner": "mallory"}, "does not fulfil the condition"),
    (GITHUB, {"ref": "refs/pull/7/merge"}, "does not fulfil the condition"),
    (GITLAB, {"namespace_path": "mallory"}, "does not fulfil the condition"),
    (GITLAB, {"ref_protected": "false"}, "does not fulfil the condition"),
    (KUBERNETES, {"sub": "system:serviceaccount:kube-system:admin"}, "is not a Kubernetes"),
    (KUBERNETES, {"kubernetes.io": {"namespace": "analytics"}}, "`serviceaccount`"),
    (GOOGLE, {"email": "sample-person@example.com"}, "is not an ID token of a Google service"),
    (GOOGLE, {"email_verified": False}, "is not an ID token of a Google service"),
    (GOOGLE, {"email_verified": "true"}, "is not an ID token of a Google service"),
    (GOOGLE, {"email": "x@mallory.iam.gserviceaccount.com"}, "does not fulfil the condition"),
    (ENTRA_APP, {"ver": "1.0"}, "is not a Microsoft Entra access token"),
    (ENTRA_APP, {"tid": CLIENT}, "is not a Microsoft Entra access token"),
    (AUTH0, {"azp": ...}, "no claim `client_id`"),
    (KEYCLOAK, {"typ": "ID"}, "is not a Keycloak access token"),
    (KEYCLOAK, {"typ": "Refresh"}, "is not a Keycloak access token"),
    (SPIFFE, {"sub": "spiffe://example.com/ns/analytics/sa/x"}, "names no issuer"),
    (SPIFFE, {"sub": "spiffe://example.org.mallory/ns"}, "names no issuer"),
    (SPIFFE, {"sub": "spiffe://example.org"}, "is not a SPIFFE JWT-SVID"),
    (SPIFFE, {"sub": "spiffe://example.org/ns/analytics/x?a"}, "is not a SPIFFE"),
    (SPIFFE, {"sub": "spiffe://example.org/ns/other"}, "does not fulfil the condition"),
]


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
