from __future__ import annotations

from pathlib import Path

import pytest

from keystile.model.errors import InvalidRequestError, NotFoundError
from keystile.sandbox.data import read_folder
from keystile.sandbox.transfer.storage import Storage


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("shop/a1", "shop/in/a2.csv", "shop/in/b.csv", "other/a3"):
        file = tmp_path / "_storage" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (tmp_path / "secret").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("gs://shop/a1", ["a1"]),
        ("gs://shop/*", ["a1", "in/a2.csv", "in/b.csv"]),
        ("gs://shop/in/*.csv", ["in/a2.csv", "in/b.csv"]),
        ("gs://shop/i*csv", ["in/a2.csv", "in/b.csv"]),
        ("gs://shop/in/a2*2.csv", []),
        ("gs://shop/in", []),
        ("gs://none/a1", []),
    ],
)
def test_objects_are_found(folder: Path, uri: str, found: list[str]) -> None:
    storage = Storage(folder / "_storage")
    if not found:
        with pytest.raises(NotFoundError, match="Not found: URI"):
            storage.sources(uri)
        return
    assert [source.uri for source in storage.sources(uri)] == [f"gs://shop/{it}" for it in found]


@pytest.mark.parametrize(
    "uri",
    [
        "gs://shop/../other/a3",
        "gs://shop/in/../../../secret",
        "gs://../secret",
        "gs://shop//a1",
        "gs://shop/./a1",
        "gs://shop/",
        "gs://shop",
        "gs://Shop/a1",
        "gs://shop/a*b*",
        "gs://shop/a\0b",
        "/etc/passwd",
        "s3://shop/a1",
    ],
)
def test_other_addresses_are_refused(folder: Path, uri: str) -> None:
    storage = Storage(folder / "_storage")
    for asked in (storage.sources, lambda uri: storage.target(uri, 0)):
        with pytest.raises(InvalidRequestError):
            asked(uri)


def test_no_link_leads_out_of_a_bucket(folder: Path) -> None:
    bucket = folder / "_storage" / "shop"
    (bucket / "link").symlink_to(folder / "secret")
    (bucket / "there").symlink_to(folder)
    storage = Storage(folder / "_storage")
    for uri in ("gs://shop/link", "gs://shop/lin*", "gs://shop/there/secret"):
        with pytest.raises(NotFoundError):
            storage.sources(uri)
    for uri in ("gs://shop/there/new", "gs://shop/link"):
        with pytest.raises(NotFoundError):
            storage.target(uri, 0)


def test_a_star_becomes_the_number_of_the_file(folder: Path) -> None:
    storage = Storage(folder / "_storage")
    assert storage.target("gs://shop/out/t-*.csv", 3).name == "t-000000000003.csv"
    with pytest.raises(NotFoundError, match="Not found: Bucket none"):
        storage.target("gs://none/x", 0)


def test_the_storage_is_no_project(folder: Path) -> None:
    assert read_folder(folder).datasets == ()
