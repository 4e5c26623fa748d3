"""The pages on issuers say what the presets do, and every file on them is one that starts."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
import yaml

from keystile.config.settings import Settings
from keystile.identity.issuers import source
from keystile.identity.keys import Documents
from keystile.identity.presets import PRESETS

DOCS = Path(__file__).parents[2] / "docs"
REFERENCE = (DOCS / "reference" / "issuers.md").read_text(encoding="utf-8")
HOW_TO = (DOCS / "how-to" / "trust-your-issuer.md").read_text(encoding="utf-8")
FILES = re.findall(r"```yaml\n(# keystile\.yaml\n.*?)```", HOW_TO + REFERENCE, re.DOTALL)


def _rows(columns: int) -> list[list[str]]:
    lines = [line.strip("|").split(" | ") for line in REFERENCE.splitlines() if line[:1] == "|"]
    return [[cell.strip() for cell in line] for line in lines if len(line) == columns][1:]


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"


def test_every_preset_is_in_the_table() -> None:
    assert _rows(5) == [
        [
            f"`{name}`" if name else "none",
            f"`{preset.issuer or preset.example}`",
            _listed(preset.required),
            _listed(preset.optional),
            _listed(preset.tenants),
        ]
        for name, preset in PRESETS.items()
    ]


def test_what_each_presets_words_are_made_of_is_in_the_table() -> None:
    assert _rows(3) == [
        [f"`{name}`" if name else "none", f"`{word}`", f"`{text}`"]
        for name, preset in PRESETS.items()
        for word, text in preset.mapping.items()
    ]


@pytest.mark.parametrize("text", FILES)
def test_every_file_on_the_pages_is_one_that_starts(text: str) -> None:
    settings = msgspec.convert(yaml.safe_load(text), Settings)
    for number, issuer in enumerate(settings.identity.issuers):
        assert source(number, issuer, Documents()).mapping


def test_there_is_a_file_for_every_preset() -> None:
    named = {
        issuer.preset
        for text in FILES
        for issuer in msgspec.convert(yaml.safe_load(text), Settings).identity.issuers
    }
    assert named == set(PRESETS)
