"""What every section of the settings is made of."""

from __future__ import annotations

from typing import Annotated

import msgspec

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Positive = Annotated[int, msgspec.Meta(gt=0)]
Text = Annotated[str, msgspec.Meta(min_length=1)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every section: an unknown word in the file is an error, not a silent nothing."""


def exactly_one(section: Section, what: str, *words: str) -> None:
    """Raise `ValueError` unless just one of these words of a section is set."""
    if sum(bool(getattr(section, word)) for word in words) != 1:
        listed = ", ".join(f"`{word}`" for word in words)
        raise ValueError(f"{what} exactly one of {listed}")
