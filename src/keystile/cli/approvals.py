"""`keystile approvals`: see what waits for a person, and decide."""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec
import typer

from keystile.approvals.requests import ApprovalRequest, Approvals, ApprovalState, Person
from keystile.cli.common import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    reports_errors,
    run,
    settings,
)
from keystile.cli.store import database
from keystile.cli.terminal import fact, moment, one_line, say, say_json, show, size, table, visible
from keystile.config.settings import Settings
from keystile.identity.people import People
from keystile.model.errors import InvalidRequestError
from keystile.model.schema import Parameter

app = typer.Typer(help="See what waits for a person, and decide.", no_args_is_help=True)

RequestArgument = Annotated[str, typer.Argument(help="The request's id, as `list` shows it.")]
AsOption = Annotated[str, typer.Option("--as", help="The person who decides.", metavar="PERSON")]
StateOption = Annotated[
    ApprovalState | None, typer.Option("--state", help="Only requests in this state.")
]
AllOption = Annotated[bool, typer.Option("--all", help="Requests in every state, newest first.")]
_STYLES = {
    ApprovalState.PENDING: "yellow",
    ApprovalState.APPROVED: "green",
    ApprovalState.DENIED: "red",
}


@app.command("list", epilog="Example: keystile approvals list --json")
@reports_errors
def list_requests(
    config: ConfigOption = DEFAULT_CONFIG,
    state: StateOption = None,
    *,
    everything: AllOption = False,
    json: JsonOption = False,
) -> None:
    """List what is pending, oldest first."""
    wanted = state or (None if everything else ApprovalState.PENDING)
    requests = run(_list(settings(config), wanted))
    if json:
        say_json([as_json(request) for request in requests])
        return
    if not requests:
        say("nothing waits" if wanted is ApprovalState.PENDING else "no such requests")
        return
    rows = table("ID", "STATE", "AGENT", "ASKED", "EXPIRES", "RULE", "APPROVALS", "SQL")
    for request in requests:
        rows.add_row(
            request.id,
            request.state,
            visible(request.principal.agent),
            moment(request.requested_at),
            moment(request.expires_at),
            visible(request.demand.rule),
            f"{request.demand.count - request.missing} of {request.demand.count}",
            one_line(request.summary.sql),
        )
    show(rows)


@app.command("show", epilog="Example: keystile approvals show 4f2a9c01d3e7")
@reports_errors
def show_request(
    request: RequestArgument, config: ConfigOption = DEFAULT_CONFIG, *, json: JsonOption = False
) -> None:
    """Show one request whole: who asks, what runs, what it touches, and why it waits."""
    found = run(_get(settings(config), request))
    if json:
        say_json(as_json(found))
    else:
        _show(found)


@app.command("approve", epilog="Example: keystile approvals approve 4f2a9c01d3e7 --as operator")
@reports_errors
def approve(
    request: RequestArgument,
    person: AsOption,
    comment: Annotated[str, typer.Option("--comment", help="Why; it is recorded.")] = "",
    config: ConfigOption = DEFAULT_CONFIG,
    *,
    json: JsonOption = False,
) -> None:
    """Approve a request; the waiting query runs once enough people have."""
    _decided(run(_vote(settings(config), request, person, comment, approve=True)), json=json)


@app.command(
    "deny",
    epilog='Example: keystile approvals deny 4f2a9c01d3e7 --as operator --comment "ask for less"',
)
@reports_errors
def deny(
    request: RequestArgument,
    person: AsOption,
    comment: Annotated[str, typer.Option("--comment", help="Why; the agent is told.")],
    config: ConfigOption = DEFAULT_CONFIG,
    *,
    json: JsonOption = False,
) -> None:
    """Deny a request; the waiting query ends with your words."""
    if not comment.strip():
        raise InvalidRequestError("to deny needs a reason", hint="give it with --comment")
    _decided(run(_vote(settings(config), request, person, comment, approve=False)), json=json)


def as_json(request: ApprovalRequest) -> dict[str, Any]:
    """Give a request as JSON data; times in UTC ISO 8601."""
    values: dict[str, Any] = msgspec.to_builtins(request)
    for name in ("requested_at", "expires_at", "closed_at"):
        at = getattr(request, name)
        values[name] = None if at is None else moment(at)
    for vote in values["votes"]:
        vote["at"] = moment(vote["at"])
    return values


async def _list(settings: Settings, state: ApprovalState | None) -> tuple[ApprovalRequest, ...]:
    async with database(settings) as store:
        return await Approvals(store).list(state)


async def _get(settings: Settings, request: str) -> ApprovalRequest:
    async with database(settings) as store:
        return await Approvals(store).get(request)


async def _vote(
    settings: Settings, request: str, name: str, comment: str, *, approve: bool
) -> ApprovalRequest:
    async with database(settings) as store:
        # INVARIANT: only a name in the registry of people decides.
        known = await People(store).get(name)
        return await Approvals(store).vote(
            request,
            Person(known.name, known.groups),
            approve=approve,
            comment=comment,
            via="cli",
            now=time.time(),
        )


def _decided(request: ApprovalRequest, *, json: bool) -> None:
    if json:
        say_json(as_json(request))
    elif request.state is ApprovalState.PENDING:
        say(f"{request.id} still needs {request.missing} more", style="yellow")
    else:
        say(f"{request.id} is {request.state}", style=_STYLES.get(request.state, ""))


def _show(request: ApprovalRequest) -> None:
    principal, summary, demand = request.principal, request.summary, request.demand
    fact("request", request.id)
    fact("state", request.state, _STYLES.get(request.state, ""))
    fact("agent", f"{principal.agent} ({principal.subject} of {principal.issuer})")
    if principal.on_behalf_of:
        fact("for", principal.on_behalf_of)
    fact("session", request.session)
    fact("asked", moment(request.requested_at))
    fact("expires", moment(request.expires_at))
    fact("rule", f"{demand.rule}: {summary.reason}")
    fact("approvers", f"{demand.count} of {', '.join(demand.approvers)}; {request.missing} missing")
    fact("statement", summary.statement or "-")
    for word, names in (
        ("reads", summary.reads),
        ("writes", summary.writes),
        ("files", summary.uris),
    ):
        if names:
            fact(word, ", ".join(names))
    fact("bytes", size(summary.bytes))
    fact("sql", summary.sql)
    if summary.into:
        fact("result into", summary.into)
    for parameter in summary.parameters:
        fact("parameter", _parameter(parameter))
    if summary.rewritten_sql and summary.rewritten_sql != summary.sql:
        fact("runs as", summary.rewritten_sql)
    if summary.instead:
        fact("allowed at once", summary.instead)
    for column in summary.columns:
        shown = "in clear" if column.unlocked else "masked" if column.masked else "not protected"
        labels = f" [{', '.join(column.labels)}]" if column.labels else ""
        fact("column", f"{column.column}{labels} in {', '.join(column.uses)}: {shown}")
    for vote in request.votes:
        word = "approved" if vote.approve else "denied"
        comment = f": {vote.comment}" if vote.comment else ""
        fact("vote", f"{vote.person} {word} at {moment(vote.at)} by {vote.via}{comment}")


def _parameter(parameter: Parameter) -> str:
    value = msgspec.json.encode(parameter.value.get("value", parameter.value)).decode()
    return f"{parameter.name and f'@{parameter.name} '}{parameter.type} = {value}"
