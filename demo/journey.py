"""The demo: everything starts, a sample agent goes through the gate, and you see what happened.

`--once` runs the whole journey without a person, prints a table and, as its last line, JSON.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any, NamedTuple

from demo.stack import PROJECT, Stack, running
from demo.vouching import Vouching, vouching
from prove.clients.environments import AbsentError
from rich.console import Console
from rich.table import Table

out = Console(highlight=False)

MASKED = "SELECT id, name, email, ssn FROM shop.customers ORDER BY id LIMIT 3"
PREDICATE = 'SELECT COUNT(*) AS found FROM shop.customers WHERE ssn LIKE "9%"'
SCHEMA_CHANGE = "CREATE TABLE shop.copy AS SELECT * FROM shop.customers"
UNPARSABLE = "SELEC ssn FROM shop.customers"
UNKNOWN = "SELECT * FROM shop.nowhere"
RAW = "SELECT id, ssn FROM shop.customers ORDER BY id LIMIT 2"
DENIED = "SELECT ssn FROM shop.customers"

_AUDIENCE = "//keystile/agents"
"""What the token endpoint expects to be asked for, where the settings do not say."""


class Outcome(NamedTuple):
    """What came of a step: whether it did what it should, and what was seen."""

    ok: bool
    seen: str


class Journey:
    """The steps, in order. Each looks at what really came back."""

    def __init__(self, stack: Stack, vouching: Vouching) -> None:
        """Travel through a running gateway."""
        self._stack = stack
        self._vouching = vouching
        self._secrets = _protected_values(stack)

    def people(self) -> Outcome:
        """Have two agents, and the person who approves."""
        self._stack.keystile("person", "create", "operator", "--group", "data-stewards")
        return Outcome(ok=True, seen=self._vouching.register(self._stack))

    def masked_rows(self) -> Outcome:
        """Read customers: the client gets rows, and none of them shows a protected value."""
        answer = self._ask("demo-agent", MASKED)
        rows = answer.get("rows", [])
        first = rows[0] if rows else {}
        clean = not self._leaks(answer)
        return Outcome(
            len(rows) == 3 and first["ssn"] == "XXX-XX-XXXX" and clean,  # noqa: PLR2004
            f"ssn {first.get('ssn')}, email {first.get('email')}",
        )

    def no_oracle(self) -> Outcome:
        """Count by a protected column: the filter sees the mask, so it finds nobody."""
        answer = self._ask("demo-agent", PREDICATE)
        return Outcome(answer.get("rows") == [{"found": 0}], f"{answer.get('rows')}")

    def schema_change_refused(self) -> Outcome:
        """Try to copy the table: refused at once, with the rule and what to do."""
        return self._refused(SCHEMA_CHANGE, "Forbidden", "no-schema-changes")

    def unparsable_refused(self) -> Outcome:
        """Send a text that is no SQL: BigQuery's own error, at once."""
        return self._refused(UNPARSABLE, "BadRequest", "Syntax error")

    def unknown_table_refused(self) -> Outcome:
        """Ask for a table that is not there: BigQuery's own error, at once."""
        return self._refused(UNKNOWN, "NotFound", "shop.nowhere")

    def approval_waits_then_runs(self) -> Outcome:
        """Ask for real values: the call waits, a person approves, the same call returns them."""
        agent = self._start("support-agent", RAW)
        request = self._pending()
        self._stack.keystile(
            "approvals", "approve", request, "--as", "operator", "--comment", "ticket 4711"
        )
        answer = _answer(agent)
        values = {str(row["ssn"]) for row in answer.get("rows", [])}
        return Outcome(
            bool(values) and values <= self._secrets,
            f"{len(values)} real values after {answer['seconds']} s",
        )

    def denial_reaches_the_client(self) -> Outcome:
        """Ask for all of them: a person denies, and the client shows the person's words."""
        agent = self._start("support-agent", DENIED)
        request = self._pending()
        words = "too many at once; ask for one customer"
        self._stack.keystile("approvals", "deny", request, "--as", "operator", "--comment", words)
        answer = _answer(agent)
        right = answer.get("error") == "Forbidden" and words in answer["message"]
        return Outcome(right and not self._leaks(answer), _sentence(answer))

    def tokens_fit_one_lock(self) -> Outcome:
        """Use a token where it was not made for: refused at the gate, and at BigQuery."""
        subject = self._vouching.token(self._stack, "demo-agent")
        elsewhere = self._stack.exchange(subject, "//another-gateway/agents")
        forged = self._stack.exchange(f"{subject[:-4]}AAAA", _AUDIENCE)
        granted = self._stack.exchange(subject, _AUDIENCE)
        upstream = [
            self._stack.status_upstream(token) for token in (granted["access_token"], subject)
        ]
        refused = elsewhere["error"] == "invalid_target" and forged["error"] == "invalid_request"
        seen = f"{elsewhere['error']}, {forged['error']}, BigQuery says {upstream}"
        return Outcome(refused and upstream == [401, 401], seen)

    def recorded_and_replayed(self) -> Outcome:
        """Find it all in the recording: each query, decision, approver and masked row."""
        steps = []
        for session in self._stack.keystile_json("sessions", "list")["sessions"]:
            steps += self._stack.keystile_json("sessions", "show", session["id"])["steps"]
        seen = {str(step.get("sql")) for step in steps}
        told = json.dumps(steps)
        complete = {MASKED, PREDICATE, SCHEMA_CHANGE, UNPARSABLE, UNKNOWN, RAW, DENIED} <= seen
        decided = "operator" in told and "ticket 4711" in told and "XXX-XX-XXXX" in told
        return Outcome(complete and decided, f"{len(steps)} steps")

    def recording_is_whole(self) -> Outcome:
        """Verify the hash chain of the recording."""
        found = self._stack.keystile_json("audit", "verify")
        records = sum(chain["records"] for chain in found["chains"])
        return Outcome(found["intact"] and records > 0, f"{records} records")

    def _ask(self, agent: str, sql: str) -> dict[str, Any]:
        return _answer(self._start(agent, sql))

    def _start(self, agent: str, sql: str) -> Popen[str]:
        return _started(self._stack, self._vouching, agent, sql)

    def _refused(self, sql: str, error: str, words: str) -> Outcome:
        answer = self._ask("demo-agent", sql)
        quick = answer["seconds"] < 1
        right = answer.get("error") == error and words in answer.get("message", "")
        return Outcome(right and quick and not self._leaks(answer), _sentence(answer))

    def _pending(self) -> str:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            waiting = self._stack.keystile_json("approvals", "list")
            if waiting:
                return str(waiting[0]["id"])
            time.sleep(0.2)
        raise RuntimeError("no approval request appeared within 30 s")

    def _leaks(self, answer: dict[str, Any]) -> set[str]:
        text = json.dumps(answer)
        return {value for value in self._secrets if value in text}


STEPS: tuple[Callable[[Journey], Outcome], ...] = (
    Journey.people,
    Journey.masked_rows,
    Journey.no_oracle,
    Journey.schema_change_refused,
    Journey.unparsable_refused,
    Journey.unknown_table_refused,
    Journey.approval_waits_then_runs,
    Journey.denial_reaches_the_client,
    Journey.tokens_fit_one_lock,
    Journey.recorded_and_replayed,
    Journey.recording_is_whole,
)


@contextmanager
def _standing(issuer: str, *, preferred_ports: bool) -> Iterator[tuple[Stack, Vouching]]:
    with (
        tempfile.TemporaryDirectory(prefix="keystile-demo-") as folder,
        vouching(issuer) as vouches,
        running(
            Path(folder), preferred_ports=preferred_ports, settings={"identity": vouches.settings}
        ) as stack,
    ):
        yield stack, vouches


def once(issuer: str) -> int:
    """Run the whole journey, print a table and one line of JSON; 0 only if every step was right."""
    began = time.monotonic()
    outcomes: dict[str, str] = {}
    table = Table("step", "what it shows", "outcome", "seen", box=None, pad_edge=False)
    with _standing(issuer, preferred_ports=False) as (stack, vouches):
        ready = round(time.monotonic() - began, 1)
        out.print(f"ready after {ready} s; the journey begins")
        journey = Journey(stack, vouches)
        for step in STEPS:
            outcome = _tried(step, journey)
            outcomes[step.__name__] = "ok" if outcome.ok else f"failed: {outcome.seen}"
            colour = "green" if outcome.ok else "red"
            says = (step.__doc__ or "").strip()
            mark = f"[{colour}]{'ok' if outcome.ok else 'failed'}[/]"
            table.add_row(step.__name__.replace("_", " "), says, mark, outcome.seen)
            out.print(f"  {mark} {step.__name__.replace('_', ' ')}")
    out.print(table)
    good = all(outcome == "ok" for outcome in outcomes.values())
    seconds = round(time.monotonic() - began, 1)
    print(json.dumps({"ok": good, "ready_seconds": ready, "seconds": seconds, "steps": outcomes}))
    return 0 if good else 1


def interactive(issuer: str) -> int:
    """Start everything, show the first steps, and stay until Ctrl-C."""
    with _standing(issuer, preferred_ports=True) as (stack, vouches):
        journey = Journey(stack, vouches)
        _tried(Journey.people, journey)
        out.rule("an agent reads customers, with Google's own client and no key")
        _tell(_answer(_started(stack, vouches, "demo-agent", MASKED)))
        out.rule("it tries to change the schema")
        _tell(_answer(_started(stack, vouches, "demo-agent", SCHEMA_CHANGE)))
        out.rule("another agent asks for real social security numbers, and waits for you")
        waiting = _started(stack, vouches, "support-agent", RAW)
        link = stack.keystile("console", "link", "--as", "operator").strip().splitlines()[-1]
        out.print(f"\n  decide in the console: [bold]{link}[/]\n", soft_wrap=True)
        _say_what_to_try(stack, vouches)
        try:
            _tell(_answer(waiting, patience=None))
            out.print("\n(Ctrl-C ends the demo)")
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            waiting.terminate()
            out.print("\nstopping")
    return 0


def _started(stack: Stack, vouches: Vouching, agent: str, sql: str) -> Popen[str]:
    return stack.agent(agent, sql, vouches.options(stack, agent))


def _say_what_to_try(stack: Stack, vouches: Vouching) -> None:
    agent = Path(__file__).with_name("agent.py")
    options = "".join(f"{shlex.quote(word)} " for word in vouches.options(stack, "demo-agent"))
    run = f"keystile run --agent demo-agent --project {PROJECT} {options}-- python {agent}"
    lines = (
        f"export PATH={Path(sys.executable).parent}:$PATH KEYSTILE_CONFIG={stack.config}",
        "keystile approvals list",
        "keystile sessions list",
        *vouches.to_try(PREDICATE),
        f"{run} '{PREDICATE}'",
        "keystile audit verify",
    )
    out.print("or in another terminal, while this one runs:")
    for line in lines:
        out.print(f"  {line}", soft_wrap=True, markup=False)
    out.print()


def _tell(answer: dict[str, Any]) -> None:
    out.print(f"  {answer['sql']}", style="bold", markup=False, soft_wrap=True)
    for row in answer.get("rows", ()):
        out.print(f"  {row}", markup=False, soft_wrap=True)
    if "error" in answer:
        out.print(f"  {_sentence(answer)}", style="yellow", markup=False, soft_wrap=True)


def _sentence(answer: dict[str, Any]) -> str:
    """Give the error without the address that the client puts before it."""
    message = str(answer.get("message", "no error came"))
    text = message.split("prettyPrint=false: ", 1)[-1].splitlines()[0]
    return f"{answer.get('error', '')}: {text}"


def _answer(agent: Any, patience: float | None = 90) -> dict[str, Any]:
    """Give the sample agent's one answer."""
    printed, complaint = agent.communicate(timeout=patience)
    lines = printed.splitlines()
    if not lines:
        raise RuntimeError(f"the agent said nothing: {complaint[-500:]}")
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer


def _tried(step: Callable[[Journey], Outcome], journey: Journey) -> Outcome:
    try:
        return step(journey)
    except Exception as error:  # noqa: BLE001 - a step that breaks is a step that failed
        return Outcome(ok=False, seen=f"{type(error).__name__}: {error}")


def _protected_values(stack: Stack) -> set[str]:
    """Read the protected values where they lie: no answer may hold one that was not approved."""
    file = stack.folder / "bigquery" / PROJECT / "shop" / "customers.ndjson"
    customers = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return {str(customer[name]) for customer in customers for name in ("ssn", "email", "name")}


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="script/demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="run the journey and end")
    parser.add_argument(
        "--issuer",
        choices=("builtin", "external"),
        default="builtin",
        help="who vouches for the agents: the gateway itself, or a server of its own (needs Node)",
    )
    options = parser.parse_args()
    try:
        return once(options.issuer) if options.once else interactive(options.issuer)
    except AbsentError as error:
        parser.error(f"the external issuer cannot be had: {error}")


if __name__ == "__main__":
    sys.exit(main())
