"""`keystile policy explain`: what a policy says of a query, and why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table as Grid

from keystile.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, out, reports_errors, run
from keystile.cli.common import settings as read
from keystile.cli.store import database
from keystile.config.settings import Settings
from keystile.deciding import TASKS, planning
from keystile.gate.planning import Planner
from keystile.googlesql.pool import EnginePool
from keystile.identity.agents import Agent, Agents
from keystile.identity.builtin import issuer_url
from keystile.model.decision import LIMIT_WORDS, Effect
from keystile.model.errors import KeystileError, RefusedError, UnmaskableError, because
from keystile.model.principal import Principal
from keystile.policy.explain import explanation, unseen_explanation
from keystile.recording.decided import ShadowBody
from keystile.telemetry.metrics import Metrics
from keystile.wire.requests import QueryRequest

app = typer.Typer(add_completion=False)


@app.command()
@reports_errors
def explain(  # noqa: PLR0913 - one for each option
    *,
    agent: Annotated[str, typer.Option("--agent", help="The agent that would ask.")],
    sql: Annotated[str, typer.Option("--sql", help="The query, or `-` to read it from stdin.")],
    project: Annotated[
        str, typer.Option("--project", envvar="GOOGLE_CLOUD_PROJECT", help="The query's project.")
    ],
    dataset: Annotated[str, typer.Option("--dataset", help="The default dataset.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Show what a query does, what policy decides, and the text that BigQuery would get.

    Nothing runs. Example: keystile policy explain --agent bot --project acme --sql 'SELECT 1'
    """
    text = typer.get_text_stream("stdin").read() if sql == "-" else sql
    request = QueryRequest(
        sql=text,
        project=project,
        default_project=project if dataset else "",
        default_dataset=dataset,
    )
    found = run(_explain(read(config), agent, request))
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        _show(found)


async def _explain(settings: Settings, agent: str, request: QueryRequest) -> dict[str, Any]:
    async with database(settings) as store:
        principal = _principal(settings, await Agents(store).get(agent))
        pool = EnginePool(msgspec.structs.replace(settings.engine, workers=1), TASKS)
        await pool.start()
        try:
            async with planning(settings, pool, Metrics(), store) as plans:
                plans.policy.check()
                return await _explained(plans.planner, principal, request)
        finally:
            await pool.close()


def _principal(settings: Settings, known: Agent) -> Principal:
    return Principal(
        issuer=issuer_url(settings),
        subject=known.name,
        agent=known.name,
        session="explain",
        service_account=known.name,
        groups=known.groups,
        attributes=known.attributes,
    )


async def _explained(
    planner: Planner, principal: Principal, request: QueryRequest
) -> dict[str, Any]:
    try:
        decided = await planner.decide(principal, request, unmeasured=True)
    except KeystileError as error:
        if (hides := because(error)) is None:
            raise
        return unseen_explanation(hides, str(error))
    if decided.once_measured:
        with suppress(UnmaskableError):  # of which more is said below
            decided = await planner.measured(request, decided)
    found = explanation(decided.facts, decided.decision)
    found["instead"] = decided.instead or None
    found["rewritten_sql"] = None
    if decided.decision.effect is not Effect.DENY:
        try:
            found["rewritten_sql"] = (await planner.rewrite(decided)).sql
        except RefusedError as refusal:
            found["effect"] = str(Effect.DENY)
            found["reasons"].append(
                {"rule": "mask-at-read", "effect": "deny", "message": str(refusal)}
            )
    return found


def _show(found: dict[str, Any]) -> None:
    colour = {"allow": "green", "deny": "red"}.get(found["effect"], "yellow")
    out.print(f"[bold {colour}]{found['effect']}[/]  {found['statement']}")
    for reason in found["reasons"]:
        out.print(f"  {reason['rule']}: {reason['message']}", markup=False)
    for shadow in found["shadows"]:
        words = msgspec.convert(shadow, ShadowBody).words
        out.print(f"  in shadow: {shadow['rule']} {words}", markup=False)
    for title, names in (("reads", found["reads"]), ("writes", found["writes"])):
        if names:
            out.print(f"{title}: {', '.join(names)}", markup=False)
    if found["columns"]:
        grid = Grid("column", "used in", "label", "mask", box=None, pad_edge=False)
        for column in found["columns"]:
            mask = column["mask"]["kind"] if column["mask"] else ""
            grid.add_row(column["column"], ", ".join(column["uses"]), column["label"] or "", mask)
        out.print(grid)
    for line in (*_detector_lines(found["detectors"]), *_limit_lines(found["limits"])):
        out.print(line, markup=False, soft_wrap=True)
    if found["instead"]:
        out.print("This would be allowed:")
        out.print(found["instead"], markup=False, soft_wrap=True)
    if found["rewritten_sql"]:
        out.print("BigQuery would get:")
        out.print(found["rewritten_sql"], markup=False, soft_wrap=True)


def _detector_lines(detectors: list[dict[str, Any]]) -> Iterator[str]:
    """Say what is looked for where, in one line for those of a rule that look at the same."""
    entities: dict[tuple[str, bool, str], list[str]] = {}
    for one in detectors:
        columns = one["columns"]
        where = "every column" if columns is None else ", ".join(columns) or "no column"
        entities.setdefault((one["rule"], one["keeps_back"], where), []).append(one["entity"])
    for (rule, keeps_back, where), names in entities.items():
        what = "keeps back" if keeps_back else "masks"
        yield f"detector {rule} {what} {', '.join(names)} in: {where}"


def _limit_lines(several: list[dict[str, Any]]) -> Iterator[str]:
    for limits in several:
        amounts = ", ".join(f"{word} {limits[word]}" for word in LIMIT_WORDS if word in limits)
        yield f"limits of {limits['rule']} for {limits['whose']} {limits['holder']}: {amounts}"
