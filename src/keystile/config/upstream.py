"""What the gateway is at BigQuery: `upstream`."""

from __future__ import annotations

import msgspec

from keystile.config.proxy import Proxy
from keystile.config.secret_places import Secret
from keystile.config.section import Positive, Section, Text

DEFAULT_CONNECTION = "default"
"""The name of the connection that is used where the policy names none."""

MOST_BILLED = 1 << 40
"""What one query may be billed where nothing else is said: a tebibyte."""


class Connection(Section, frozen=True, kw_only=True):
    """One identity of the gateway at BigQuery, by exactly one of the first four words.

    `service_account` is where a Google service-account key stands.
    `metadata_server` is the account that is attached to the machine (`GCE_METADATA_HOST`).
    `external_account_file` is a credential file of Google's workload identity federation.
    `application_default` is what Google's own libraries would find on the machine.
    `impersonate` is the e-mail of a service account that is used by way of that identity.
    """

    service_account: Secret | None = None
    metadata_server: bool = False
    external_account_file: str = ""
    application_default: bool = False
    impersonate: str = ""

    @property
    def kind(self) -> str:
        """What stands behind it."""
        if self.metadata_server:
            return "metadata server"
        if self.application_default:
            return "application default"
        return "workload identity" if self.external_account_file else "service account"


class Upstream(Section, frozen=True, kw_only=True):
    """BigQuery: its root URL, and the credentials that only the gateway holds.

    `service_account_file` is a Google service-account key, read again when it changes. It makes the
    connection `default`, under which queries run that the policy
    gives to no other; `connections` are further ones by name. `iam_endpoint` is where the accounts
    to impersonate are asked for. `ca_file` replaces the system's authorities; the client's pair is
    shown to an endpoint that asks for it. `proxy` is the way to it and to Google's other servers.
    `maximum_bytes_billed` goes with every query, whatever policy and clients say.
    """

    endpoint: Text = "https://bigquery.googleapis.com"
    service_account_file: str = ""
    connections: dict[Text, Connection] = msgspec.field(default_factory=dict)
    iam_endpoint: Text = "https://iamcredentials.googleapis.com"
    timeout: Positive = 30
    maximum_bytes_billed: Positive = MOST_BILLED
    ca_file: str = ""
    client_certificate_file: str = ""
    client_key_file: str = ""
    proxy: Proxy | None = None

    @property
    def every_connection(self) -> dict[str, Connection]:
        """All connections of the file by name."""
        if not self.service_account_file:
            return self.connections
        first = Connection(service_account=Secret(file=self.service_account_file))
        return {DEFAULT_CONNECTION: first, **self.connections}
