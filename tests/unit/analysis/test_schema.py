from __future__ import annotations

from keystile.analysis.schema import result_schema
from keystile.model.facts import OutputColumn
from keystile.model.schema import Mode, SqlType


def named(*names: str) -> list[str]:
    columns = tuple(OutputColumn(name, SqlType("INT64"), ()) for name in names)
    return [field.name for field in result_schema(columns)]


def test_a_repeated_column_gets_a_number_as_bigquery_gives_it() -> None:
    """Else every `SELECT *` over a join would differ from the dry run and be refused."""
    assert named("id", "name", "id", "ID") == ["id", "name", "id_1", "ID_2"]


def test_nested_and_repeated_types_keep_their_shape() -> None:
    contact = SqlType("STRUCT", fields=(("kind", SqlType("STRING")), ("", SqlType("INT64"))))
    [field] = result_schema((OutputColumn("c", SqlType("ARRAY", element=contact), ()),))
    assert (field.type, field.mode) == ("STRUCT", Mode.REPEATED)
    assert [inner.name for inner in field.fields] == ["kind", "_field_2"]
