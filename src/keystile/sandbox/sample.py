"""The sample set: made by `sample_data`, shipped as files, copied into an empty data folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from keystile.sandbox.errors import BadDataError

SAMPLE = Path(__file__).with_name("sample")
"""The shipped files: `<project>/<dataset>/…`."""


def write_sample(folder: Path) -> bool:
    """Fill `folder` where it is empty or missing; tell whether it was.

    Raises `BadDataError` where it cannot be written.
    """
    try:
        if folder.is_dir() and any(folder.iterdir()):
            return False
        shutil.copytree(SAMPLE, folder, dirs_exist_ok=True)
    except OSError as error:
        raise BadDataError(f"cannot write to `{folder}`: {error.strerror}") from error
    return True
