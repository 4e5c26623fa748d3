"""What stands for Cloud Storage: `gs://bucket/object` is a file `bucket/object` of one folder."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from keystile.model.errors import InvalidRequestError, NotFoundError

_URI = re.compile(r"gs://([a-z0-9][a-z0-9._-]{1,221}[a-z0-9])/([^\0]{1,1024})")


class Source(msgspec.Struct, frozen=True):
    """A file to load. An upload has no `uri`."""

    file: Path
    uri: str = ""


class Storage:
    """A folder of buckets."""

    def __init__(self, folder: Path) -> None:
        """Serve the buckets that are folders in `folder`, which need not be there."""
        self._folder = folder

    def sources(self, uri: str) -> list[Source]:
        """Find the objects that a URI names; one `*` stands for any characters.

        Raises `NotFoundError` where there are none, `InvalidRequestError` for what is no URI.
        """
        bucket, name = self._parts(uri)
        if "*" not in name:
            file = bucket.joinpath(*name.split("/"))
            found = [file] if file.is_file() and self._inside(bucket, file) else []
        else:
            before, _, after = name.partition("*")
            long_enough = len(before) + len(after)
            found = [
                file
                for file in sorted(bucket.rglob("*"))
                if file.is_file()
                and self._inside(bucket, file)
                and (spelled := file.relative_to(bucket).as_posix()).startswith(before)
                and spelled.endswith(after)
                and len(spelled) >= long_enough
            ]
        if not found:
            raise NotFoundError(f"Not found: URI {uri}")
        scheme = uri.removesuffix(name)
        return [Source(file, scheme + file.relative_to(bucket).as_posix()) for file in found]

    def target(self, uri: str, number: int) -> Path:
        """Give the file to write for a URI, whose `*` becomes a number of 12 digits.

        Raises `NotFoundError` for a bucket that is not there.
        """
        bucket, name = self._parts(uri)
        file = bucket.joinpath(*name.replace("*", f"{number:012d}").split("/"))
        if not bucket.is_dir() or not self._inside(bucket, file):
            raise NotFoundError(f"Not found: Bucket {bucket.name}")
        return file

    def _parts(self, uri: str) -> tuple[Path, str]:
        found = _URI.fullmatch(uri)
        if found is None or ".." in found[1]:
            raise InvalidRequestError(
                f"Source URI must be a Google Cloud Storage location: {uri[:200]}"
            )
        name = found[2]
        if name.count("*") > 1 or any(part in {"", ".", ".."} for part in name.split("/")):
            raise InvalidRequestError(f"not supported by the sandbox: the URI `{uri[:200]}`")
        return self._folder / found[1], name

    @staticmethod
    def _inside(bucket: Path, file: Path) -> bool:
        """INVARIANT: no link leads out of the bucket."""
        return file.resolve().is_relative_to(bucket.resolve())
