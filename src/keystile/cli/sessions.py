"""`keystile sessions`: find what agents did, walk through it again, and let old recordings go."""

from __future__ import annotations

import time
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
from keystile.cli.terminal import (
    epoch,
    fact,
    moment,
    say,
    say_json,
    show,
    size,
    table,
    visible,
)
from keystile.config.settings import Settings
from keystile.model.decision import Effect
from keystile.model.errors import NotFoundError
from keystile.recording.decided import DecisionBody
from keystile.recording.events import EventKind
from keystile.recording.reader import RecordingReader, SessionFilter, SessionPage
from keystile.recording.replay import Step, steps
from keystile.recording.retention import RetentionReport, retain_as_configured

app = typer.Typer(help="Find and replay what agents did.", no_args_is_help=True)

SessionArgument = Annotated[str, typer.Argument(help="The session's id, as `list` shows it.")]
AgentOption = Annotated[str, typer.Option("--agent", help="Only this agent's.")]
_STYLES = {"done": "green", "refused": "red", "denied": "red", "failed": "red"}


@app.command("list", epilog="Example: keystile sessions list --since 7d --effect deny")
@reports_errors
def list_sessions(  # noqa: PLR0913 - one for each option
    config: ConfigOption = DEFAULT_CONFIG,
    *,
    agent: AgentOption = "",
    since: Annotated[str, typer.Option(help="A UTC time or an age such as `7d`.")] = "",
    until: Annotated[str, typer.Option(help="A UTC time or an age such as `12h`.")] = "",
    effect: Annotated[Effect | None, typer.Option(help="With such a decision.")] = None,
    kind: Annotated[EventKind | None, typer.Option(help="With such an event.")] = None,
    text: Annotated[str, typer.Option(help="With this in SQL, message, table or column.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many to list.")] = 50,
    cursor: Annotated[str, typer.Option(help="Go on where the list before ended.")] = "",
    json: JsonOption = False,
) -> None:
    """List sessions, latest activity first."""
    now = time.time()
    wanted = SessionFilter(
        agent=agent,
        since=epoch(since, now) if since else None,
        until=epoch(until, now) if until else None,
        effect=effect or "",
        kind=kind,
        text=text,
    )
    page = run(_reader(settings(config)).sessions(wanted, cursor=cursor, limit=limit))
    if json:
        say_json(_page(page))
        return
    if not page.sessions:
        say("no such sessions")
        return
    rows = table("SESSION", "AGENT", "STARTED", "LAST", "QUERIES", "REFUSED", "APPROVALS")
    for one in page.sessions:
        counts = (str(count) for count in (one.queries, one.refused, one.approvals))
        times = moment(one.started_at), moment(one.last_at)
        rows.add_row(visible(one.id), visible(one.agent), *times, *counts)
    show(rows)
    if page.cursor:
        say(f"more with --cursor {page.cursor}", style="dim")


@app.command("show", epilog="Example: keystile sessions show run-42 --json")
@reports_errors
def show_session(
    session: SessionArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    agent: AgentOption = "",
    *,
    json: JsonOption = False,
) -> None:
    """Show every query of a session: what was asked, decided, approved and given."""
    found = _steps(settings(config), session, agent)
    if json:
        say_json({"session": session, "steps": [_step(step) for step in found]})
        return
    for step in found:
        _show_step(step)


@app.command("replay", epilog="Example: keystile sessions replay run-42 --step 3")
@reports_errors
def replay_session(
    session: SessionArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    agent: AgentOption = "",
    step: Annotated[int | None, typer.Option(min=1, help="Only this step.")] = None,
    *,
    json: JsonOption = False,
) -> None:
    """Walk through a session with the masked rows as recorded. BigQuery is not asked."""
    found = _steps(settings(config), session, agent)
    chosen = [one for one in found if step in {None, one.number}]
    if not chosen:
        raise NotFoundError(f"session `{session}` has no step {step}")
    if json:
        say_json([{**_step(one), "columns": _columns(one), "table": one.table} for one in chosen])
        return
    for one in chosen:
        _show_step(one)
        _show_rows(one)


@app.command("retain", epilog="Example: keystile sessions retain --dry-run")
@reports_errors
def retain(
    config: ConfigOption = DEFAULT_CONFIG,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would go.")] = False,
    json: JsonOption = False,
) -> None:
    """Purge or archive recordings older than `recording.retention` says."""
    report = retain_as_configured(settings(config), time.time(), dry_run=dry_run)
    if json:
        say_json(_retention(report))
    else:
        _show_retention(report)
    if report.skipped:
        raise typer.Exit(1)


def _reader(settings: Settings) -> RecordingReader:
    return RecordingReader(settings.path(settings.recording.folder))


def _steps(settings: Settings, session: str, agent: str) -> tuple[Step, ...]:
    return steps(run(_reader(settings).session(session, agent=agent)))


def _show_principal(step: Step) -> None:
    known = step.principal
    attributes = (f"{name}={text}" for name, text in known.attributes.items())
    for word, value in (
        ("issuer", known.issuer),
        ("subject", known.subject),
        ("account", known.service_account),
        ("groups", ", ".join(known.groups)),
        ("attributes", ", ".join(attributes)),
        ("runs as", step.runs_as.account),
        ("connection", step.runs_as.connection),
    ):
        if value:
            fact(word, value)


def _show_decision(decision: DecisionBody) -> None:
    fact("decision", decision.effect or "-")
    for rule in decision.rules:
        effect = f"{rule.effect}, not told to the agent" if rule.untold else rule.effect
        fact("rule", f"{rule.rule} ({effect}): {rule.message}")
    for shadow in decision.shadows:
        fact("in shadow", f"{shadow.rule} {shadow.words}")


def _show_step(step: Step) -> None:
    say(f"step {step.number}", style="bold")
    fact("at", moment(step.at))
    fact("agent", f"{step.agent} for {step.on_behalf_of}" if step.on_behalf_of else step.agent)
    _show_principal(step)
    fact("sql", step.sql)
    if step.into:
        fact("result into", step.into)
    if script := step.request.get("script"):
        fact("statement of", str(script))
    for parameter in step.parameters:
        fact("parameter", msgspec.json.encode(parameter).decode())
    _show_decision(step.decision)
    for approval in step.approvals:
        fact("approval", f"{approval.request} {approval.state}")
        for vote in approval.votes:
            word = "approved" if vote.approve else "denied"
            comment = f": {vote.comment}" if vote.comment else ""
            fact("vote", f"{vote.person} {word} at {moment(vote.at)} by {vote.via}{comment}")
    fact("masked", ", ".join(step.masked) or "nothing")
    _show_found(step)
    fact("state", step.state, _STYLES.get(step.state, "yellow"))
    if step.error:
        fact("error", f"{step.error.reason}: {step.error.message}")
    if step.sent:
        left_out = f", {len(step.faults)} not in the table" if step.faults else ""
        fact("sent", f"{len(step.sent)} rows{left_out}")
    if step.total_rows is not None:
        fact("rows", f"{len(step.rows)} recorded of {step.total_rows}")
        fact("processed", size(step.bytes_processed))
        fact("billed", size(step.bytes_billed))


def _show_found(step: Step) -> None:
    for found in step.found:
        fact("found", f"{found.count} {found.entity} in {found.column}, masked")
    for hint in step.hints:
        fact("hint", hint, "yellow")


def _columns(step: Step) -> list[str]:
    width = max((len(row) for row in step.table), default=0)
    names = [str(field.get("name", "")) for field in step.schema]
    return names + [f"column {place}" for place in range(len(names) + 1, width + 1)]


def _show_rows(step: Step) -> None:
    if step.sent:
        sent = table("ROW", "SENT", "PROBLEM")
        faults = step.faults
        for index, one in enumerate(step.sent):
            sent.add_row(str(index + 1), visible(one.json), visible(faults.get(index, "")))
        show(sent)
    if not step.rows:
        return
    rows = table(*(visible(name) for name in _columns(step)))
    for row in step.table:
        rows.add_row(*(visible(cell) for cell in row))
    show(rows)


def _step(step: Step) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(step)
    values["rows"] = [{"index": index, "row": row} for index, row in sorted(step.rows.items())]
    for name in ("at", "started_at", "ended_at"):
        values[name] = None if values[name] is None else moment(values[name])
    values["approvers"] = step.approvers
    return values


def _page(page: SessionPage) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(page)
    for one in values["sessions"]:
        one["started_at"], one["last_at"] = moment(one["started_at"]), moment(one["last_at"])
    return values


def _retention(report: RetentionReport) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(report)
    for one in values["segments"]:
        one["first_at"], one["last_at"] = moment(one["first_at"]), moment(one["last_at"])
    return values


def _show_retention(report: RetentionReport) -> None:
    if report.segments:
        rows = table("CHAIN", "SEGMENT", "RECORDS", "FROM", "TO", "SIZE")
        for one in report.segments:
            times = moment(one.first_at), moment(one.last_at)
            rows.add_row(one.chain, one.segment, str(one.records), *times, size(one.bytes))
        show(rows)
    done = {"purge": "purged", "archive": "archived"}[report.action]
    records = sum(one.records for one in report.segments)
    word = f"would be {done}" if report.dry_run else done
    say(f"{records} records in {len(report.segments)} segments from before {report.before} {word}")
    for chain in report.skipped:
        fact("left alone", f"{chain} does not verify; see `keystile audit verify`", "red")
