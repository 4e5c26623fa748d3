"""Read the policy's documents from their folder."""

from __future__ import annotations

from pathlib import Path

from keystile.model.errors import UnsafeConfigurationError

TESTS = ".test.yaml"
"""How the names of files with tests of a policy end. They are no part of it, nor of its digest."""


def read_policy(folder: Path) -> dict[str, str]:
    """Give every `*.yaml` under `folder` by its name relative to it, or one file by its name.

    Tests are no policy. Raises `UnsafeConfigurationError` when there is none or one cannot be read.
    """
    found = [folder] if folder.is_file() else sorted(folder.rglob("*.yaml"))
    files = [file for file in found if not file.name.endswith(TESTS)]
    if not files:
        raise UnsafeConfigurationError(
            f"there is no policy in `{folder}`", hint="put at least one `.yaml` file there"
        )
    return _texts(folder, files)


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
