"""What an unchanged BigQuery client needs to reach the gateway: two files and some variables."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import NamedTemporaryFile

import msgspec

_TOKEN_FILE = "oidc.jwt"  # noqa: S105  a file's name
_CREDENTIAL_FILE = "credential.json"
# Google's own format (`external_account`), which Python, Node and Go read alike.
_SUBJECT_TYPE = "urn:ietf:params:oauth:token-type:jwt"


class Connection(msgspec.Struct, frozen=True):
    """A folder that connects an agent's clients to the gateway at `gateway_url`.

    `audience` is what the token endpoint expects to be asked for. With a `domain`, clients find the
    Storage API too, by its name there.
    """

    folder: Path
    gateway_url: str
    audience: str
    domain: str = ""

    def write(self, token: str) -> None:
        """Write both files, open to their owner alone. Raises `OSError`."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        credential: dict[str, object] = {
            "type": "external_account",
            "audience": self.audience,
            "subject_token_type": _SUBJECT_TYPE,
            "token_url": f"{self.gateway_url}/v1/token",
            "credential_source": {"file": str(self.folder / _TOKEN_FILE)},
        }
        if self.domain:
            credential["universe_domain"] = self.domain
        self.renew(token)
        text = msgspec.json.format(msgspec.json.encode(credential), indent=2)
        _replace(self.folder / _CREDENTIAL_FILE, text + b"\n")

    def renew(self, token: str) -> None:
        """Put a fresh token in place of the old one, so that a reader sees either whole."""
        _replace(self.folder / _TOKEN_FILE, token.encode("ascii"))

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
        return variables


def _replace(file: Path, content: bytes) -> None:
    with NamedTemporaryFile(dir=file.parent, prefix=".new-", delete=False) as draft:
        draft.write(content)
    os.replace(draft.name, file)  # noqa: PTH105  the draft's name is a text
