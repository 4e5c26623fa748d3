"""`keystile labels scan`: find columns that may need a label, by some of their values."""

from __future__ import annotations

import getpass
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.progress import track

from keystile.cli.common import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    err,
    reports_errors,
    run,
    settings,
)
from keystile.cli.label_tables import (
    ConnectionOption,
    DatasetOption,
    TableOption,
    looking,
    tables_named,
)
from keystile.cli.terminal import say, say_json, show, visible
from keystile.cli.terminal import table as grid
from keystile.config.settings import Settings
from keystile.gate.label_proposals import policy_file
from keystile.gate.label_scan import Scanned, scan
from keystile.gate.table_names import tables_of
from keystile.model.errors import InvalidRequestError
from keystile.model.schema import TableId
from keystile.recording.events import EventKind
from keystile.recording.people_events import LabelsScannedBody
from keystile.store.notes import note

app = typer.Typer()

_ROWS, _MOST_ROWS = 1000, 100_000


@app.command("scan", epilog="Example: keystile labels scan --dataset acme-shop.shop")
@reports_errors
def scan_values(  # noqa: PLR0913 - one for each option
    dataset: DatasetOption = None,
    table: TableOption = None,
    rows: Annotated[
        int, typer.Option(min=1, max=_MOST_ROWS, help="How many rows of each table to look at.")
    ] = _ROWS,
    write: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the proposals as a policy file.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    *,
    connection: ConnectionOption = "",
    json: JsonOption = False,
) -> None:
    """Look at some rows of tables, and propose labels for columns that have none.

    No query runs, and BigQuery bills nothing. No value is printed, written or recorded.
    """
    if write is not None and write.exists():
        raise InvalidRequestError(f"`{write}` is there already", hint="name another file")
    if not dataset and not table:
        raise InvalidRequestError("nothing to look at", hint="give --dataset or --table")
    asked = tables_named(table or [])
    done = run(_scan(settings(config), dataset or [], asked, rows, connection))
    if write is not None:
        write.write_text(policy_file(done), encoding="utf-8")
    if json:
        say_json([_plain(one) for one in done])
        return
    _show(done)
    if write is not None:
        say(f"wrote {write}; read it, and put it into the policy's folder")


async def _scan(
    found: Settings,
    datasets: Sequence[str],
    tables: Sequence[TableId],
    rows: int,
    connection: str,
) -> list[Scanned]:
    async with looking(found, connection) as known:
        ids = await tables_of(known.bigquery, datasets, tables)
        err.print(f"looking at {rows:,} rows of {len(ids)} tables at most; BigQuery bills nothing")
        body = LabelsScannedBody(
            person=getpass.getuser(),
            via="cli",
            connection=connection or "default",
            tables=tuple(map(str, ids)),
            rows=rows,
        )
        async with known.store.begin() as store:
            await note(store, EventKind.LABELS_SCANNED, msgspec.to_builtins(body))
        steps = iter(track(ids, "tables", console=err, disable=not err.is_terminal))
        done = []
        async for one in scan(known.bigquery, known.policy, ids, rows):
            next(steps, None)
            done.append(one)
        next(steps, None)
        return done


def _plain(one: Scanned) -> dict[str, Any]:
    return {
        "table": str(one.table),
        "rows": one.rows,
        "skipped": one.skipped or None,
        "labelled": {".".join(path): list(labels) for path, labels in one.labelled},
        "proposals": [
            {
                "column": ".".join(proposal.path),
                "label": proposal.guess.label,
                **msgspec.to_builtins(proposal.guess),
            }
            for proposal in one.proposals
        ],
    }


def _show(done: Sequence[Scanned]) -> None:
    shown = grid("COLUMN", "LABEL", "CONFIDENCE", "WHY")
    for one in done:
        for proposal in one.proposals:
            guess = proposal.guess
            column = f"{one.table}.{'.'.join(proposal.path)}"
            shown.add_row(visible(column), guess.label, str(guess.confidence), guess.why)
    if shown.row_count:
        show(shown)
    else:
        say("nothing was found that has no label")
    kept = sum(len(one.labelled) for one in done)
    say(f"{kept} columns are labelled already and were not looked at")
    for why, count in sorted(Counter(one.skipped for one in done if one.skipped).items()):
        say(f"{count} not read: {why}")
