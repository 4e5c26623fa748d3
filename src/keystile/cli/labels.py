"""`keystile labels`: which columns have which labels and why, and which may need one."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from keystile.cli.common import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    reports_errors,
    run,
    settings,
)
from keystile.cli.label_scan import app as scanning
from keystile.cli.label_tables import (
    ConnectionOption,
    DatasetOption,
    TableOption,
    looking,
    tables_named,
)
from keystile.cli.store import database
from keystile.cli.terminal import moment, say, say_json, show, visible
from keystile.cli.terminal import table as grid
from keystile.config.settings import Settings
from keystile.gate.inherited_labels import InheritedLabels, Noted
from keystile.gate.table_names import tables_of
from keystile.model.schema import TableId

app = typer.Typer(help="See what is labelled, and find what should be.", no_args_is_help=True)
app.add_typer(scanning)


@app.command("list", epilog="Example: keystile labels list --dataset acme-shop.shop")
@reports_errors
def list_labels(
    dataset: DatasetOption = None,
    table: TableOption = None,
    connection: ConnectionOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    *,
    json: JsonOption = False,
) -> None:
    """List the labels of columns, and where each comes from.

    Without a dataset or table, those that columns have for what was written there.
    """
    rows = run(_list(settings(config), dataset or [], tables_named(table or []), connection))
    if json:
        say_json(rows)
        return
    if not rows:
        say("no column has a label here")
        return
    shown = grid("COLUMN", "LABEL", "FROM")
    for one in rows:
        shown.add_row(visible(one["column"]), one["label"], visible(_from(one)))
    show(shown)


@app.command("forget", epilog="Example: keystile labels forget acme-shop.lab.copy")
@reports_errors
def forget(
    name: Annotated[str, typer.Argument(help="The table, `project.dataset.table`.")],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Take from a table the labels that its columns have for what was written there.

    For a table that holds nothing protected any more, which the gateway cannot know.
    """
    (id_,) = tables_named([name])
    for label in run(_forget(settings(config), id_)):
        say(f"{visible(str(id_))} has no longer {visible(label)}")


async def _list(
    found: Settings, datasets: Sequence[str], tables: Sequence[TableId], connection: str
) -> list[dict[str, Any]]:
    if not datasets and not tables:
        async with database(found) as store:
            noted = await InheritedLabels(store).every()
            return [_inherited(one) for one in noted]
    async with looking(found, connection) as known:
        by_table: dict[TableId, list[Noted]] = {}
        for one in await known.inherited.every():
            by_table.setdefault(one.table, []).append(one)
        listed = []
        for id_ in await tables_of(known.bigquery, datasets, tables):
            marks = known.policy.marks(await known.bigquery.table(id_))
            for path, several in marks.items():
                for mark in sorted(several):
                    if mark.why != "inherited":
                        column = f"{id_}.{'.'.join(path)}"
                        given = {"column": column, "label": mark.label}
                        listed.append(given | {"from": mark.why, "fits": mark.what})
            listed += [_inherited(one) for one in by_table.get(id_, ())]
        return sorted(listed, key=lambda one: (one["column"].lower(), one["label"]))


async def _forget(found: Settings, id_: TableId) -> tuple[str, ...]:
    async with database(found) as store:
        return await InheritedLabels(store).forget(id_, getpass.getuser(), "cli")


def _inherited(one: Noted) -> dict[str, Any]:
    return {
        "column": f"{one.table}.{'.'.join(one.path)}",
        "label": one.label,
        "from": "inherited",
        "source": one.source,
        "derived": one.derived,
        "job": one.job,
        "agent": one.agent,
        "at": moment(one.noted_at),
    }


def _from(one: dict[str, Any]) -> str:
    if one["from"] != "inherited":
        return f"{one['from']}: {one['fits']}"
    how = "made of" if one["derived"] else "copied from"
    return f"{how} {one['source']} by {one['agent']}, job {one['job']}, {one['at']}"
