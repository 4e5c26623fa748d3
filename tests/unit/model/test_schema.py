from __future__ import annotations

from keystile.model.schema import TableId


def test_a_table_is_written_with_dots() -> None:
    assert str(TableId("acme-shop", "shop", "customers")) == "acme-shop.shop.customers"


def test_a_dataset_is_written_without_a_dot_at_its_end() -> None:
    assert str(TableId("acme-shop", "shop", "")) == "acme-shop.shop"
