from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.detecting.rows import TextRows
from keystile.model.schema import Field, Mode

PERSON = Field(
    "person",
    "STRUCT",
    fields=(
        Field("name", "STRING"),
        Field("age", "INT64"),
        Field("mails", "STRING", Mode.REPEATED),
    ),
)
FIELDS = (
    Field("id", "INT64"),
    Field("body", "STRING"),
    PERSON,
    Field("people", "STRUCT", Mode.REPEATED, PERSON.fields),
    Field("document", "JSON"),
    Field("documents", "JSON", Mode.REPEATED),
    Field("blob", "BYTES"),
)
ALL = range(len(FIELDS))


def raw(*values: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode({"f": [{"v": value} for value in values]}))


def person(name: str | None, *mails: str) -> dict[str, Any]:
    return {"f": [{"v": name}, {"v": "7"}, {"v": [{"v": mail} for mail in mails]}]}


def row(**given: Any) -> msgspec.Raw:
    values = {"id": "1", "body": "b", "person": None, "people": [], "document": None}
    return raw(*(values | {"documents": [], "blob": "c2Vj"} | given).values())


def shouted(rows: tuple[msgspec.Raw, ...], columns: Any = ALL) -> list[Any]:
    opened = TextRows(FIELDS, columns).opened(rows)
    for place, text in enumerate(opened.texts):
        if text:
            opened.replace(place, text.upper())
    return [[cell["v"] for cell in msgspec.json.decode(one)["f"]] for one in opened.closed()]


def test_every_text_is_given_and_nothing_else() -> None:
    given_ = row(
        body="body",
        person=person("name", "m1", "m2"),
        people=[{"v": person("n2")}, {"v": person(None, "m3")}],
        document='{"key": ["in", {"deep": "x", "n": 1.50}], "z": null}',
        documents=[{"v": '"plain"'}, {"v": "{}"}],
    )
    (cells,) = shouted((given_,))
    assert json.loads(cells.pop(4)) == {"KEY": ["IN", {"DEEP": "X", "N": 1.5}], "Z": None}
    assert cells == [
        "1",
        "BODY",
        person("NAME", "M1", "M2"),
        [{"v": person("N2")}, {"v": person(None, "M3")}],
        [{"v": '"PLAIN"'}, {"v": "{}"}],
        "c2Vj",
    ]


def test_numbers_in_documents_keep_their_digits() -> None:
    text = '{"a":"x","b":1.50,"c":1e400,"d":12345678901234567890123}'
    assert shouted((row(document=text),))[0][4].upper() == (
        '{"A":"X","B":1.50,"C":1E400,"D":12345678901234567890123}'
    )


def test_columns_that_are_not_looked_at_are_left_alone() -> None:
    assert shouted((row(body="a", document='"d"'),), [4])[0][1] == "a"
    assert TextRows(FIELDS, [0, 6]).is_empty


def test_rows_without_a_change_are_the_same_bytes() -> None:
    rows = (row(body="a"), msgspec.Raw(b'{"f": [{"v":"1"}, {"v":null}]}'))
    opened = TextRows(FIELDS[:2], [1]).opened((raw("1", "x"), rows[1]))
    opened.replace(0, "y")
    assert opened.closed() == (raw("1", "y"), rows[1])
    assert TextRows(FIELDS, ALL).opened(rows[:1]).closed() is not None


def test_a_text_knows_its_column_and_field() -> None:
    opened = TextRows(FIELDS, ALL).opened((row(person=person("n", "m"), document='{"k":"v"}'),) * 2)
    places = [opened.column(place) for place in range(len(opened.texts))]
    assert places[:2] == [(1, "body")] * 2
    assert places[2:4] == [(2, "person.name"), (2, "person.mails")]
    assert places[-1] == (4, "document")


def test_two_names_that_become_one_stay_two() -> None:
    opened = TextRows(FIELDS, [4]).opened((row(document='{"a@b.de": 1, "c@d.de": 2}'),))
    for place, text in enumerate(opened.texts):
        if text:
            opened.replace(place, "[EMAIL]")
    (document,) = [msgspec.json.decode(one)["f"][4]["v"] for one in opened.closed()]
    assert json.loads(document) == {"[EMAIL]": 1, "[EMAIL] 2": 2}


def test_what_is_no_document_is_a_text() -> None:
    assert shouted((row(document="{broken"),))[0][4] == "{BROKEN"


@pytest.mark.parametrize("value", [7, {"f": []}, [{"v": "x"}]])
def test_what_is_no_cell_of_its_column_is_an_error(value: Any) -> None:
    for column, fields in ((1, FIELDS), (2, FIELDS)):
        if column == 2 and value == {"f": []}:
            continue
        cells = [None, "b", None, [], None, [], None]
        cells[column] = value
        with pytest.raises((TypeError, ValueError, KeyError)):
            TextRows(fields, ALL).opened((raw(*cells),))


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(TREES)
def test_documents_come_through_unchanged(tree: Any) -> None:
    text = json.dumps(tree)
    opened = TextRows(FIELDS, ALL).opened((row(document=text, body="x"),))
    opened.replace(0, "y")
    (cells,) = [msgspec.json.decode(one)["f"] for one in opened.closed()]
    assert (cells[1]["v"], cells[4]["v"]) == ("y", text)
