"""How the gateway gets to the servers that keep secrets: `vault` and `secret_manager`."""

from __future__ import annotations

from keystile.config.proxy import Proxy
from keystile.config.secret_places import Secret
from keystile.config.section import Section, Text, exactly_one


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

    `ca_file` has the certificates to trust for it, in place of the system's; `proxy` is the way.
    """

    address: Text
    namespace: str = ""
    ca_file: str = ""
    proxy: Proxy | None = None
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
