"""What the tokens of well-known issuers look like and mean. Each shape is its vendor's own words.

Claims that a preset does not name stay unchecked: nothing but the operator's own mapping and
condition asks for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from keystile.config.identity import PresetName


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of issuer.

    `what` names a token of it. `issuer` is its name where it has only one; `shape` is what every
    such name looks like, and `example` shows one. `tenants` are claims that tell whose a token is,
    where everybody's come from the same issuer: the operator's condition must ask for one of them.
    A token without a `required` claim is refused; an `optional` one may be there. `condition`
    tells the kind of token that is meant from others of the issuer.
    """

    what: str
    issuer: str = ""
    shape: str
    example: str
    tenants: tuple[str, ...] = ()
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    mapping: dict[str, str]
    condition: str = "true"

    def asks_whose(self, condition: str) -> bool:
        """Tell whether a condition asks whose token it is, as far as that must be asked."""
        return not self.tenants or asks(condition, self.tenants)


def asks(condition: str, claims: Iterable[str]) -> bool:
    """Tell whether a condition asks for one of these claims."""
    names = "|".join(map(re.escape, claims))
    asked = rf"\bassertion\s*(\.\s*({names})\b|\[\s*['\"]({names})['\"]\s*\])"
    return re.search(asked, condition) is not None


def _optional(claim: str, otherwise: str = "''") -> str:
    return f"has(assertion.{claim}) ? assertion.{claim} : {otherwise}"


_K8S = "assertion['kubernetes.io']"
_COMPUTE = "has(assertion.google) && has(assertion.google.compute_engine)"
# Auth0 names the client by `azp`, or by RFC 9068's `client_id` in that profile.
_AUTH0_CLIENT = "(has(assertion.azp) ? assertion.azp : assertion.client_id)"

PRESETS: dict[PresetName, Preset] = {
    # OpenID Connect Core section 5.1, OpenID Connect Session Management.
    "": Preset(
        what="an OIDC token",
        shape=r".+",
        example="https://issuer.example.com",
        required=("sub",),
        optional=("groups", "sid"),
        mapping={
            "google.subject": "assertion.sub",
            "google.groups": _optional("groups", "[]"),
            "keystile.session": _optional("sid"),
        },
    ),
    # GitHub Docs: "OpenID Connect reference", with GitHub Enterprise's own issuers.
    "github-actions": Preset(
        what="a GitHub Actions token",
        issuer="https://token.actions.githubusercontent.com",
        shape=r"https://\S+",
        example="https://token.actions.githubusercontent.com",
        tenants=(
            "repository_owner",
            "repository_owner_id",
            "repository",
            "repository_id",
            "enterprise",
            "enterprise_id",
            "sub",
        ),
        required=(
            "sub",
            "repository",
            "repository_owner",
            "ref",
            "workflow",
            "event_name",
            "actor",
            "run_id",
            "run_attempt",
        ),
        optional=("environment", "runner_environment"),
        mapping={
            "google.subject": "assertion.sub",
            "keystile.agent": "assertion.repository",
            "keystile.session": "assertion.run_id + '.' + assertion.run_attempt",
            "keystile.on_behalf_of": "assertion.actor",
            "attribute.repository": "assertion.repository",
            "attribute.repository_owner": "assertion.repository_owner",
            "attribute.ref": "assertion.ref",
            "attribute.workflow": "assertion.workflow",
            "attribute.event_name": "assertion.event_name",
            "attribute.environment": _optional("environment"),
            "attribute.runner_environment": _optional("runner_environment"),
        },
    ),
    # GitLab Docs: "OpenID Connect (OIDC) Authentication Using ID Tokens", token payload.
    "gitlab-ci": Preset(
        what="a GitLab CI/CD ID token",
        issuer="https://gitlab.com",
        shape=r"https?://\S+",
        example="https://gitlab.com",
        tenants=("namespace_path", "namespace_id", "project_path", "project_id", "sub"),
        required=(
            "sub",
            "namespace_path",
            "project_path",
            "pipeline_id",
            "pipeline_source",
            "user_login",
            "ref",
            "ref_type",
            "ref_protected",
        ),
        optional=("environment",),
        mapping={
            "google.subject": "assertion.sub",
            "keystile.agent": "assertion.project_path",
            "keystile.session": "assertion.pipeline_id",
            "keystile.on_behalf_of": "assertion.user_login",
            "attribute.project_path": "assertion.project_path",
            "attribute.namespace_path": "assertion.namespace_path",
            "attribute.ref": "assertion.ref",
            "attribute.ref_type": "assertion.ref_type",
            "attribute.ref_protected": "assertion.ref_protected",
            "attribute.pipeline_source": "assertion.pipeline_source",
            "attribute.environment": _optional("environment"),
        },
    ),
    # Kubernetes: "Managing Service Accounts", schema for service account private claims.
    "kubernetes": Preset(
        what="a Kubernetes projected service-account token",
        shape=r"https?://\S+",
        example="https://kubernetes.default.svc.cluster.local",
        required=("sub", "kubernetes.io"),
        mapping={
            "google.subject": "assertion.sub",
            "keystile.agent": f"{_K8S}.namespace + '/' + {_K8S}.serviceaccount.name",
            "keystile.service_account": "assertion.sub",
            "keystile.session": f"has({_K8S}.pod) ? {_K8S}.pod.uid : ''",
            "attribute.namespace": f"{_K8S}.namespace",
        },
        condition=(
            "assertion.sub == 'system:serviceaccount:' + "
            f"{_K8S}.namespace + ':' + {_K8S}.serviceaccount.name"
        ),
    ),
    # Google Cloud: "Get an ID token" and "Verify the identity of instances" (format=full).
    "google": Preset(
        what="an ID token of a Google service account",
        issuer="https://accounts.google.com",
        shape=r"https://accounts\.google\.com",
        example="https://accounts.google.com",
        tenants=("email", "sub", "google"),
        required=("sub", "email", "email_verified"),
        optional=("google",),
        mapping={
            "google.subject": "assertion.sub",
            "keystile.agent": "assertion.email",
            "keystile.service_account": "assertion.email",
            "attribute.project": (f"{_COMPUTE} ? assertion.google.compute_engine.project_id : ''"),
        },
        # Any person with a Google account gets ID tokens of this issuer, too.
        condition=(
            "assertion.email_verified == true && assertion.email.endsWith('.gserviceaccount.com')"
        ),
    ),
    # Okta: "OpenID Connect & OAuth 2.0 API", access token payload of a custom authorization
    # server; tokens of the organisation's own server are not for others to verify.
    "okta": Preset(
        what="an Okta access token",
        shape=r"https://[^/\s]+/oauth2/[^/\s]+",
        example="https://YOUR-DOMAIN.okta.com/oauth2/default",
        required=("sub", "cid"),
        optional=("groups",),
        mapping={
            "google.subject": "assertion.cid + '/' + assertion.sub",
            "google.groups": _optional("groups", "[]"),
            "keystile.agent": "assertion.cid",
            "keystile.on_behalf_of": "assertion.sub == assertion.cid ? '' : assertion.sub",
        },
    ),
    # Microsoft: "Access token claims reference". An application that acts for itself has its own
    # object id as `sub`; `sub` of a person is another one for each application.
    "entra": Preset(
        what="a Microsoft Entra access token, version 2.0",
        shape=r"https://[^/\s]+/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/v2\.0",
        example="https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0",
        required=("sub", "oid", "tid", "azp", "ver"),
        optional=("roles", "sid"),
        mapping={
            "google.subject": "assertion.azp + '/' + assertion.oid",
            "google.groups": _optional("roles", "[]"),
            "keystile.agent": "assertion.azp",
            "keystile.session": _optional("sid"),
            "keystile.on_behalf_of": "assertion.sub == assertion.oid ? '' : assertion.oid",
        },
        condition=(
            "assertion.ver == '2.0' && assertion.iss.endsWith('/' + assertion.tid + '/v2.0')"
        ),
    ),
    # Auth0: "Access Token Profiles", both of them, and "Client Credentials Flow" (`@clients`).
    "auth0": Preset(
        what="an Auth0 access token",
        shape=r"https://[^/\s]+/",
        example="https://YOUR-TENANT.auth0.com/",
        required=("sub",),
        optional=("azp", "client_id", "permissions", "sid"),
        mapping={
            "google.subject": f"{_AUTH0_CLIENT} + '/' + assertion.sub",
            "google.groups": _optional("permissions", "[]"),
            "keystile.agent": _AUTH0_CLIENT,
            "keystile.session": _optional("sid"),
            "keystile.on_behalf_of": (
                f"assertion.sub == {_AUTH0_CLIENT} + '@clients' ? '' : assertion.sub"
            ),
        },
    ),
    # Keycloak: "Server Administration Guide", service accounts; `typ` in the claims tells access
    # tokens from ID tokens, and only a service account's session has `client_id`.
    "keycloak": Preset(
        what="a Keycloak access token",
        shape=r"https?://\S+/realms/[^/\s]+",
        example="https://keycloak.example.com/realms/acme",
        required=("sub", "azp", "typ"),
        optional=("client_id", "preferred_username", "realm_access", "sid"),
        mapping={
            "google.subject": "assertion.azp + '/' + assertion.sub",
            "google.groups": "has(assertion.realm_access) ? assertion.realm_access.roles : []",
            "keystile.agent": "assertion.azp",
            "keystile.session": _optional("sid"),
            "keystile.on_behalf_of": (
                "has(assertion.client_id) ? '' : "
                f"({_optional('preferred_username', 'assertion.sub')})"
            ),
        },
        condition="assertion.typ == 'Bearer'",
    ),
    # SPIFFE: "The SPIFFE Identity and Verifiable Identity Document" section 2 and "JWT-SVID". The
    # trust domain is the issuer, and whether there is an `iss` means nothing.
    "spiffe": Preset(
        what="a SPIFFE JWT-SVID",
        shape=r"spiffe://[a-z0-9._-]{1,255}",
        example="spiffe://example.org",
        required=("sub",),
        mapping={
            "google.subject": "assertion.sub",
            "keystile.service_account": "assertion.sub",
            "attribute.trust_domain": "assertion.sub.split('/')[2]",
        },
        condition=r"assertion.sub.matches('^spiffe://[a-z0-9._-]+(/[a-zA-Z0-9._-]+)+$')",
    ),
}
