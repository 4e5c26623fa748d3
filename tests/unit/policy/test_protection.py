from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keystile.model.masks import (
    DefaultMask,
    EmailMask,
    KeepLastMask,
    KeyedHashMask,
    Mask,
    NullMask,
    PatternMask,
)
from keystile.model.schema import Field
from keystile.policy.labels import Labeller
from keystile.policy.protection import Protection


def protection(labels: dict[str, str], **masks: list[Mask]) -> Protection:
    labeller = Labeller()
    for label, pattern in labels.items():
        labeller.add_columns(label, pattern)
    return Protection(labeller, {name.replace("_", "."): list_ for name, list_ in masks.items()})


@pytest.mark.parametrize(
    ("labels", "masks", "label", "mask"),
    [
        (["pii.ssn"], {}, "pii.ssn", DefaultMask()),
        (["pii.ssn"], {"pii": [NullMask()]}, "pii.ssn", NullMask()),
        (["pii.ssn"], {"pii": [NullMask()], "pii_ssn": [EmailMask()]}, "pii.ssn", EmailMask()),
        (["pii.ssn"], {"pii_ssn": [EmailMask(), KeyedHashMask()]}, "pii.ssn", KeyedHashMask()),
        (["pii", "pii.ssn"], {"pii_ssn": [EmailMask()]}, "pii.ssn", EmailMask()),
        (["pii.ssn", "secret"], {"pii_ssn": [EmailMask()]}, "secret", DefaultMask()),
        (
            ["pii.ssn", "secret"],
            {"pii": [PatternMask("X")], "secret": [KeepLastMask(1)]},
            "pii.ssn",
            PatternMask("X"),
        ),
    ],
)
def test_which_mask_holds(
    shop: Any, labels: list[str], masks: dict[str, list[Mask]], label: str, mask: Mask
) -> None:
    held = protection(dict.fromkeys(labels, "ssn"), **masks).masks(shop.customers, frozenset())
    assert [(found.label, found.mask, found.column.path) for found in held] == [
        (label, mask, ("SSN",))
    ]


@pytest.mark.parametrize(
    ("labels", "lifted", "left"),
    [
        (["pii.ssn"], {"pii"}, []),
        (["pii.ssn"], {"pii.ssn"}, []),
        (["pii.ssn"], {"pii.email"}, ["pii.ssn"]),
        (["pii"], {"pii.ssn"}, ["pii"]),
        (["pii", "pii.ssn"], {"pii.ssn"}, ["pii"]),
        (["pii.ssn", "secret"], {"pii"}, ["secret"]),
        (["pii.ssn", "secret"], {"pii", "secret"}, []),
    ],
)
def test_a_column_shows_only_where_every_label_is_lifted(
    shop: Any, labels: list[str], lifted: set[str], left: list[str]
) -> None:
    held = protection(dict.fromkeys(labels, "ssn")).masks(shop.customers, frozenset(lifted))
    assert [found.label for found in held] == left


def test_every_leaf_of_a_struct_is_masked(shop: Any) -> None:
    held = protection({"pii": "address"}).masks(shop.customers, frozenset())
    assert [found.column.path for found in held] == [("address", "street"), ("address", "zip")]


def test_a_struct_counts_as_touched_with_any_label_under_it(shop: Any) -> None:
    covered = protection({"pii.zip": "zip"}).of(shop.customers).covered
    assert covered["address",] == {"pii", "pii.zip"}
    assert covered["address", "street"] == frozenset()


def test_new_fields_under_an_old_etag_are_seen(shop: Any) -> None:
    guard = protection({"pii": "ssn"})
    slim = msgspec.structs.replace(shop.customers, fields=(Field("id", "INT64"),))
    assert guard.masks(slim, frozenset()) == ()
    assert len(guard.masks(shop.customers, frozenset())) == 1


def test_the_memory_of_tables_is_bounded(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keystile.policy.protection._CACHED_TABLES", 2)
    guard = protection({"pii": "ssn"})
    for table in (shop.customers, shop.orders, shop.events):
        guard.of(table)
    assert len(guard._seen) <= 2
