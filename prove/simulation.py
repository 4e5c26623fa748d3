"""Simulating a draft says what enforcing it does.

Agents' queries run through a gateway under one policy. The draft is simulated on what that has
recorded. Then the same queries run, as the same agents and on the same data, through a gateway
whose policy the draft is; and effect, masked columns, approvals and row filters are compared query
by query, as are the limits that refuse it, and the values that detectors find in its result.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import requests
from demo.stack import POLICY, PROGRAM, Stack, running

from keystile.config.load import load
from keystile.config.policy_folder import read_policy
from keystile.config.settings import EngineLimits
from keystile.deciding import TASKS
from keystile.gate.recorded_queries import Recalled, recalled
from keystile.gate.simulation import Simulated
from keystile.gate.simulation_report import Report, simulate
from keystile.gate.sound_policy import checked_policy
from keystile.googlesql.pool import EnginePool
from keystile.identity.builtin import builtin_issuer
from keystile.policy.ruling import Ruling
from keystile.recording.asked import AskedQueries, Wanted
from keystile.recording.query_events import IntentBody
from prove import replays
from prove.agent_queries import AGENTS, PROJECT, AgentQueries, AgentQuery

_SETTINGS = {"engine": {"workers": 1}, "identity": {"token_lifetime": 3600}}
_PAGE_ROWS = 500
_LIMITS = EngineLimits(workers=2, queue=4096, deadline=60)

DRAFTS = {
    "stricter": """
labels:
- {label: pii.subject, columns: [tickets.subject]}
- {label: pii.customer, columns: [orders.customer_id, events.customer_id]}
masks:
- {label: pii.ssn, mask: {kind: "null"}}
- {label: pii.customer, mask: {kind: keyed_hash}}
rules:
- {name: no-exports, deny: [export], message: nothing leaves}
- {name: tickets-by-people, resources: {tables: [acme-shop.shop.tickets]},
   require_approval: {from: [data-stewards], count: 2, expires: 1h}}
- {name: no-dry-runs-of-ssn, when: 'request.dry_run && query.touches("pii.ssn")', deny: [read]}
row_filters:
- {name: own-city, agents: {attributes: {purpose: support}},
   tables: [acme-shop.shop.orders], where: status = agent.attributes.region}
""",
    "looser": """
rules:
- name: etl-writes
  agents: {groups: [pipelines]}
  resources: {datasets: [acme-shop.shop]}
  allow: [read, write, export, script]
  unmask: [pii.email, pii.ssn]
- name: analysts-see-the-shop
  agents: {groups: [analytics]}
  resources: {datasets: [acme-shop.shop]}
  allow: [read]
""",
    "limited": """
rules:
- {name: cost, limits: {bytes_per_query: 15MiB, bytes_per_day: 250MiB, rows_per_query: 100}}
- name: cost-of-the-group
  agents: {groups: [analytics]}
  limits: {per: group, bytes_per_month: 150MiB}
""",
    "detecting": """
detectors:
- {name: products, patterns: {product: "candle|mug|whisk"}, label: pii.found}
- {name: sales, agents: {groups: [coding-agents]}, patterns: {sale: "buy|cart"}}
- {name: searches, agents: {groups: [pipelines]}, patterns: {search: search}, deny: true}
""",
}
"""What is added to the policy of the demo."""


class Compared(NamedTuple):
    """What came of one draft.

    `simulated` queries were compared, of which `changed` were treated otherwise than before;
    `not_simulated` says why others were not. Of those, `over` would be over limits and `values` be
    found in the results of so many; `not_replayed` says why that was not compared. `differences`
    names each that was enforced otherwise.
    """

    draft: str
    queries: int
    simulated: int
    changed: dict[str, int]
    not_simulated: dict[str, int]
    over: int
    values: int
    not_replayed: dict[str, int]
    differences: list[str]


class _Kept(Report):
    """A report that keeps everything."""

    def __init__(self) -> None:
        super().__init__(0, str)
        self.found: list[Simulated] = []

    def add(self, found: Iterable[Simulated]) -> None:
        """Keep some more."""
        kept = list(found)
        self.found += kept
        super().add(kept)


def proved(folder: Path, queries: int, seed: str = "1") -> list[Compared]:
    """Compare each draft, with so many queries each, in an empty folder."""
    asked = AgentQueries(seed)
    several = [asked.query() for _ in range(queries)]
    recorded = _enforced(folder / "before", POLICY, several)
    return [_compared(folder, name, recorded, several, _policy(folder, name)) for name in DRAFTS]


def draft_of(name: str) -> dict[str, str]:
    """Give the policy of the demo with what the draft of this name adds."""
    return {**read_policy(POLICY), "draft.yaml": DRAFTS[name]}


def _policy(folder: Path, name: str) -> Path:
    policy = folder / name / "policy"
    policy.mkdir(parents=True)
    for file, text in draft_of(name).items():
        (policy / file).write_text(text)
    return policy


def _compared(
    folder: Path, name: str, recorded: Path, several: list[AgentQuery], policy: Path
) -> Compared:
    report = asyncio.run(_simulated(recorded, policy))
    done = _enforced(folder / name, policy, several)
    enforced = asyncio.run(_rulings(done))
    said = asyncio.run(replays.replayed(recorded, report.found))
    seen = asyncio.run(replays.enforced(done, time.time()))
    differences = [
        line for one in report.found if not one.why for line in _differences(one, enforced)
    ]
    for id_, of_query in said.seen.items():
        differences += replays.differences(id_, of_query, seen[id_])
    return Compared(
        name,
        report.read,
        report.simulated,
        {str(kind): count for kind, count in report.kinds.items()},
        dict(report.not_simulated),
        sum(bool(one.over) for one in said.seen.values()),
        sum(bool(one.found or one.kept_back) for one in said.seen.values()),
        dict(said.unknown),
        differences,
    )


async def _simulated(recordings: Path, folder: Path) -> _Kept:
    queries, report = AskedQueries(recordings), _Kept()
    pool = EnginePool(_LIMITS, TASKS)
    await pool.start()
    try:
        policy = await checked_policy(read_policy(folder), pool, None)
        wanted = Wanted(0, time.time())
        await simulate(queries, wanted, policy, pool, _LIMITS, None, report, lambda _: None)
    finally:
        await pool.close()
    return report


async def _rulings(recordings: Path) -> dict[str, tuple[Ruling, tuple[str, ...] | None]]:
    """Give what was decided on each query by its job id, and its columns as they were masked."""
    found: dict[str, tuple[Ruling, tuple[str, ...] | None]] = {}
    async for batch in AskedQueries(recordings).batches(Wanted(0, time.time())):
        for asked in batch:
            if isinstance(again := recalled(asked), Recalled):
                body = asked.body
                masked = body.masked if isinstance(body, IntentBody) else None
                # Reading too many rows is refused later, under the same id.
                found.setdefault(replays.job_id(asked), (again.before, masked))
    return found


def _differences(
    one: Simulated, enforced: dict[str, tuple[Ruling, tuple[str, ...] | None]]
) -> Iterator[str]:
    """Say what was enforced otherwise than it was simulated."""
    sql = one.asked.body.sql if one.asked.body else ""
    where = f"{replays.job_id(one.asked)}: {sql}"
    if replays.job_id(one.asked) not in enforced:
        yield f"{where}: no decision was enforced"
        return
    ruling, masked = enforced[replays.job_id(one.asked)]
    for field in Ruling.__struct_fields__:
        said, done = getattr(one.after, field), getattr(ruling, field)
        if said != done:
            yield f"{where}: {field}: simulated {said}, enforced {done}"
    columns = tuple(sorted(each.column for each in one.after.masked)) if one.after else ()
    if masked is not None and columns != tuple(sorted(masked)):
        yield f"{where}: masked columns: simulated {columns}, enforced {masked}"


def _enforced(folder: Path, policy: Path, several: list[AgentQuery]) -> Path:
    """Run the queries through a gateway, and give its recordings."""
    folder.mkdir(parents=True, exist_ok=True)
    with running(folder, policy=policy, settings=_SETTINGS, gateway=PROGRAM) as stack:
        tokens = {agent.name: _registered(stack, agent) for agent in AGENTS}
        for number, query in enumerate(several):
            _ask(stack, tokens[query.agent.name], f"q{number:06d}", query)
    return folder / "recordings"


def _registered(stack: Stack, agent: Any) -> str:
    options = [part for group in agent.groups for part in ("--group", group)]
    pairs = (f"{name}={value}" for name, value in agent.attributes)
    options += [part for pair in pairs for part in ("--attribute", pair)]
    stack.keystile("agent", "create", agent.name, *options)
    settings = load(stack.config)
    subject = builtin_issuer(settings).mint(agent.name, "proof")
    return str(stack.exchange(subject, settings.identity.audience)["access_token"])


def _ask(stack: Stack, token: str, id_: str, query: AgentQuery) -> None:
    """Send a query and wait until it has ended, or waits for people."""
    reference = {"projectId": PROJECT, "jobId": id_}
    body = {"jobReference": reference, "configuration": query.configuration}
    answer = _sent(stack, token, "/jobs", body)
    while answer.get("status", {}).get("state") == "RUNNING":
        time.sleep(0.02)
        answer = _sent(stack, token, f"/jobs/{id_}", None)
    if answer.get("status", {}).get("state") == "DONE":
        _read(stack, token, id_)


def _read(stack: Stack, token: str, id_: str) -> None:
    """Read all rows of a query, as far as that is allowed."""
    page: str | None = ""
    while page is not None:
        path = f"/queries/{id_}?maxResults={_PAGE_ROWS}&pageToken={page}"
        page = _sent(stack, token, path, None).get("pageToken")


def _sent(stack: Stack, token: str, path: str, body: object) -> dict[str, Any]:
    url = f"{stack.gateway}/bigquery/v2/projects/{PROJECT}{path}"
    headers = {"Authorization": f"Bearer {token}"}
    method = "GET" if body is None else "POST"
    answer: dict[str, Any] = requests.request(
        method, url, json=body, headers=headers, timeout=60
    ).json()
    return answer


def figures(queries: int, seed: str = "1") -> dict[str, object]:
    """Prove it and give the figures, for `script/prove policy`."""
    with tempfile.TemporaryDirectory() as folder:
        compared = proved(Path(folder), queries, seed)
    changed: Counter[str] = sum((Counter(one.changed) for one in compared), Counter())
    not_simulated: Counter[str] = sum((Counter(one.not_simulated) for one in compared), Counter())
    not_replayed: Counter[str] = sum((Counter(one.not_replayed) for one in compared), Counter())
    over, values = (sum(one.over for one in compared), sum(one.values for one in compared))
    differences = [line for one in compared for line in one.differences]
    return {
        "drafts": len(compared),
        "queries": sum(one.queries for one in compared),
        "compared": sum(one.simulated for one in compared),
        "changed": dict(changed),
        "not_simulated": dict(not_simulated),
        "over_limits": over,
        "with_values_found": values,
        "not_replayed": dict(not_replayed),
        "different": len(differences),
        "differences": differences[:20],
        "ok": not differences and bool(over and values) and all(one.simulated for one in compared),
    }


def main() -> int:
    """Prove and print."""
    parser = argparse.ArgumentParser(prog="prove simulation", description=__doc__)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--seed", default="1")
    arguments = parser.parse_args()
    found = figures(arguments.queries, arguments.seed)
    print(json.dumps(found))
    return 0 if found["ok"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
