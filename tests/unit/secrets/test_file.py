from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from keystile.model.errors import UnsafeConfigurationError
from keystile.secrets.file import SecretFile


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"first")
    secret = SecretFile(path)
    assert secret.read() == b"first"
    replacement = tmp_path / "new"
    replacement.write_bytes(b"other")
    replacement.replace(path)
    assert secret.read() == b"other"


@pytest.mark.parametrize("content", [b"", b"x" * 70_000])
def test_an_empty_or_huge_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(UnsafeConfigurationError, match="empty or larger"):
        SecretFile(path).read()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnsafeConfigurationError, match=r"cannot read the secret file `.*gone`"):
        SecretFile(tmp_path / "gone").read()


def test_a_key_open_to_all_is_warned_about_once(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"secret-word")
    path.chmod(0o644)
    secret = SecretFile(path)
    with capture_logs() as logs:
        secret.read()
        secret.read()
    assert [log["event"] for log in logs] == ["secret_file_open_to_all"]
    assert "secret-word" not in f"{logs}{secret!r}"


def test_a_private_key_file_is_quiet(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"x")
    path.chmod(0o600)
    with capture_logs() as logs:
        SecretFile(path).read()
    assert logs == []
