"""Read the policy's documents from their folder."""

from __future__ import annotations

from pathlib import Path

from keystile.model.errors import UnsafeConfigurationError


def read_policy(folder: Path) -> dict[str, str]:
    """Give every `*.yaml` under `folder` by its name relative to it, or one file by its name.

    Raises `UnsafeConfigurationError` when there is none or one cannot be read.
    """
    files = [folder] if folder.is_file() else sorted(folder.rglob("*.yaml"))
    if not files:
        raise UnsafeConfigurationError(
            f"there is no policy in `{folder}`", hint="put at least one `.yaml` file there"
        )
    base = folder.parent if folder.is_file() else folder
    try:
        return {str(file.relative_to(base)): file.read_text(encoding="utf-8") for file in files}
    except (OSError, UnicodeDecodeError) as error:
        raise UnsafeConfigurationError(f"cannot read the policy in `{folder}`: {error}") from error
