from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from keystile.model.facts import Action
from keystile.model.masks import Mask
from keystile.policy.compile import compile_policy
from keystile.policy.conditions import WORDS
from keystile.policy.document import Section
from keystile.policy.parse import _values

DOCS = Path(__file__).parents[3] / "docs"
REFERENCE = (DOCS / "reference" / "policy.md").read_text(encoding="utf-8")


def _fields() -> Iterator[str]:
    for struct in (*Section.__subclasses__(), *Mask.__args__):
        yield from struct.__struct_encode_fields__


@pytest.mark.parametrize(
    "word",
    sorted({*_fields(), *_values(), *Action, *WORDS} - {"query", "request", "mask"}),
)
def test_every_word_is_in_the_reference(word: str) -> None:
    assert re.search(rf"[`.]{re.escape(word)}[`(:]", REFERENCE), word


@pytest.mark.parametrize("page", ["reference/policy.md", "how-to/write-a-policy.md"])
def test_the_examples_in_the_pages_compile(page: str) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    texts: dict[str, str] = {}
    for block in blocks:  # a block that begins indented goes on with the one before it
        if "\ntests:" in block:
            continue  # tests of a policy
        if block.startswith("include:"):
            continue  # names files that are not there
        if block.startswith(" "):
            texts[f"block {len(texts)}"] += block
        else:
            texts[f"block {len(texts) + 1}"] = block
    assert compile_policy(texts).digest
