from typing import Any

import pytest

from keystile.console.grid import grid

SCHEMA = [
    {"name": "id", "type": "INTEGER", "mode": "REQUIRED"},
    {"name": "ssn", "type": "STRING"},
    {"name": "at", "type": "TIMESTAMP"},
    {"name": "address", "type": "RECORD", "fields": [{"name": "city", "type": "STRING"}]},
    {
        "name": "contacts",
        "type": "RECORD",
        "mode": "REPEATED",
        "fields": [{"name": "kind", "type": "STRING"}, {"name": "value", "type": "STRING"}],
    },
]


def cells(*values: Any) -> dict[str, Any]:
    return {"f": [{"v": value} for value in values]}


def test_columns_say_type_and_what_is_masked() -> None:
    masked = {"name": "ssn", "type": "STRING", "masked": ["acme.shop.customers.ssn"]}
    columns = grid([SCHEMA[0], masked, *SCHEMA[2:]], []).columns
    assert [(one.name, one.type) for one in columns] == [
        ("id", "INT64"),
        ("ssn", "STRING"),
        ("at", "TIMESTAMP"),
        ("address", "STRUCT"),
        ("contacts", "ARRAY<STRUCT>"),
    ]
    assert columns[0].css == "number"
    assert columns[1].css == "masked"
    assert columns[1].masked == ("acme.shop.customers.ssn",)


def test_values_nested_and_repeated() -> None:
    contacts = [{"v": cells("email", "<b>")}, {"v": cells("phone", None)}]
    row = cells("7", None, "1700000000000000", cells("Bern"), contacts)
    shown = grid(SCHEMA, [(40, row)]).rows[0][1]
    assert shown == (
        "7",
        '<span class="null">NULL</span>',
        "2023-11-14 22:13:20 UTC",
        "<dl><dt>city</dt><dd>Bern</dd></dl>",
        (
            "<ol><li><dl><dt>kind</dt><dd>email</dd><dt>value</dt><dd>&lt;b&gt;</dd></dl></li>"
            "<li><dl><dt>kind</dt><dd>phone</dd><dt>value</dt>"
            '<dd><span class="null">NULL</span></dd></dl></li></ol>'
        ),
    )


@pytest.mark.parametrize(
    ("wire", "text"),
    [
        ("1.5E9", "2017-07-14 02:40:00 UTC"),
        ("1500000000.25", "2017-07-14 02:40:00.25 UTC"),
        ("-1", "1969-12-31 23:59:59.999999 UTC"),
        ("soon", "soon"),
        ("9" * 30, "9" * 30),
    ],
)
def test_both_wire_forms_of_a_timestamp(wire: str, text: str) -> None:
    schema = [{"name": "at", "type": "TIMESTAMP"}]
    assert grid(schema, [(3, cells(wire))]).rows == ((3, (text,)),)


@pytest.mark.parametrize("row", [{}, None, {"f": 3}, {"f": [{}]}, cells("1"), cells(*"123456")])
def test_a_row_that_does_not_fit_is_shown_as_it_stands(row: Any) -> None:
    shown = grid(SCHEMA, [(0, row)]).rows[0][1]
    assert len(shown) == 1
