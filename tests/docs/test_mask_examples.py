"""The examples of masks in the reference are what the masks do, by both renderings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from prove.evaluator import Given, World

from keystile.googlesql.engine import Engine
from keystile.masking import keyed
from keystile.masking.cell import masked_cell
from keystile.masking.sql import expression
from keystile.model.masks import Mask
from keystile.model.schema import SqlType
from keystile.sandbox.cells import cell

PAGE = (Path(__file__).parents[2] / "docs/reference/policy.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^\| `(\{kind: .*?\})` \| `(.*?)` \| `(.*?)` \|$", PAGE, re.MULTILINE)
LISTED = re.findall(r"^\| `(\w+)`(?:, `(\w+)`)?[^|]*\|[^|]*\|[^|]*\|[^|]*\|$", PAGE, re.MULTILINE)
KEY = b"0" * 64
ENGINE = World(Engine(), [])


@pytest.mark.parametrize(("mask", "value", "seen"), EXAMPLES)
def test_an_example_is_what_the_mask_does(mask: str, value: str, seen: str) -> None:
    given = msgspec.convert(yaml.safe_load(mask), Mask)
    names = keyed.parameters(given)
    pads: Any = keyed.pads(given, KEY) if names else ()
    hidden = [
        Given(*pair, pad)
        for pair, pad in zip(((n, SqlType("BYTES")) for n in names), pads, strict=True)
    ]
    type_ = ENGINE.run(f"SELECT {value}").columns[0][1]
    sql = f"SELECT v, {expression(given, type_, 'v')} AS m FROM (SELECT {value} AS v)"  # noqa: S608

    raw, masked = ENGINE.run(sql, hidden).rows[0].cell

    assert cell(masked, type_) == masked_cell(given, type_, cell(raw, type_), KEY) == seen


def test_there_are_examples_of_most() -> None:
    assert len(EXAMPLES) > 20


def test_every_mask_is_listed_in_the_order_of_what_it_shows() -> None:
    listed = [kind for pair in LISTED for kind in pair if kind]
    kinds = [str(mask.__struct_config__.tag) for mask in Mask.__args__]
    assert [kind for kind in listed if kind in kinds] == kinds
