"""Against the played Secret Manager, metadata server and keys of Google."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import google_crc32c
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tests.support.connect_proxy import connect_proxy
from tests.support.google import Google
from tests.support.google import Secret as Managed

from keystile.config.proxy import Proxy
from keystile.config.secret_places import Secret
from keystile.config.secret_servers import SecretManager
from keystile.config.settings import Settings
from keystile.config.upstream import Upstream
from keystile.model.errors import UnsafeConfigurationError
from keystile.secrets.kept import OutageError
from keystile.secrets.secret_manager import crc32c
from keystile.secrets.source import SecretSource
from keystile.secrets.sources import Secrets
from keystile.tls.from_settings import secrets_of

EMAIL = "gateway@acme-shop.iam.gserviceaccount.com"
NAME = "projects/acme-shop/secrets/bigquery-key"
FILE = {"service_account_file": "own.json"}


class Opened:
    def __init__(self, google: Google, folder: Path) -> None:
        self._google = google
        self._folder = folder
        self._opened: list[Secrets] = []

    def source(self, name: str = NAME, **words: Any) -> SecretSource:
        chosen = SecretManager(**{"endpoint": self._google.url, **words})
        settings = Settings(
            upstream=Upstream(service_account_file="key.json"),
            secret_manager=chosen,
            folder=self._folder,
        )
        secrets = secrets_of(settings)
        self._opened.append(secrets)
        return secrets.source(msgspec.convert({"secret_manager": name}, Secret))

    async def close(self) -> None:
        for one in self._opened:
            await one.close()


@pytest.fixture
async def opened(
    google: Google, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Opened]:
    monkeypatch.setenv("GCE_METADATA_HOST", google.metadata_host)
    google.account(tmp_path / "own.json", EMAIL)
    google.secrets[NAME] = Managed({EMAIL}, [b"first"])
    opened = Opened(google, tmp_path)
    yield opened
    await opened.close()


async def test_the_machines_own_account_reads_and_a_new_version_counts(
    google: Google, opened: Opened, later: Callable[[float], None]
) -> None:
    google.attached = EMAIL
    source = opened.source()
    assert await source.read() == b"first"
    assert source.name == NAME
    google.secrets[NAME].versions.append(b"\x00second")
    later(31)
    assert await source.read() == b"\x00second"


async def test_an_account_of_its_own_signs_for_secret_manager_alone(
    google: Google, opened: Opened
) -> None:
    assert await opened.source(**FILE).read() == b"first"
    assert not google.tokens
    assert google.asked == [f"GET /v1/{NAME}/versions/latest:access"]


async def test_secret_manager_was_asked_past_the_proxy_to_google(
    google: Google, tmp_path: Path
) -> None:
    google.account(tmp_path / "own.json", EMAIL)
    async with connect_proxy(int(google.url.rpartition(":")[2])) as proxy:
        settings = Settings(
            upstream=Upstream(service_account_file="own.json", proxy=Proxy(address=proxy.url)),
            secret_manager=SecretManager(**FILE),
            folder=tmp_path,
        )
        secrets = secrets_of(settings)
        # What answers there is not Google, as its certificate would show.
        with pytest.raises(OutageError, match=r"Secret Manager at .* cannot be reached"):
            await secrets.source(msgspec.convert({"secret_manager": NAME}, Secret)).read()
        await secrets.close()
    assert [head.split()[1] for head in proxy.heads] == [b"secretmanager.googleapis.com:443"]
    assert not google.asked


async def test_a_version_can_be_pinned(google: Google, opened: Opened) -> None:
    google.secrets[NAME].versions.append(b"second")
    assert await opened.source(f"{NAME}/versions/1", **FILE).read() == b"first"


async def test_what_is_disabled_or_taken_back_is_given_no_more(
    google: Google, opened: Opened, later: Callable[[float], None]
) -> None:
    source = opened.source(**FILE)
    changes: tuple[Callable[[Managed], object], ...] = (
        lambda secret: secret.states.update({1: "DISABLED"}),
        lambda secret: secret.accessors.clear(),
        lambda _: google.keys[EMAIL].clear(),
    )
    for change in changes:
        google.secrets[NAME] = Managed({EMAIL}, [b"first"])
        later(31)
        assert await source.read() == b"first"
        change(google.secrets[NAME])
        later(31)
        with pytest.raises(UnsafeConfigurationError, match="Secret Manager does not give"):
            await source.read()


async def test_an_outage_is_bridged_and_so_are_corrupted_answers(
    google: Google, opened: Opened, later: Callable[[float], None]
) -> None:
    source = opened.source(**FILE)
    assert await source.read() == b"first"
    google.down = True
    later(31)
    assert await source.read() == b"first"
    google.down, google.corrupts = False, True
    later(31)
    with capture_logs() as logs:
        assert await source.read() == b"first"
    assert "is not what its checksum says" in logs[0]["reason"]
    later(3600)
    with pytest.raises(OutageError, match="minutes ago, which is too long"):
        await source.read()


async def test_a_corrupted_answer_is_never_the_first(google: Google, opened: Opened) -> None:
    google.corrupts = True
    with pytest.raises(OutageError, match="is not what its checksum says"):
        await opened.source(**FILE).read()


async def test_a_machine_without_an_account(opened: Opened) -> None:
    with pytest.raises(UnsafeConfigurationError, match="the metadata server gave no token"):
        await opened.source().read()


async def test_a_broken_key_file_is_not_quoted(opened: Opened, tmp_path: Path) -> None:
    for content in ("PEM-WORD", '{"client_email": "a", "private_key": "PEM-WORD"}'):
        (tmp_path / "own.json").write_text(content)
        with pytest.raises(UnsafeConfigurationError, match="not a Google service-account key") as e:
            await opened.source(**FILE).read()
        assert "PEM-WORD" not in str(e.value)
        assert (e.value.__cause__, e.value.__context__) == (None, None)


def test_an_endpoint_that_would_expose_it_is_refused(opened: Opened) -> None:
    with pytest.raises(UnsafeConfigurationError, match="without encryption"):
        opened.source(endpoint="http://secretmanager.example.com")


@pytest.mark.parametrize("name", ["key", "projects/p", f"{NAME}/versions/two", f"{NAME}?x=1"])
def test_only_full_names_are_names(name: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="matching regex"):
        msgspec.convert({"secret_manager": name}, Secret)


@given(st.binary(max_size=300))
def test_the_checksum_is_googles(data: bytes) -> None:
    assert crc32c(data) == google_crc32c.value(data)


def test_the_checksum_of_the_standards_examples() -> None:
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(bytes(range(32))) == 0x46DD794E
