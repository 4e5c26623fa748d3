from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keystile.gate import transfers
from keystile.model.decision import ColumnMask, Decision, Effect, RowFilter
from keystile.model.errors import InvalidRequestError, NotFoundError, RefusedError
from keystile.model.facts import Action, QueryFacts
from keystile.model.masks import DefaultMask
from keystile.model.schema import ColumnRef, Field, Table, TableId, TableKind
from keystile.wire.requests import QueryRequest
from keystile.wire.transfers import Transfer, transfer_of


def named(table: str, dataset: str = "d") -> dict[str, object]:
    return {"projectId": "p", "datasetId": dataset, "tableId": table}


def table(name: str, kind: TableKind = TableKind.TABLE, *tags: str) -> Table:
    inner = (Field("zip", "STRING"), Field("street", "STRING"))
    fields = (Field("id", "INT64", policy_tags=tags), Field("address", "STRUCT", fields=inner))
    return Table(TableId("p", "d", name), kind, fields, "e1")


class Objects:
    """Knows some tables; any other is hidden or absent."""

    def __init__(self, *known: Table) -> None:
        self.known = {one.id: one for one in known}

    async def table(self, id: TableId) -> Table:  # noqa: A002 - the word of the port
        if id not in self.known:
            raise NotFoundError(f"Not found: Table {id}")
        return self.known[id]


KNOWN = Objects(
    table("here"),
    table("there"),
    table("tagged", TableKind.TABLE, "tag"),
    table("seen", TableKind.VIEW),
    table("then", TableKind.SNAPSHOT),
)


def copy(source: str = "here", target: str = "there", **more: object) -> Transfer:
    body = {"sourceTable": named(source), "destinationTable": named(target), **more}
    return transfer_of("p", "copy", body)


def load(target: str = "there", *, upload: bool = False, **more: object) -> Transfer:
    files = {} if upload else {"sourceUris": ["gs://b/x"]}
    body = {"destinationTable": named(target), **files, **more}
    return transfer_of("p", "load", body, upload=upload)


def extract(source: str = "here") -> Transfer:
    body = {"sourceTable": named(source), "destinationUri": "gs://b/x"}
    return transfer_of("p", "extract", body)


async def facts_of(transfer: Transfer) -> QueryFacts:
    objects: Any = KNOWN
    request = QueryRequest(transfer.text, "p", transfer=transfer)
    return (await transfers.analyse(transfer, request, objects)).facts


READ, WRITE, SCHEMA = Action.READ, Action.WRITE, Action.SCHEMA_CHANGE


@pytest.mark.parametrize(
    ("transfer", "actions"),
    [
        (copy(), {READ, WRITE}),
        (copy(target="new"), {READ, WRITE, SCHEMA}),
        (copy(target="new", createDisposition="CREATE_NEVER"), {READ, WRITE}),
        (copy(writeDisposition="WRITE_TRUNCATE"), {READ, WRITE, SCHEMA}),
        (copy(writeDisposition="WRITE_TRUNCATE_DATA"), {READ, WRITE}),
        (load(), {Action.EXTERNAL, WRITE}),
        (load(upload=True), {WRITE}),
        (load("new", upload=True), {WRITE, SCHEMA}),
        (load(schemaUpdateOptions=["ALLOW_FIELD_ADDITION"]), {Action.EXTERNAL, WRITE, SCHEMA}),
        (extract(), {READ, Action.EXPORT}),
    ],
)
async def test_what_a_transfer_does(transfer: Transfer, actions: set[Action]) -> None:
    facts = await facts_of(transfer)
    assert set(facts.actions) == actions
    assert facts.statement == transfer.kind.upper()
    assert not facts.opaque


async def test_every_leaf_of_what_is_read_is_used_and_every_file_told() -> None:
    facts = await facts_of(copy("then", "new"))
    assert [use.column.path for use in facts.columns] == [
        ("id",),
        ("address", "zip"),
        ("address", "street"),
    ]
    assert facts.reads == (TableId("p", "d", "then"),)
    assert facts.writes == facts.unseen == (TableId("p", "d", "new"),)
    assert (await facts_of(load())).uris == (await facts_of(extract())).uris == ("gs://b/x",)


@pytest.mark.parametrize(
    ("transfer", "error"),
    [
        (copy("hidden"), NotFoundError),
        (extract("hidden"), NotFoundError),
        (copy("seen"), InvalidRequestError),
        (extract("seen"), InvalidRequestError),
        (copy(target="seen"), InvalidRequestError),
        (copy(target="then"), InvalidRequestError),
        (msgspec.structs.replace(copy(), destination=TableId("p", "_d", "t")), NotFoundError),
    ],
)
async def test_what_is_no_table_to_read_or_write(transfer: Transfer, error: type[Any]) -> None:
    with pytest.raises(error):
        await facts_of(transfer)


async def test_policy_tags_stay_where_the_columns_do() -> None:
    for transfer in (load("tagged"), copy(target="tagged", writeDisposition="WRITE_TRUNCATE_DATA")):
        assert (await facts_of(transfer)).writes == (TableId("p", "d", "tagged"),)


def decision(*, mask: str = "", filter_: str = "") -> Decision:
    column = ColumnRef(TableId("p", "d", mask), ("id",))
    masks = (ColumnMask(column, "pii", DefaultMask()),) if mask else ()
    row_filter = RowFilter(TableId("p", "d", filter_), "own", "TRUE", ())
    return Decision(
        Effect.ALLOW, (), "p1", masks=masks, row_filters=(row_filter,) if filter_ else ()
    )


def test_nothing_hidden_is_moved() -> None:
    for transfer, instead in ((copy(), "CREATE TABLE AS SELECT"), (extract(), "EXPORT DATA")):
        for hidden in (decision(mask="here"), decision(filter_="here")):
            with pytest.raises(RefusedError, match=instead):
                transfers.refuse_hidden(transfer, hidden)


def test_hidden_rows_are_not_replaced_and_masks_of_a_target_do_not_matter() -> None:
    transfers.refuse_hidden(copy(), decision(mask="there", filter_="there"))
    for disposition in ("WRITE_TRUNCATE", "WRITE_TRUNCATE_DATA"):
        with pytest.raises(RefusedError, match="would replace them"):
            transfers.refuse_hidden(copy(writeDisposition=disposition), decision(filter_="there"))


def test_a_table_that_was_read_masked_was_replaced_by_what_an_agent_uploads() -> None:
    for disposition in ("WRITE_TRUNCATE", "WRITE_TRUNCATE_DATA"):
        uploaded = load(upload=True, writeDisposition=disposition)
        with pytest.raises(RefusedError, match="the upload would replace its values"):
            transfers.refuse_hidden(uploaded, decision(mask="there"))
        transfers.refuse_hidden(uploaded, decision(mask="elsewhere"))
        transfers.refuse_hidden(load(writeDisposition=disposition), decision(mask="there"))
    transfers.refuse_hidden(load(upload=True), decision(mask="there"))


async def test_a_table_is_made_only_where_policy_was_asked_about_it() -> None:
    for transfer, said in ((load(), "CREATE_NEVER"), (load("new"), None)):
        sent: Any = transfers.configuration(transfer, await facts_of(transfer))
        assert sent["load"].get("createDisposition") == said
        assert sent["load"]["sourceUris"] == ["gs://b/x"]
