"""What an unchanged BigQuery client needs to reach the gateway: two files and some variables."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import NamedTemporaryFile

import msgspec

from keystile.identity.token_source import ALLOW_PROGRAMS, TokenSource

_TOKEN_FILE = "oidc.jwt"  # noqa: S105  a file's name
_CREDENTIAL_FILE = "credential.json"
# Google's own format (`external_account`), which Python, Node and Go read alike.
_SUBJECT_TYPE = "urn:ietf:params:oauth:token-type:jwt"


class Connection(msgspec.Struct, frozen=True):
    """A folder that connects an agent's clients to the gateway at `gateway_url`.

    `audience` is what the token endpoint expects to be asked for. With a `domain`, clients find the
    Storage API too, by its name there. `source` is where the agent's own token comes from, where
    that is not a file in the folder. `token_url` is who exchanges it, where that is not the gateway
    itself.
    """

    folder: Path
    gateway_url: str
    audience: str
    domain: str = ""
    source: TokenSource | None = None
    token_url: str = ""

    def write(self, token: str = "") -> None:
        """Write all files, open to their owner alone. Raises `OSError`.

        A token is needed where no source is given.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        source = self.source or TokenSource(file=str(self.folder / _TOKEN_FILE))
        credential: dict[str, object] = {
            "type": "external_account",
            "audience": self.audience,
            "subject_token_type": _SUBJECT_TYPE,
            "token_url": self.token_url or f"{self.gateway_url}/v1/token",
            "credential_source": source.document(),
        }
        if self.domain:
            credential["universe_domain"] = self.domain
        if self.source is None:
            self.renew(token)
        text = msgspec.json.format(msgspec.json.encode(credential), indent=2)
        replace_private(self.folder / _CREDENTIAL_FILE, text + b"\n")

    def renew(self, token: str) -> None:
        """Put a fresh token in place of the old one, so that a reader sees either whole."""
        replace_private(self.folder / _TOKEN_FILE, token.encode("ascii"))

    def environment(self, project: str) -> dict[str, str]:
        """Give the variables; `project` may be empty if the client names one itself.

        BIGQUERY_EMULATOR_HOST is read by the clients for Python and Node, BIGQUERY_ENDPOINT and
        BIGQUERY_PROJECT by Google's MCP Toolbox.
        """
        variables = {
            "GOOGLE_APPLICATION_CREDENTIALS": str(self.folder / _CREDENTIAL_FILE),
            "BIGQUERY_EMULATOR_HOST": self.gateway_url,
            "BIGQUERY_ENDPOINT": f"{self.gateway_url}/bigquery/v2/",
        }
        if self.domain:
            # Google's clients want it to be the same as in the credential file.
            variables["GOOGLE_CLOUD_UNIVERSE_DOMAIN"] = self.domain
        if project:
            variables |= {"GOOGLE_CLOUD_PROJECT": project, "BIGQUERY_PROJECT": project}
        if self.source is not None and self.source.command:
            variables[ALLOW_PROGRAMS] = "1"
        return variables


def replace_private(file: Path, content: bytes) -> None:
    """Write a file that is open to its owner alone, so that a reader sees old or new whole."""
    with NamedTemporaryFile(dir=file.parent, prefix=".new-", delete=False) as draft:
        draft.write(content)
    os.replace(draft.name, file)  # noqa: PTH105  the draft's name is a text
