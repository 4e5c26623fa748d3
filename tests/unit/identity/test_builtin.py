from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from keystile.identity import builtin as module
from keystile.identity.builtin import BuiltinIssuer
from keystile.model.errors import TokenRefusedError, UnsafeConfigurationError

URL = "http://127.0.0.1:8420/issuer"


def _open(folder: Path) -> BuiltinIssuer:
    return BuiltinIssuer(folder / "data" / "issuer-key.pem", URL, "//keystile/agents", 900)


def test_its_documents_verify_its_tokens(tmp_path: Path) -> None:
    issuer = _open(tmp_path)
    keys = KeySet.import_key_set(issuer.jwks())
    token = jwt.decode(issuer.mint("bot", "run-1"), keys, algorithms=["ES256"])
    assert token.claims["iss"] == URL == issuer.discovery()["issuer"]
    assert (token.claims["sub"], token.claims["sid"]) == ("bot", "run-1")
    assert token.claims["aud"] == "//keystile/agents"
    assert token.claims["exp"] - token.claims["iat"] == 900
    assert issuer.discovery()["jwks_uri"] == URL + "/jwks"


def test_the_private_key_is_in_no_document_and_in_a_private_file(tmp_path: Path) -> None:
    issuer = _open(tmp_path)
    file = tmp_path / "data" / "issuer-key.pem"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert list(file.parent.iterdir()) == [file]
    private = ECKey.import_key(file.read_bytes()).as_dict(private=True)["d"]
    shown = f"{issuer.jwks()}{issuer.discovery()}{issuer!r}"
    assert str(private) not in shown
    assert "'d'" not in shown


async def test_commands_and_gateway_share_one_key(tmp_path: Path) -> None:
    first, second = _open(tmp_path), _open(tmp_path)
    assert first.jwks() == second.jwks()
    kid = first.jwks()["keys"][0]["kid"]
    assert await second.find(kid, "ES256")
    for other in (("", "ES256"), (kid, "RS256"), ("x", "ES256")):
        with pytest.raises(TokenRefusedError, match="another key"):
            await second.find(*other)


def test_processes_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from keystile.identity.builtin import BuiltinIssuer;"
        "print(BuiltinIssuer(Path(sys.argv[1]), 'u', 'a', 1).jwks())"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "key.pem")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(4)]
    printed = {process.communicate(timeout=60)[0] for process in running}
    assert len(printed) == 1
    assert b"kid" in printed.pop()


def test_a_process_that_comes_late_keeps_the_first_ones_key(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    module._create(file)
    first = file.read_bytes()
    module._create(file)
    assert file.read_bytes() == first
    assert list(tmp_path.iterdir()) == [file]


def test_a_damaged_key_is_refused_without_being_quoted(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_text("-----BEGIN PRIVATE KEY-----\nSECRETWORD\n-----END PRIVATE KEY-----")
    with pytest.raises(UnsafeConfigurationError, match="is damaged") as caught:
        BuiltinIssuer(file, URL, "a", 1)
    assert "SECRETWORD" not in str(caught.value)
    with pytest.raises(UnsafeConfigurationError, match="cannot use the issuer's key"):
        BuiltinIssuer(tmp_path, URL, "a", 1)
