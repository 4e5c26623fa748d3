"""`keystile policy shadow`: what rules in shadow would have done since they are there."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from keystile.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, reports_errors, run
from keystile.cli.common import settings as read
from keystile.cli.terminal import epoch, moment, say, say_json, show, table, visible
from keystile.recording.asked import AskedQueries, Wanted
from keystile.recording.shadows import ShadowCount, ShadowSummary

app = typer.Typer(add_completion=False)


@app.command("shadow", epilog="Example: keystile policy shadow --since 30d")
@reports_errors
def shadow_rules(
    config: ConfigOption = DEFAULT_CONFIG,
    *,
    since: Annotated[str, typer.Option(help="A UTC time or an age such as `24h`.")] = "30d",
    agent: Annotated[str, typer.Option("--agent", help="Only this agent's queries.")] = "",
    json: JsonOption = False,
) -> None:
    """Sum up what rules with `shadow: true` would have done with recorded queries."""
    now = time.time()
    wanted = Wanted(epoch(since, now), now, agent)
    folder = read(config)
    queries = AskedQueries(folder.path(folder.recording.folder))
    found = run(_summed_up(queries, wanted))
    if json:
        rules = [_plain(one) for one in found.rules]
        say_json({"since": moment(wanted.since), "queries": found.queries, "rules": rules})
        return
    if not found.rules:
        say(f"no rule in shadow would have done anything to {found.queries:,} queries")
        return
    rows = table("RULE", "WOULD", "FAILED", "FIRST", "LAST", "SESSION", "AGENTS")
    for one in found.rules:
        would = ", ".join(f"{word} {count:,}" for word, count in sorted((+one.would).items()))
        times = moment(one.first_at), moment(one.last_at)
        agents = ", ".join(sorted(one.agents))
        cells = (one.rule, would or "-", f"{one.failed:,}", *times, one.session, agents)
        rows.add_row(*map(visible, cells))
    show(rows)
    say(f"of {found.queries:,} recorded queries since {moment(wanted.since)}")


async def _summed_up(queries: AskedQueries, wanted: Wanted) -> ShadowSummary:
    found = ShadowSummary()
    async for batch in queries.batches(wanted):
        found.add(batch)
    return found


def _plain(one: ShadowCount) -> dict[str, Any]:
    return {
        "rule": one.rule,
        "would": dict(+one.would),
        "failed": one.failed,
        "first_at": moment(one.first_at),
        "last_at": moment(one.last_at),
        "session": one.session,
        "agents": sorted(one.agents),
    }
