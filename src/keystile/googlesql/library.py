"""Google's SQL engine as it comes: a library for Linux on x86-64, inside an archive of Google's.

`script/setup` puts it into the Python environment once, together with the descriptions of its
messages. The library carries those itself, so the two always fit together.
Why this build: docs/adr/0011-googlesql-as-a-native-library.md.

INVARIANT: only the archive whose digest stands here is ever unpacked.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import sys
import tempfile
from functools import cache
from importlib.resources import files
from pathlib import Path
from zipfile import ZipFile

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from keystile.model.errors import UnsafeConfigurationError

VERSION = "2025.12.1"
ARTIFACT = f"com.google.zetasql:zetasql-jni-channel-linux:{VERSION}"
"""What Maven calls the archive."""

_ARCHIVE = "c64cf548fe66c497956b87c0870ce35274bbf218e852ea0df516c20860b49377"
_MEMBER = "zetasql/local_service/liblocal_service_jni.so"
_MACHINES = ("x86_64", "AMD64")

_ROOT = "descriptor_table_zetasql_2flocal_5fservice_2flocal_5fservice_2eproto"
"""The description of the service's messages; it names those that it builds on."""


def folder() -> Path:
    """Name the folder of this version in this Python environment."""
    return Path(sys.prefix) / "share" / "keystile" / f"googlesql-{VERSION}"


def installed() -> bool:
    """Tell whether the engine is there: the folder appears whole or not at all."""
    return folder().is_dir()


def load() -> ctypes.CDLL:
    """Load the library in some 50 ms.

    Raises `UnsafeConfigurationError` where it is missing or this machine cannot run it.
    """
    if sys.platform != "linux" or platform.machine() not in _MACHINES:
        raise UnsafeConfigurationError(
            f"the SQL engine runs on Linux on x86-64, not on `{sys.platform}` on"
            f" `{platform.machine()}`",
            hint="run Keystile in a Linux container for x86-64",
        )
    # Its time zones are those of the package, whatever the machine has. It reads this as it starts.
    os.environ["TZDIR"] = str(files("tzdata") / "zoneinfo")
    return ctypes.CDLL(str(_there() / "engine.so"))


@cache
def messages() -> FileDescriptorSet:
    """Read the descriptions of the engine's messages, each file after those that it builds on."""
    return FileDescriptorSet.FromString((_there() / "messages.binpb").read_bytes())


def install(archive: Path) -> None:
    """Unpack the engine from Google's archive into this environment.

    Raises `UnsafeConfigurationError` for any other archive.
    """
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != _ARCHIVE:
        raise UnsafeConfigurationError(
            f"`{archive.name}` is not the archive that Keystile was tested with: its digest is"
            f" `{found}`",
            hint=f"fetch {ARTIFACT} anew",
        )
    folder().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder().parent) as half:
        whole = Path(half) / "whole"
        whole.mkdir()
        library = whole / "engine.so"
        with ZipFile(archive) as opened, opened.open(_MEMBER) as member, library.open("wb") as out:
            shutil.copyfileobj(member, out)
        described = _described(ctypes.CDLL(str(library)))
        (whole / "messages.binpb").write_bytes(described.SerializeToString())
        if not installed():  # others may have come first
            whole.rename(folder())


def _there() -> Path:
    if not installed():
        raise UnsafeConfigurationError(
            "the SQL engine is not in this Python environment", hint="run `script/setup`"
        )
    return folder()


class _Table(ctypes.Structure):
    """`DescriptorTable` of google/protobuf/generated_message_reflection.h, as far as needed."""


_Table._fields_ = [
    ("initialized", ctypes.c_bool),
    ("eager", ctypes.c_bool),
    ("size", ctypes.c_int),
    ("descriptor", ctypes.c_void_p),
    ("filename", ctypes.c_char_p),
    ("once", ctypes.c_void_p),
    ("needed", ctypes.POINTER(ctypes.POINTER(_Table))),
    ("needed_count", ctypes.c_int),
]


def _described(library: ctypes.CDLL) -> FileDescriptorSet:
    found: dict[str, FileDescriptorProto] = {}

    def add(table: _Table) -> None:
        file = FileDescriptorProto.FromString(ctypes.string_at(table.descriptor, table.size))
        if file.name not in found:
            for index in range(table.needed_count):
                add(table.needed[index].contents)
            found[file.name] = file

    add(_Table.in_dll(library, _ROOT))
    return FileDescriptorSet(file=found.values())


def main() -> None:
    """Install from the archive named, or without one print what is to be fetched, if anything."""
    if sys.argv[1:]:
        install(Path(sys.argv[1]))
    elif not installed():
        sys.stdout.write(f"{ARTIFACT}\n")


if __name__ == "__main__":
    main()
