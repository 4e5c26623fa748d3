"""`keystile limits`: what is used and left of every budget."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
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
from keystile.cli.terminal import moment, say, say_json, show, table, visible
from keystile.config.settings import Settings
from keystile.gate.ledger import Budget, Ledger, holders_of
from keystile.identity.agents import Agents
from keystile.identity.builtin import issuer_url
from keystile.model.errors import NotFoundError
from keystile.policy.budget import Standing, size, standings

app = typer.Typer(add_completion=False)


@app.command("limits", epilog="Example: keystile limits --agent demo-agent")
@reports_errors
def limits(
    agent: Annotated[
        str, typer.Option("--agent", help="Only budgets of agents of this name, and their groups.")
    ] = "",
    config: ConfigOption = DEFAULT_CONFIG,
    *,
    json: JsonOption = False,
) -> None:
    """Show what agents, people and groups have used of their limits.

    Limits are listed once a query was let in under them, as they were for the last one.
    """
    found = run(_budgets(settings(config), agent))
    if json:
        say_json([_plain(budget) for budget in found])
        return
    if not found:
        say("no query was let in under a limit yet")
        return
    rows = table("RULE", "FOR", "LIMIT", "AMOUNT", "USED", "LEFT", "RESETS")
    for budget in found:
        for word, standing in standings(*budget).items():
            rows.add_row(
                budget.limits.rule,
                visible(f"{budget.limits.whose} {budget.limits.holder}"),
                word,
                *_amounts(word, standing),
                moment(standing.resets_at),
            )
    show(rows)


async def _budgets(settings: Settings, name: str) -> list[Budget]:
    async with database(settings) as store:
        if not name:
            return await Ledger(store).budgets()
        agents = await Agents(store).named(name)
        if not agents:
            raise NotFoundError(
                f"there is no agent `{visible(name)}`", hint="see all with `keystile agent list`"
            )
        own = issuer_url(settings)
        theirs = {one for each in agents for one in holders_of(each.key(own), each.groups)}
        return await Ledger(store).budgets(theirs)


def _plain(budget: Budget) -> dict[str, Any]:
    limits = budget.limits
    about = {"rule": limits.rule, "whose": limits.whose, "holder": limits.holder}
    return {
        **about,
        "time_zone": limits.time_zone,
        **msgspec.to_builtins(standings(*budget)),
    }


def _amounts(word: str, standing: Standing) -> tuple[str, ...]:
    amounts = (standing.limit, standing.used, standing.left)
    write = size if word.startswith("bytes") else str
    return tuple("-" if amount is None else write(amount) for amount in amounts)
