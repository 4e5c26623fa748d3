"""Where secrets stand, and how the gateway gets to them: `vault` and `secret_manager`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from keystile.config.section import Section, Text, exactly_one

_MANAGED = (
    r"^(projects/[^/]+/(locations/[^/]+/)?secrets/[A-Za-z0-9_-]+(/versions/(latest|[0-9]+))?)?$"
)


class VaultSecret(Section, frozen=True, kw_only=True):
    """A field of a secret in HashiCorp Vault's key-value store, version 2; 0 is the newest."""

    mount: Text = "secret"
    path: Text
    field: Text
    version: Annotated[int, msgspec.Meta(ge=0)] = 0


class Secret(Section, frozen=True, kw_only=True):
    """Where a secret stands: exactly one of these words.

    `file` is read again when it changes; `environment` is the name of a variable; `secret_manager`
    is the full name of a secret in Google's Secret Manager, or of one of its versions.
    """

    file: str = ""
    environment: str = ""
    vault: VaultSecret | None = None
    secret_manager: Annotated[str, msgspec.Meta(pattern=_MANAGED)] = ""

    def __post_init__(self) -> None:
        """Refuse none and several; msgspec tells where in the file."""
        exactly_one(self, "a secret stands in", *self.__struct_fields__)


class AppRole(Section, frozen=True, kw_only=True):
    """Vault's AppRole."""

    mount: Text = "approle"
    role_id: Text
    secret_id: Secret


class KubernetesAuth(Section, frozen=True, kw_only=True):
    """Vault's sign-in with the token of a Kubernetes service account."""

    mount: Text = "kubernetes"
    role: Text
    token_file: Text = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105 - a path


class Vault(Section, frozen=True, kw_only=True):
    """HashiCorp Vault: its address, and exactly one way to sign in.

    `ca_file` has the certificates to trust for it, in place of the system's.
    """

    address: Text
    namespace: str = ""
    ca_file: str = ""
    token: Secret | None = None
    app_role: AppRole | None = None
    kubernetes: KubernetesAuth | None = None

    def __post_init__(self) -> None:
        """Refuse none and several ways to sign in, and one that asks Vault for its own key."""
        exactly_one(self, "the gateway signs in to Vault by", "token", "app_role", "kubernetes")
        own = self.token or (self.app_role.secret_id if self.app_role else None)
        if own and own.vault:
            raise ValueError("what signs in to Vault cannot stand in Vault")


class SecretManager(Section, frozen=True, kw_only=True):
    """Google's Secret Manager.

    `service_account_file` is the key of an account that may read there; without one it is the
    account that is attached to the machine, by the metadata server (`GCE_METADATA_HOST`).
    """

    endpoint: Text = "https://secretmanager.googleapis.com"
    service_account_file: str = ""
