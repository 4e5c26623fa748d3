"""`keystile person`: the people who approve."""

from __future__ import annotations

from typing import Annotated

import typer

from keystile.cli.common import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    reports_errors,
    run,
    settings,
)
from keystile.cli.store import database
from keystile.cli.terminal import moment, say, say_json, show, table
from keystile.config.settings import Settings
from keystile.identity.people import People, Person

app = typer.Typer(help="Make the people who approve.", no_args_is_help=True)


@app.command("create", epilog="Example: keystile person create operator --group data-stewards")
@reports_errors
def create(
    name: Annotated[str, typer.Argument(help="The person's name.")],
    group: Annotated[
        list[str] | None, typer.Option("--group", "-g", help="A group; repeatable.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Register a person."""
    run(_create(settings(config), name, group or []))
    say(f"person {name} is registered; next: keystile console link --as {name}")


@app.command("list", epilog="Example: keystile person list --json")
@reports_errors
def list_people(config: ConfigOption = DEFAULT_CONFIG, *, json: JsonOption = False) -> None:
    """List all people."""
    people = run(_list(settings(config)))
    if json:
        say_json(list(people))
        return
    if not people:
        say("no people yet; make one with keystile person create NAME --group GROUP")
        return
    rows = table("NAME", "GROUPS", "CREATED")
    for person in people:
        rows.add_row(person.name, ", ".join(person.groups) or "-", moment(person.created_at))
    show(rows)


async def _create(settings: Settings, name: str, groups: list[str]) -> None:
    async with database(settings) as store:
        await People(store).create(name, groups)


async def _list(settings: Settings) -> tuple[Person, ...]:
    async with database(settings) as store:
        return await People(store).list()
