from __future__ import annotations

import json
import stat
from pathlib import Path

from google.auth import identity_pool

from keystile.identity.connection import Connection


def _connection(folder: Path) -> Connection:
    return Connection(folder, "http://127.0.0.1:8420", "//keystile/agents")


def test_googles_own_library_reads_what_is_written(tmp_path: Path) -> None:
    connection = _connection(tmp_path / "private")
    connection.write("the-token")
    credentials = identity_pool.Credentials.from_file(
        connection.environment("")["GOOGLE_APPLICATION_CREDENTIALS"]
    )
    assert credentials.retrieve_subject_token(None) == "the-token"
    document = json.loads((tmp_path / "private" / "credential.json").read_text())
    assert document["token_url"] == "http://127.0.0.1:8420/v1/token"
    assert document["audience"] == "//keystile/agents"


def test_the_files_are_open_to_their_owner_alone(tmp_path: Path) -> None:
    connection = _connection(tmp_path / "private")
    connection.write("one")
    connection.renew("two")
    files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in connection.folder.iterdir()}
    assert files == {"oidc.jwt": 0o600, "credential.json": 0o600}
    assert stat.S_IMODE(connection.folder.stat().st_mode) == 0o700
    assert (connection.folder / "oidc.jwt").read_text() == "two"


def test_the_environment_serves_every_client(tmp_path: Path) -> None:
    assert _connection(tmp_path).environment("acme-shop") == {
        "GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "credential.json"),
        "GOOGLE_CLOUD_PROJECT": "acme-shop",
        "BIGQUERY_EMULATOR_HOST": "http://127.0.0.1:8420",
        "BIGQUERY_ENDPOINT": "http://127.0.0.1:8420/bigquery/v2/",
        "BIGQUERY_PROJECT": "acme-shop",
    }
    assert "GOOGLE_CLOUD_PROJECT" not in _connection(tmp_path).environment("")


def test_by_its_domain_clients_find_the_storage_api(tmp_path: Path) -> None:
    connection = Connection(
        tmp_path, "https://bigquery.gw.example", "//keystile/agents", "gw.example"
    )
    connection.write("one")
    found = connection.environment("")
    assert found["GOOGLE_CLOUD_UNIVERSE_DOMAIN"] == "gw.example"
    credentials = identity_pool.Credentials.from_file(found["GOOGLE_APPLICATION_CREDENTIALS"])
    assert credentials.universe_domain == "gw.example"
