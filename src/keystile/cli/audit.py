"""`keystile audit`: prove that the recordings are whole."""

from __future__ import annotations

from pathlib import Path

import msgspec
import typer
from rich.progress import Progress

from keystile.cli.common import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    err,
    reports_errors,
    settings,
)
from keystile.cli.terminal import say, say_json, show, table
from keystile.model.errors import RefusedError
from keystile.recording import verify as verification
from keystile.recording.verify import ChainReport, Verification

app = typer.Typer(help="Prove that the recordings are whole.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Prove that the recordings are whole."""


@app.command("verify", epilog="Example: keystile audit verify --json > heads-of-today.json")
@reports_errors
def verify(config: ConfigOption = DEFAULT_CONFIG, *, json: JsonOption = False) -> None:
    """Read every recorded chain from end to end. Exit code 0: intact; 1: broken or unreadable."""
    wanted = settings(config)
    folder = wanted.path(wanted.recording.folder)
    found = _verify(folder)
    if json:
        say_json({"intact": found.intact, **msgspec.to_builtins(found)})
    else:
        _show(found)
    if not found.intact:
        raise typer.Exit(1)


def _verify(folder: Path) -> Verification:
    total = sum(segment.stat().st_size for segment in folder.glob("*/*.jsonl"))
    try:
        with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
            task = progress.add_task("verifying", total=total)
            return verification.verify(folder, lambda count: progress.advance(task, count))
    except OSError as error:
        raise RefusedError(
            f"the recordings in `{folder}` cannot be read: {error.strerror}",
            hint="run it as the user that the gateway runs as",
        ) from error


def _show(found: Verification) -> None:
    rows = table("CHAIN", "SEGMENTS", "RECORDS", "RETIRED", "NEWEST", "HASH", "STATE")
    for report in found.chains:
        rows.add_row(
            report.chain,
            str(report.segments),
            str(report.records),
            str(report.removed),
            str(report.last_seq),
            report.last_hash,
            _state(report),
        )
    if found.chains:
        show(rows)
    broken = sum(report.problem is not None for report in found.chains)
    if broken:
        say(f"{broken} of {len(found.chains)} chains broken", style="bold red")
    else:
        records = sum(report.records for report in found.chains)
        say(f"intact: {records} records in {_count(len(found.chains))}", style="green")


def _count(chains: int) -> str:
    return "1 chain" if chains == 1 else f"{chains} chains"


def _state(report: ChainReport) -> str:
    if report.problem is None:
        return "intact"
    place = f"{report.problem.segment} line {report.problem.line}: " if report.problem.line else ""
    return f"BROKEN: {place}{report.problem.what}"
