"""Each place where Google's credential files may say that a subject token is.

They are read by the clients' own libraries, so this is only what stands at the other end: a file, a
server on this machine as clouds have one, and a program.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

JWT = "urn:ietf:params:oauth:token-type:jwt"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105 - a type's name

_FIELD = "credential"
_HEADER = ("Metadata-Flavor", "Sample")
# The gateway's audience is told to the program, which might ask its issuer for a token by it.
_PROGRAM = """\
[ "$GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE" = //keystile/agents ] || exit 1
printf '{"version": 1, "success": true, "token_type": "%s", "id_token": "%s"}' \\
    "$GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE" "$(cat THE-TEXT)"
"""


class Sources(NamedTuple):
    """A folder with one token, and each `credential_source` that leads to it, by its name."""

    folder: Path
    named: dict[str, Any]

    def put(self, token: str) -> None:
        """Have this token be at all of them; a text ends its line, as commands write it."""
        (self.folder / "text").write_text(f"{token}\n", encoding="ascii")
        (self.folder / "json").write_text(json.dumps({_FIELD: token}), encoding="ascii")

    def environment(self, name: str, token_url: str, kind: str = JWT) -> dict[str, str]:
        """Write a credential file for one of them, and give the variables that lead there."""
        file = self.folder / "credential.json"
        credential = {
            "type": "external_account",
            "audience": "//keystile/agents",
            "subject_token_type": kind,
            "token_url": token_url,
            "credential_source": self.named[name],
        }
        file.write_text(json.dumps(credential, indent=2), encoding="ascii")
        return {
            "GOOGLE_APPLICATION_CREDENTIALS": str(file),
            "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES": "1",
        }


@contextmanager
def standing(folder: Path) -> Iterator[Sources]:
    """Serve what lies in a folder, which is made."""
    folder.mkdir(parents=True)
    text, fields, program = (str(folder / name) for name in ("text", "json", "program"))
    Path(program).write_text(_PROGRAM.replace("THE-TEXT", text), encoding="ascii")
    json_form = {"type": "json", "subject_token_field_name": _FIELD}

    class Metadata(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path not in {"/text", "/json"} or self.headers[_HEADER[0]] != _HEADER[1]:
                self.send_error(403)
                return
            self.send_response(200)
            self.send_header("content-type", f"application{self.path}")
            self.end_headers()
            self.wfile.write((folder / self.path[1:]).read_bytes())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Metadata) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url, headers = f"http://127.0.0.1:{server.server_port}", dict([_HEADER])
        named: dict[str, Any] = {
            "file, text": {"file": text},
            "file, JSON": {"file": fields, "format": json_form},
            "URL, text": {"url": f"{url}/text", "headers": headers},
            "URL, JSON": {"url": f"{url}/json", "headers": headers, "format": json_form},
            "executable": {"executable": {"command": f"sh {program}", "timeout_millis": 30_000}},
        }
        try:
            yield Sources(folder, named)
        finally:
            server.shutdown()
