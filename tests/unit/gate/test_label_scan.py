"""A scan of tables that a test has, and the policy file that comes of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from tests.support.accounts import OneAccount

from keystile.gate.label_proposals import policy_file
from keystile.gate.label_scan import Scanned, scan
from keystile.gate.table_names import tables_of
from keystile.model.errors import InvalidRequestError, NotFoundError
from keystile.model.schema import Field, Mode, Table, TableId, TableKind
from keystile.policy.compile import compile_policy
from keystile.upstream.values import ListedTable, Page

POLICY = compile_policy(
    {"p.yaml": "labels: [{label: pii.known, columns: [known]}]\nrules: [{name: r, allow: [read]}]"}
)
PLANTED = "planted.person@secret.example.com"


def table(name: str, *fields: Field, kind: TableKind = TableKind.TABLE) -> Table:
    return Table(TableId("p", "d", name), kind, fields, "1")


DEEP = Field("deep", "STRUCT", Mode.REPEATED, (Field("Mail", "STRING"), Field("n", "INT64")))
MAIN = table(
    "main",
    Field("id", "INT64"),
    Field("who", "STRING"),
    Field("known", "STRING"),
    DEEP,
    Field("tags", "STRING", Mode.REPEATED),
    Field("born", "DATE"),
    Field("amount", "NUMERIC"),
)
TABLES = (MAIN, table("empty", Field("phone", "STRING")), table("v", kind=TableKind.VIEW))


class FakeBigQuery(OneAccount):
    """Has 1000 rows in `main`; `asked` are the columns and places that were read."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, tuple[str, ...], int, int]] = []

    async def table(self, id: TableId) -> Table:  # noqa: A002 - the word of the port
        for one in TABLES:
            if one.id == id:
                return one
        raise NotFoundError(f"Not found: Table {id}")

    async def every_table(self, project: str, dataset: str) -> tuple[ListedTable, ...]:
        assert project == "p"
        if dataset != "d":
            raise NotFoundError("Not found: Dataset")
        return tuple(ListedTable(one.id, one.kind, 0) for one in TABLES)

    async def table_rows(
        self, table: Table, columns: Sequence[str], *, start: int, count: int
    ) -> Page:
        self.asked.append((table.id.table, tuple(columns), start, count))
        fields = tuple(field for field in table.fields if field.name in columns)
        total = 1000 if table is MAIN else 0
        rows = [_row(number, fields) for number in range(start, min(start + count, total))]
        return Page(tuple(msgspec.Raw(json.dumps(row).encode()) for row in rows), "", total, fields)


def _row(number: int, fields: Sequence[Field]) -> dict[str, Any]:
    deep = [{"v": {"f": [{"v": PLANTED}, {"v": str(number)}]}}] * (number % 3)
    cells = {
        "id": str(number),
        "who": PLANTED if number % 10 else None,
        "known": PLANTED,
        "deep": deep,
        "tags": [{"v": "open"}, {"v": "new"}],
        "born": "1990-01-01",
        "amount": "1.5",
    }
    return {"f": [{"v": cells[field.name]} for field in fields]}


async def scanned(rows: int, *names: str) -> tuple[list[Scanned], FakeBigQuery]:
    fake = FakeBigQuery()
    bigquery: Any = fake
    ids = [TableId("p", "d", name) for name in names]
    return [one async for one in scan(bigquery, POLICY, ids, rows)], fake


async def test_columns_are_found_at_any_depth_and_labelled_ones_are_not_read() -> None:
    (one,), fake = await scanned(100, "main")
    found = {".".join(each.path): each.guess.label for each in one.proposals}
    assert found == {"who": "pii.email", "deep.Mail": "pii.email"}
    assert one.labelled == ((("known",), ("pii.known",)),)
    assert one.rows == 100
    assert all("known" not in columns for _, columns, *_ in fake.asked)
    # From several places, the same each time.
    assert [(start, count) for *_, start, count in fake.asked] == [
        (0, 25),
        (250, 25),
        (500, 25),
        (750, 25),
    ]
    assert (await scanned(100, "main"))[0] == [one]


async def test_no_more_rows_are_read_than_there_are() -> None:
    (one,), fake = await scanned(5000, "main")
    assert one.rows == 1000
    assert sum(min(count, 1000 - start) for *_, start, count in fake.asked) == 1000


async def test_what_cannot_be_read_is_said() -> None:
    done, fake = await scanned(10, "empty", "v", "absent")
    assert [(one.table.table, one.rows, one.skipped) for one in done] == [
        ("empty", 0, ""),
        ("v", 0, "is a VIEW"),
        ("absent", 0, "is not there"),
    ]
    assert [each.guess.label for each in done[0].proposals] == ["pii.phone"]
    assert {name for name, *_ in fake.asked} == {"empty"}


async def test_tables_are_named_by_themselves_or_by_their_dataset() -> None:
    bigquery: Any = FakeBigQuery()
    other = TableId("p", "x", "y")
    found = await tables_of(bigquery, ["p.d"], [other, MAIN.id])
    assert [str(one) for one in found] == ["p.d.empty", "p.d.main", "p.d.v", "p.x.y"]
    with pytest.raises(InvalidRequestError, match="no dataset's name"):
        await tables_of(bigquery, ["d"], [])
    with pytest.raises(NotFoundError):
        await tables_of(bigquery, ["p.absent"], [])


async def test_what_is_written_is_a_policy_and_holds_no_value() -> None:
    done, _ = await scanned(100, "main", "empty")
    text = policy_file(done)
    assert PLANTED not in text
    assert "secret.example.com" not in text
    rules = "rules: [{name: r, allow: [read]}]"
    policy = compile_policy({"labels.yaml": text, "rules.yaml": rules})
    assert policy.labels(MAIN) == {("who",): ("pii.email",), ("deep", "Mail"): ("pii.email",)}
    assert '"p.d.main.who" # high: 88 of 88 values look like email' in text
    assert compile_policy({"labels.yaml": policy_file([]), "rules.yaml": rules}).labels(MAIN) == {}
    assert not any(PLANTED in repr(one) for one in done)
