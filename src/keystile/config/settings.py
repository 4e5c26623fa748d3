"""Every setting of `keystile serve --config FILE`, with its default.

Relative paths count from the folder that holds the file. Durations are seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from keystile.model.masks import KeyName

DEFAULT_CONNECTION = "default"
"""The name of the connection that is used where the policy names none."""

MOST_BILLED = 1 << 40
"""What one query may be billed where nothing else is said: a tebibyte."""

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Positive = Annotated[int, msgspec.Meta(gt=0)]
Text = Annotated[str, msgspec.Meta(min_length=1)]
SenderConstraint = Literal["", "dpop", "mtls", "either"]
PresetName = Literal[
    "",
    "github-actions",
    "gitlab-ci",
    "kubernetes",
    "google",
    "okta",
    "entra",
    "auth0",
    "keycloak",
    "spiffe",
]


_MANAGED = (
    r"^(projects/[^/]+/(locations/[^/]+/)?secrets/[A-Za-z0-9_-]+(/versions/(latest|[0-9]+))?)?$"
)


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every section: an unknown word in the file is an error, not a silent nothing."""


def _exactly_one(section: Section, what: str, *words: str) -> None:
    if sum(bool(getattr(section, word)) for word in words) != 1:
        listed = ", ".join(f"`{word}`" for word in words)
        raise ValueError(f"{what} exactly one of {listed}")


class Listener(Section, frozen=True, kw_only=True):
    """Where a server listens, and the certificate that it shows: both PEM files, or none.

    Both are read again when they change. Without them the server speaks plain HTTP, to this machine
    only, unless `unsafe_plain_http` says that the network up to it is trusted.
    """

    host: Text = "127.0.0.1"
    port: Port
    certificate_file: str = ""
    key_file: str = ""
    unsafe_plain_http: bool = False


class HttpListener(Listener, frozen=True, kw_only=True):
    """Where HTTP is served, perhaps behind load balancers.

    INVARIANT: what a request says of the address that it came from (`X-Forwarded-For`) counts only
    from `trusted_proxies`, which are addresses or networks: conditions and limits rest on it.
    """

    trusted_proxies: list[Text] = []


class Gateway(HttpListener, frozen=True, kw_only=True):
    """Where agents are served. Clients may show a certificate that `client_ca_file` vouches for."""

    port: Port = 8420
    client_ca_file: str = ""


class Console(HttpListener, frozen=True, kw_only=True):
    """Where people are served."""

    port: Port = 8421


class Storage(Listener, frozen=True, kw_only=True):
    """Where the Storage Read API is served, as gRPC; nowhere while the port is 0."""

    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0


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
        _exactly_one(self, "a secret stands in", *self.__struct_fields__)


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
        _exactly_one(self, "the gateway signs in to Vault by", "token", "app_role", "kubernetes")
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
    shown to an endpoint that asks for it. `proxy` is asked to CONNECT to the endpoint.
    `maximum_bytes_billed` goes with every query, whatever policy and clients say.
    """

    endpoint: Text = "https://bigquery.googleapis.com"
    service_account_file: str = ""
    connections: dict[Text, Connection] = {}
    iam_endpoint: Text = "https://iamcredentials.googleapis.com"
    timeout: Positive = 30
    maximum_bytes_billed: Positive = MOST_BILLED
    ca_file: str = ""
    client_certificate_file: str = ""
    client_key_file: str = ""
    proxy: str = ""

    @property
    def every_connection(self) -> dict[str, Connection]:
        """All connections of the file by name."""
        if not self.service_account_file:
            return self.connections
        first = Connection(service_account=Secret(file=self.service_account_file))
        return {DEFAULT_CONNECTION: first, **self.connections}


class Trust(Section, frozen=True, kw_only=True):
    """How far an issuer's tokens go.

    `exchanges_per_token` bounds what a stolen one is good for, beyond what honest clients need, all
    of which exchange the same file's token again and again. `sender_constraint` binds gateway
    tokens to a key of the client: by a DPoP proof, a certificate, or either. `direct_use` takes
    the issuer's own tokens where a gateway token is expected.
    """

    exchanges_per_token: Positive = 1000
    sender_constraint: SenderConstraint = ""
    direct_use: bool = False


class Issuer(Trust, frozen=True, kw_only=True):
    """An OIDC issuer whose tokens agents may present.

    `preset` says what kind it is; `issuer` may be left out where the kind has only one.
    `audiences` must not be empty: a token made for someone else is not a token for us.
    `jwks_uri` replaces discovery (OpenID Connect Discovery section 4), `ca_file` the system's
    authorities where its documents are fetched. `attribute_mapping` adds to
    the preset's and `attribute_condition` to its demands; both are CEL over the claims, in the
    words of Google's workload identity federation. `actor_mapping` says what the actor is that
    `act` of a token names, and `actor_issuers` whose agents `may_act` may name, of which `builtin`
    is the gateway's own issuer; without them nobody acts for this issuer's subjects (RFC 8693).
    """

    preset: PresetName = ""
    issuer: str = ""
    audiences: Annotated[list[Text], msgspec.Meta(min_length=1)]
    algorithms: Annotated[list[str], msgspec.Meta(min_length=1)] = msgspec.field(
        default_factory=lambda: ["RS256", "ES256"]
    )
    jwks_uri: str = ""
    ca_file: str = ""
    attribute_mapping: dict[str, str] = {}
    attribute_condition: str = ""
    actor_mapping: dict[str, str] = {}
    actor_issuers: list[Text] = []


class BuiltinIssuer(Trust, frozen=True, kw_only=True):
    """The issuer that Keystile itself runs for agents made with `keystile agent create`.

    Its keys stand in the data folder and it is served under `/issuer` of the gateway.
    """

    enabled: bool = True
    token_lifetime: Positive = 900


class ExchangeLimits(Section, frozen=True, kw_only=True):
    """What each replica takes at the token endpoints in a minute."""

    per_address: Positive = 600
    per_agent: Positive = 300
    failed_per_address: Positive = 120


class Identity(Section, frozen=True, kw_only=True):
    """How agents sign in. `audience` is what their credential files name.

    `operators` are groups of people who may disable agents in the console, as each one's owner may.
    `proxy` is asked to CONNECT to issuers for their documents.
    """

    audience: Text = "//keystile/agents"
    token_lifetime: Annotated[int, msgspec.Meta(gt=0, le=3600)] = 600
    clock_skew: Annotated[int, msgspec.Meta(ge=0, le=120)] = 30
    limits: ExchangeLimits = ExchangeLimits()
    builtin_issuer: BuiltinIssuer = BuiltinIssuer()
    operators: list[Text] = []
    proxy: str = ""
    issuers: list[Issuer] = []


class Publisher(Section, frozen=True, kw_only=True):
    """Who may publish the policy: those of an issuer whose tokens fulfil `condition`.

    `issuer` is the `iss` of one of `identity.issuers`, whose own condition holds too. `condition`
    is CEL in the words of `attribute_condition`.
    """

    issuer: Text
    condition: Text


class Publishing(Section, frozen=True, kw_only=True):
    """Who may publish the policy over the network: nobody, unless `publishers` says so.

    `audience` is what their tokens must be for, and no token of an agent is.
    """

    audience: Text = "//keystile/policy"
    publishers: list[Publisher] = []


class EngineLimits(Section, frozen=True, kw_only=True):
    """The GoogleSQL workers. `deadline` is for one analysis; `queue` is how many may wait."""

    workers: Positive = 2
    deadline: Positive = 5
    memory_bytes: Positive = 1 << 30
    queue: Positive = 64
    max_sql_bytes: Positive = 262_144


class Retention(Section, frozen=True, kw_only=True):
    """What happens to recordings older than `after_days`: purged, or moved to `archive`."""

    after_days: Positive = 400
    action: Literal["purge", "archive"] = "archive"
    archive: str = "archive"


class Recording(Section, frozen=True, kw_only=True):
    """Where recordings stand and how long."""

    folder: Text = "recordings"
    segment_bytes: Positive = 64 << 20
    retention: Retention = Retention()


class Settings(Section, frozen=True, kw_only=True):
    """The whole file."""

    gateway: Gateway = Gateway()
    console: Console = Console()
    storage: Storage = Storage()
    public_url: str = ""
    console_url: str = ""
    data: Text = "keystile-data"
    database: str = ""
    policy: Text = "policy"
    publishing: Publishing = Publishing()
    masking_key_file: str = ""
    masking_key: Secret | None = None
    masking_keys: dict[KeyName, Secret] = {}
    vault: Vault | None = None
    secret_manager: SecretManager = SecretManager()
    upstream: Upstream = Upstream()
    identity: Identity = Identity()
    engine: EngineLimits = EngineLimits()
    recording: Recording = Recording()
    folder: Path = Path()

    def path(self, relative: str) -> Path:
        """Resolve a path of the file against the folder that the file stands in."""
        return self.folder / Path(relative).expanduser()

    @property
    def data_folder(self) -> Path:
        """Where this gateway keeps its own state."""
        return self.path(self.data)

    @property
    def database_url(self) -> str:
        """The control store; a SQLite file in the data folder unless `database` says otherwise."""
        return self.database or f"sqlite+aiosqlite:///{self.data_folder / 'keystile.db'}"

    @property
    def listeners(self) -> dict[str, Listener]:
        """Every server of the gateway that is on, by the name of its section."""
        every = {"gateway": self.gateway, "console": self.console, "storage": self.storage}
        return {name: listener for name, listener in every.items() if listener.port}

    @property
    def gateway_url(self) -> str:
        """The address that agents use."""
        return (self.public_url or _url(self.gateway)).rstrip("/")

    @property
    def domain(self) -> str:
        """The domain under which clients find both APIs by their names, or nothing.

        Google's clients put `bigquery.` and `bigquerystorage.` before it, and look at port 443.
        """
        name = self.gateway_url.removeprefix("https://bigquery.")
        found = self.storage.port and name != self.gateway_url and not {*name} & {*":/"}
        return name if found else ""

    @property
    def people_url(self) -> str:
        """The console's address."""
        return self.console_url or _url(self.console)


def _url(listener: Listener) -> str:
    scheme = "https" if listener.certificate_file else "http"
    host = f"[{listener.host}]" if ":" in listener.host else listener.host
    return f"{scheme}://{host}:{listener.port}"
