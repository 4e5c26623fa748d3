from __future__ import annotations

import json
from pathlib import Path

import pytest

from keystile.model.schema import TableId, TableKind
from keystile.sandbox.data import read_folder
from keystile.sandbox.errors import BadDataError
from keystile.sandbox.sample import SAMPLE, write_sample
from keystile.sandbox.sample_data import files


def _table(folder: Path, schema: str, rows: str) -> None:
    dataset = folder / "p" / "d"
    dataset.mkdir(parents=True)
    (dataset / "t.schema.json").write_text(schema)
    (dataset / "t.ndjson").write_text(rows)


_SCHEMA = json.dumps([{"name": "a", "type": "INTEGER", "mode": "REQUIRED"}])


def test_tables_views_and_empty_datasets_are_found(tmp_path: Path) -> None:
    _table(tmp_path, _SCHEMA, '{"a": 1}\n\n{"a": 2}\n')
    (tmp_path / "p" / "d" / "v.view.sql").write_text("SELECT 1 AS x")
    (tmp_path / "p" / "empty").mkdir()
    found = read_folder(tmp_path)
    assert found.datasets == (("p", "d"), ("p", "empty"))
    table, view = found.tables[TableId("p", "d", "t")], found.tables[TableId("p", "d", "v")]
    assert (table.row_count, table.sizes, table.kind) == (2, {"a": 16}, TableKind.TABLE)
    assert (view.view_query, view.kind) == ("SELECT 1 AS x", TableKind.VIEW)


@pytest.mark.parametrize(
    ("schema", "rows", "text"),
    [
        ("{", "", "t.schema.json` is not a schema"),
        ('[{"name": "a", "type": "MADE_UP"}]', "", "not understood: `MADE_UP`"),
        ('[{"name": "a", "type": "GEOGRAPHY"}]', '{"a": "LINESTRING(1 1, 2 2)"}', "only points"),
        (_SCHEMA, '{"a": 1}\n{', "line 2 is not JSON"),
        (_SCHEMA, '{"b": 1}', "line 1: `b` is not in the schema"),
        (_SCHEMA, "5", "line 1: no row"),
        (_SCHEMA, "{}", "line 1 lacks `a`"),
        (_SCHEMA, '{"a": []}', "row 1: `a` is not a INT64"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, schema: str, rows: str, text: str) -> None:
    _table(tmp_path, schema, rows)
    with pytest.raises(BadDataError, match=text):
        read_folder(tmp_path)


def test_a_table_and_a_view_of_one_name_are_refused(tmp_path: Path) -> None:
    _table(tmp_path, _SCHEMA, "")
    (tmp_path / "p" / "d" / "t.view.sql").write_text("SELECT 1 AS x")
    with pytest.raises(BadDataError, match="of one name"):
        read_folder(tmp_path)


def test_the_sample_is_written_only_where_nothing_is(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    assert write_sample(folder)
    assert len(read_folder(folder).tables) == 5
    (folder / "mine").mkdir()
    assert not write_sample(folder)


def test_the_shipped_sample_is_what_the_generator_makes() -> None:
    made = dict(files())
    shipped = {
        str(file.relative_to(SAMPLE)): file.read_text(encoding="utf-8")
        for file in SAMPLE.rglob("*")
        if file.is_file()
    }
    assert shipped == made


def test_nobody_in_the_sample_is_real() -> None:
    file = SAMPLE / "acme-shop" / "shop" / "customers.ndjson"
    for line in file.read_text(encoding="utf-8").splitlines():
        customer = json.loads(line)
        assert customer["email"].endswith("@example.com")
        assert customer["ssn"].startswith("9")
        assert " 555-01" in customer["phone"]
