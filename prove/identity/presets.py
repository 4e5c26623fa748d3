"""Tokens of the shape that each preset's vendor documents, and others of the same issuers."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

from joserfc import jwt
from joserfc.jwk import RSAKey

from keystile.config.identity import PresetName

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


def trusted(example: Example, folder: Path) -> dict[str, Any]:
    """Give the entry of `identity.issuers` for one, with its keys in a file of a folder."""
    file = folder / f"{example.preset}.json"
    public = KEY.as_dict(private=False) | {"use": example.use}
    file.write_text(json.dumps({"keys": [public], "spiffe_sequence": 1}))
    return {
        "preset": example.preset,
        "issuer": example.issuer,
        "audiences": [AUDIENCE],
        "jwks_uri": file.as_uri(),
        "attribute_condition": example.condition,
    }


def signed(example: Example, **claims: Any) -> str:
    """Sign the example's claims with changes, `...` leaving one out."""
    now = int(time.time())
    times = {"aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + 300}
    body = {
        name: value for name, value in (times | example.claims | claims).items() if value is not ...
    }
    return jwt.encode({"alg": "RS256", "kid": "k1"} | example.header, body, KEY)


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
