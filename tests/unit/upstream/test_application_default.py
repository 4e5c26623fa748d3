from __future__ import annotations

import json
from pathlib import Path

import pytest
from google.auth import _cloud_sdk

from keystile.model.errors import UnsafeConfigurationError
from keystile.upstream.application_default import ApplicationDefault, well_known

PLANTED = "planted-refresh"


@pytest.fixture(autouse=True)
def nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))


def write(file: Path, kind: str) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"type": kind, "refresh_token": PLANTED}))
    return file


def test_the_named_file_comes_first_then_gclouds_then_the_metadata_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = ApplicationDefault()
    assert look.find().told == "the metadata server"
    gclouds = write(well_known(), "authorized_user")
    assert look.find().told == f"a person's sign-in in `{gclouds}`"
    named = write(tmp_path / "named.json", "external_account")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(named))
    assert look.find().told == f"workload identity in `{named}`"
    assert PLANTED not in repr(look.find())
    write(named, "service_account")
    assert (look.find().is_key, look.find().told) == (
        True,
        f"the key of a service account in `{named}`",
    )


def test_a_file_that_cannot_be_used_is_never_passed_over_for_another_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(well_known(), "gdch_service_account")
    with pytest.raises(UnsafeConfigurationError, match="`gdch_service_account`"):
        ApplicationDefault().find()
    write(well_known(), "authorized_user")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "gone.json"))
    with pytest.raises(UnsafeConfigurationError, match="`GOOGLE_APPLICATION_CREDENTIALS`: cannot"):
        ApplicationDefault().find()


@pytest.mark.parametrize("folder", ["", "x"])
def test_gclouds_file_is_where_googles_library_has_it(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if folder:
        monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / folder))
    else:
        monkeypatch.delenv("CLOUDSDK_CONFIG")
    assert str(well_known()) == _cloud_sdk.get_application_default_credentials_path()
