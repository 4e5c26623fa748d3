"""`keystile policy simulate`: what another policy would have done with recorded queries."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from keystile.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, reports_errors, run
from keystile.cli.common import settings as read
from keystile.cli.simulated import Progress, first_line, show_outcome, to_json
from keystile.cli.store import database
from keystile.cli.terminal import epoch, say_json
from keystile.config.policy_folder import read_policy
from keystile.config.settings import EngineLimits, Settings
from keystile.deciding import TASKS, planning
from keystile.gate.basis import Catalogue
from keystile.gate.simulation_report import Outcome, Report, simulate
from keystile.gate.sound_policy import checked_policy
from keystile.googlesql.pool import EnginePool
from keystile.model.errors import KeystileError
from keystile.recording.asked import AskedQueries, Wanted
from keystile.telemetry.metrics import Metrics

app = typer.Typer(add_completion=False)

WOULD_CHANGE = 3
NOT_ALL_SIMULATED = 4

_QUEUE = 4096


@app.command("simulate", epilog="Example: keystile policy simulate draft --since 7d")
@reports_errors
def simulate_policy(  # noqa: PLR0913 - one for each option
    draft: Annotated[Path, typer.Argument(help="The folder of the policy to try.")],
    config: ConfigOption = DEFAULT_CONFIG,
    *,
    since: Annotated[str, typer.Option(help="A UTC time or an age such as `24h`.")] = "7d",
    until: Annotated[str, typer.Option(help="A UTC time or an age such as `1h`.")] = "",
    agent: Annotated[str, typer.Option("--agent", help="Only this agent's queries.")] = "",
    limit: Annotated[int, typer.Option(min=0, max=100_000, help="How many to list.")] = 50,
    json: JsonOption = False,
) -> None:
    """Decide on recorded queries under another policy, and show what would change.

    Nothing runs. The exit code is 3 where something would change, 4 where nothing would but it is
    not known of some queries.
    """
    now = time.time()
    wanted = Wanted(epoch(since, now), epoch(until, now) if until else now, agent)
    found = run(_simulated(read(config), draft, wanted, limit))
    if json:
        say_json(to_json(found, wanted))
    else:
        show_outcome(found, wanted)
    if found.report.changed or found.limits.queries or found.detectors.queries:
        raise typer.Exit(WOULD_CHANGE)
    if found.report.not_simulated or found.limits.unknown or found.detectors.unknown:
        raise typer.Exit(NOT_ALL_SIMULATED)


async def _simulated(settings: Settings, draft: Path, wanted: Wanted, limit: int) -> Outcome:
    queries = AskedQueries(settings.path(settings.recording.folder))
    limits = all_cores(settings.engine)
    pool = EnginePool(limits, TASKS)
    await pool.start()
    try:
        policy = await checked_policy(read_policy(draft), pool, settings.masking_keys)
        report = Report(limit, first_line)
        async with _bigquery(settings, pool) as now:
            with Progress(await queries.count(wanted)) as progress:
                return await simulate(
                    queries, wanted, policy, pool, limits, now, report, progress.done
                )
    finally:
        await pool.close()


def all_cores(limits: EngineLimits) -> EngineLimits:
    """Give limits for work that has the machine for itself."""
    return msgspec.structs.replace(limits, workers=os.cpu_count() or 1, queue=_QUEUE)


@asynccontextmanager
async def _bigquery(settings: Settings, pool: EnginePool) -> AsyncIterator[Catalogue | None]:
    """Give BigQuery as it is now, or None where it cannot be asked: recordings do without."""
    async with AsyncExitStack() as stack:
        now: Catalogue | None = None
        try:
            store = await stack.enter_async_context(database(settings))
            plans = await stack.enter_async_context(planning(settings, pool, Metrics(), store))
            now = await plans.accounts.of("")
        except KeystileError:
            pass
        yield now
