"""What a file of a policy includes: other files of it, and folders of them.

A policy is the union of its files, so an include adds nothing to one that is a folder, all of whose
files count; it says what belongs to a policy that is one file.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator, Mapping, Sequence

from keystile.policy.parse import Parsed


def included(file: str, entry: str) -> str:
    """Give the file or folder that an entry of `file` names, relative to the policy's folder.

    Raises `ValueError` with a sentence for one outside of it.
    """
    found = posixpath.normpath(posixpath.join(posixpath.dirname(file), entry))
    if entry.startswith("/") or found.split("/")[0] == "..":
        raise ValueError(f"`{entry}` is outside of the policy's folder")
    return found


def within(place: str, files: Collection[str]) -> Iterator[str]:
    """Give those of `files` that a file or folder is or holds."""
    return (file for file in files if place in {file, "."} or file.startswith(f"{place}/"))


def refuse_includes(files: Sequence[Parsed]) -> None:
    """Raise `UnsafeConfigurationError` for an include of nothing, of outside, or in a circle."""
    names = [file.file for file in files]
    edges: dict[str, dict[str, str]] = {}
    for file in files:
        for number, entry in enumerate(file.document.include):
            at = f"$.include[{number}]"
            try:
                place = included(file.file, entry)
            except ValueError as error:
                raise file.error(at, str(error), "move it there") from error
            found = [name for name in within(place, names) if name == place or name != file.file]
            if not found:
                raise file.error(at, f"`{entry}` is no file of this policy", "look at its name")
            edges.setdefault(file.file, {}).update((name, at) for name in found)
    for file in files:
        for name, at in edges.get(file.file, {}).items():
            if _reaches(name, file.file, edges):
                message = f"`{name}` includes `{file.file}`, which includes it"
                raise file.error(at, message, "leave one of the two out")


def _reaches(start: str, end: str, edges: Mapping[str, Mapping[str, str]]) -> bool:
    seen, waiting = set[str](), [start]
    while waiting:
        name = waiting.pop()
        if name == end:
            return True
        if name not in seen:
            seen.add(name)
            waiting += edges.get(name, ())
    return False
