from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keystile.model.decision import ColumnMask
from keystile.model.masks import (
    DefaultMask,
    EmailMask,
    KeepLastMask,
    KeyedHashMask,
    Mask,
    NullMask,
    PatternMask,
)
from keystile.model.schema import Field, Inherited, Table
from keystile.policy.labels import Labeller
from keystile.policy.protection import Protection


def protection(labels: dict[str, str], **masks: list[Mask]) -> Protection:
    labeller = Labeller()
    for label, pattern in labels.items():
        labeller.add_columns(label, pattern)
    return Protection(labeller, {name.replace("_", "."): list_ for name, list_ in masks.items()})


def masks_on(table: Table, guard: Protection, *lifted: str) -> tuple[ColumnMask, ...]:
    return guard.masks((table,), {table.id: frozenset(lifted)})


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
    held = masks_on(shop.customers, protection(dict.fromkeys(labels, "ssn"), **masks))
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
    held = masks_on(shop.customers, protection(dict.fromkeys(labels, "ssn")), *lifted)
    assert [found.label for found in held] == left


def test_every_leaf_of_a_struct_is_masked(shop: Any) -> None:
    held = masks_on(shop.customers, protection({"pii": "address"}))
    assert [found.column.path for found in held] == [("address", "street"), ("address", "zip")]


def test_a_struct_counts_as_touched_with_any_label_under_it(shop: Any) -> None:
    covered = protection({"pii.zip": "zip"}).of(shop.customers).covered
    assert covered["address",] == {"pii", "pii.zip"}
    assert covered["address", "street"] == frozenset()


def test_new_fields_under_an_old_etag_are_seen(shop: Any) -> None:
    guard = protection({"pii": "ssn"})
    slim = msgspec.structs.replace(shop.customers, fields=(Field("id", "INT64"),))
    assert masks_on(slim, guard) == ()
    assert len(masks_on(shop.customers, guard)) == 1


def test_the_memory_of_tables_is_bounded(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keystile.policy.protection._CACHED_TABLES", 2)
    guard = protection({"pii": "ssn"})
    for table in (shop.customers, shop.orders, shop.events):
        guard.of(table)
    assert len(guard._seen) <= 2


def test_a_mask_made_for_a_value_hid_nothing_of_what_was_made_of_it(shop: Any) -> None:
    """The last characters of what was reversed are the first."""
    labeller = Labeller()
    labeller.add_columns("pii", "nowhere")
    protection = Protection(labeller, {"pii": [KeepLastMask(4)]})
    copied, made = Inherited(("ssn",), "pii"), Inherited(("name",), "pii", derived=True)
    table = msgspec.structs.replace(shop.customers, inherited=(copied, made))
    masks = {mask.column.path: mask.mask for mask in masks_on(table, protection)}
    assert masks == {("SSN",): KeepLastMask(4), ("name",): NullMask()}
    assert masks_on(table, protection, "pii") == ()
    assert masks_on(shop.customers, protection) == ()


def test_labels_of_what_a_struct_holds_are_on_its_leaves(shop: Any) -> None:
    table = msgspec.structs.replace(
        shop.customers,
        inherited=(
            Inherited(("address",), "a", derived=True),
            Inherited(("contacts", "value"), "c"),
        ),
    )
    protected = Protection(Labeller(), {}).of(table)
    assert protected.labels == {
        ("address", "street"): ("a",),
        ("address", "zip"): ("a",),
        ("contacts", "value"): ("c",),
    }
    assert set(protected.derived) == {("address", "street"), ("address", "zip")}
