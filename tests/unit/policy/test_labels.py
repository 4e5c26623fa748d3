from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keystile.model.facts import Redefined
from keystile.model.schema import ColumnRef, Field, Table, TableId, TableKind
from keystile.policy.labels import Labeller, ancestors, covers


def labelled(shop: Any, *patterns: str) -> set[str]:
    labeller = Labeller()
    for pattern in patterns:
        labeller.add_columns("x", pattern)
    return {".".join(path) for path in labeller.labels(shop.customers)}


@pytest.mark.parametrize(
    ("pattern", "columns"),
    [
        ("ssn", {"SSN"}),
        ("customers.ssn", {"SSN"}),
        ("shop.customers.ssn", {"SSN"}),
        ("acme-shop.shop.customers.ssn", {"SSN"}),
        ("ACME-SHOP.Shop.CUSTOMERS.Ssn", {"SSN"}),
        ("*.*.*.ssn", {"SSN"}),
        ("acme-*.*.cust*.s*n", {"SSN"}),
        ("orders.ssn", set()),
        ("customers.*.ssn", set()),
        ("x.acme-shop.shop.customers.ssn", set()),
        ("customers.address", {"address.street", "address.zip"}),
        ("customers.address.zip", {"address.zip"}),
        ("address.zip", {"address.zip"}),
        ("zip", {"address.zip"}),
        ("contacts.value", {"contacts.value"}),
        ("customers", set()),
        (
            "customers.*",
            {"id", "name", "email", "SSN"}
            | {"address.street", "address.zip", "contacts.kind", "contacts.value"},
        ),
    ],
)
def test_patterns_are_matched_from_the_end(shop: Any, pattern: str, columns: set[str]) -> None:
    assert labelled(shop, pattern) == columns


def test_policy_tags_label_by_exact_segments(shop: Any) -> None:
    for pattern, found in [
        ("projects/acme/taxonomies/1/policyTags/*", True),
        ("projects/*/policyTags/*", False),
        ("projects/acme/taxonomies/1/policyTags/8", False),
    ]:
        labeller = Labeller()
        labeller.add_policy_tags("pii", pattern)
        assert labeller.labels(shop.customers) == (
            {("contacts", "value"): ("pii",)} if found else {}
        )


def test_a_tag_on_a_struct_covers_its_leaves(shop: Any) -> None:
    fields = tuple(
        msgspec.structs.replace(field, policy_tags=("t/1",)) for field in shop.customers.fields[4:5]
    )
    labeller = Labeller()
    labeller.add_policy_tags("pii", "t/1")
    table = msgspec.structs.replace(shop.customers, fields=fields)
    assert labeller.labels(table) == {("address", "street"): ("pii",), ("address", "zip"): ("pii",)}


def test_labels_of_struct_and_leaf_unite_sorted(shop: Any) -> None:
    labeller = Labeller()
    labeller.add_columns("z", "address")
    labeller.add_columns("a", "address.zip")
    assert labeller.labels(shop.customers)["address", "zip"] == ("a", "z")


def test_the_hierarchy_ends_at_dots() -> None:
    assert list(ancestors("pii.id.ssn")) == ["pii.id.ssn", "pii.id", "pii"]
    assert covers("pii", "pii.ssn")
    assert covers("pii", "pii")
    assert not covers("pii", "piii")
    assert not covers("pii.ssn", "pii")


def test_case_is_ignored_in_the_names_of_tables_too(shop: Any) -> None:
    upper = TableId("ACME-SHOP", "Shop", "CUSTOMERS")
    labeller = Labeller()
    labeller.add_columns("x", "acme-shop.shop.customers.ssn")
    table = msgspec.structs.replace(shop.customers, id=upper)
    assert labeller.labels(table) == {("SSN",): ("x",)}


def test_a_wildcard_has_the_labels_of_every_table_of_it() -> None:
    def day(name: str, *fields: Field) -> Table:
        return Table(TableId("p", "d", name), TableKind.TABLE, fields, "1")

    text = Field("SSN", "STRING")
    newest = day("e_3", Field("id", "INT64"), text, Field("a", "STRING"), _struct("b", "x", "y"))
    older = day("e_2", Field("ssn", "STRING"), _struct("A", "inner"), Field("B", "STRING"))
    oldest = day("e_1", Field("id", "INT64"), Field("gone", "STRING"))
    labeller = Labeller()
    for label, pattern in [
        ("pii", "e_2.ssn"),
        ("secret", "e_2.a.inner"),
        ("whole", "e_2.b"),
        ("key", "e_1.id"),
        ("own", "e_3.ssn"),
        ("gone", "e_1.gone"),
    ]:
        labeller.add_columns(label, pattern)
    wildcard = Table(
        TableId("p", "d", "e_*"),
        TableKind.WILDCARD,
        newest.fields,
        "1",
        members=(newest, older, oldest),
    )
    assert labeller.labels(wildcard) == {
        ("id",): ("key",),
        ("SSN",): ("own", "pii"),
        ("a",): ("secret",),
        ("b", "x"): ("whole",),
        ("b", "y"): ("whole",),
    }


def _struct(name: str, *inner: str) -> Field:
    return Field(name, "STRUCT", fields=tuple(Field(one, "STRING") for one in inner))


def described(description: str, *texts: str, **more: Any) -> dict[tuple[str, ...], Any]:
    labeller = Labeller()
    for text in texts:
        labeller.add_description("pii", text)
    field = Field("a", "STRING", description=description, **more)
    table = Table(TableId("p", "d", "t"), TableKind.TABLE, (field,), "1")
    return labeller.labels(table)


@pytest.mark.parametrize(
    ("description", "texts", "found"),
    [
        ("the number [PII] of a person", ("[pii]",), True),
        ("STRASSE", ("straße",), True),
        ("p.i.i. of a person", ("pii",), False),
        ("[p*i]", ("[*]",), False),
        ("", ("pii",), False),
        ("one", ("two", "ONE"), True),
    ],
)
def test_a_text_of_the_description_labels_a_column(
    description: str,
    texts: tuple[str, ...],
    found: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    assert bool(described(description, *texts)) is found


def test_the_description_of_a_struct_is_about_its_leaves() -> None:
    inner = Field("b", "STRING"), Field("c", "STRING")
    found = described("[pii]", "pii", fields=inner)
    assert found == {("a", "b"): ("pii",), ("a", "c"): ("pii",)}


TAGGED = Field("tagged", "STRING", policy_tags=("t/1",), description="[pii] and more")
SAID = Table(
    TableId("p", "d", "t"),
    TableKind.TABLE,
    (
        Field("plain", "STRING", description="nothing"),
        Field("said", "STRING", description="a [PII] column"),
        Field("of", "STRUCT", fields=(TAGGED,)),
    ),
    "1",
)


@pytest.mark.parametrize(
    ("path", "description", "lost"),
    [
        (("plain",), None, None),
        (("plain",), "", None),
        (("said",), None, ("said",)),
        (("SAID",), None, ("said",)),
        (("said",), "", ("said",)),
        (("said",), "still [pii]", None),
        (("said",), "no more", ("said",)),
        (("of",), None, ("of", "tagged")),
        (("of",), "other words", None),
        (("of", "tagged"), "other words", ("of", "tagged")),
        (("of", "tagged"), "[pii]", None),
        ((), None, ("said",)),
    ],
)
def test_what_takes_a_label_from_a_column_is_known(
    path: tuple[str, ...], description: str | None, lost: tuple[str, ...] | None
) -> None:
    labeller = Labeller()
    labeller.add_description("pii", "[pii]")
    found = labeller.lost(SAID, (Redefined(ColumnRef(SAID.id, path), description),))
    assert (found and found[0]) == lost


def test_a_tag_is_lost_whether_it_labels_or_not() -> None:
    found = Labeller().lost(SAID, (Redefined(ColumnRef(SAID.id, ())),))
    assert found == (("of", "tagged"), "has policy tags")
