"""Read the policy's documents from their folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import yaml

from keystile.model.errors import UnsafeConfigurationError

TESTS = ".test.yaml"
"""How the names of files with tests of a policy end. They are no part of it, nor of its digest."""


def read_policy(folder: Path) -> dict[str, str]:
    """Give every `*.yaml` under `folder` by its name relative to it, or one file and its includes.

    Tests are no policy. Raises `UnsafeConfigurationError` when there is none or one cannot be read.
    """
    if folder.is_file():
        folder = Path(os.path.normpath(folder.absolute()))
        files = [*_with_includes(folder)]
    else:
        files = _policies(folder)
    if not files:
        raise UnsafeConfigurationError(
            f"there is no policy in `{folder}`", hint="put at least one `.yaml` file there"
        )
    return _texts(folder, files)


def _policies(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.rglob("*.yaml")) if not file.name.endswith(TESTS)]


def _with_includes(first: Path) -> Iterator[Path]:
    """Yield a file and all that it includes, whatever they include too.

    INVARIANT: nothing outside of the file's folder is read. What is wrong with an include is said
    where the policy is compiled, which knows the lines.
    """
    seen, waiting = set[Path](), [first]
    while waiting:
        file = waiting.pop()
        if file in seen or not file.is_file():
            continue
        seen.add(file)
        yield file
        for entry in _includes(_texts(first, [file]).popitem()[1]):
            named = Path(os.path.normpath(file.parent / entry))
            if named.is_relative_to(first.parent):
                waiting += _policies(named) if named.is_dir() else [named]


def _includes(text: str) -> list[str]:
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return []
    found = document.get("include") if isinstance(document, dict) else None
    return [entry for entry in found if isinstance(entry, str)] if isinstance(found, list) else []


def has_policy_tests(folder: Path) -> bool:
    """Tell whether there are tests beside a policy."""
    return any(folder.rglob(f"*{TESTS}"))


def read_policy_tests(folder: Path) -> dict[str, str]:
    """Give the tests of a policy, as `read_policy` does."""
    files = sorted(folder.rglob(f"*{TESTS}"))
    if not files:
        raise UnsafeConfigurationError(
            f"there are no tests in `{folder}`",
            hint=f"put at least one file there whose name ends in `{TESTS}`",
        )
    return _texts(folder, files)


def _texts(folder: Path, files: list[Path]) -> dict[str, str]:
    base = folder.parent if folder.is_file() else folder
    try:
        return {str(file.relative_to(base)): file.read_text(encoding="utf-8") for file in files}
    except (OSError, UnicodeDecodeError) as error:
        raise UnsafeConfigurationError(f"cannot read the policy in `{folder}`: {error}") from error
