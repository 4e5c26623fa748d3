"""Times deciding, and compiling, under a policy of a large company.

The facts are those of queries that the proofs make, analysed by the engine. Prints each figure, and
as the last line JSON. What each means: `bench/README.md`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from random import Random
from statistics import median, quantiles
from typing import Any, NamedTuple

import yaml
from prove.queries.generator import PARAMETERS, Generator
from prove.schemas import SCHEMAS
from prove.shop import DATASET, PROJECT
from prove.worlds import SchemaSource

from keystile.analysis.analyst import Analyst
from keystile.analysis.statement import Statement
from keystile.googlesql.inline import InlineRunner
from keystile.model.errors import KeystileError
from keystile.model.facts import QueryFacts
from keystile.model.principal import Principal
from keystile.model.schema import Parameter, Table
from keystile.policy.compile import compile_policy
from keystile.policy.context import Context
from keystile.policy.policy import Policy

RULES, LABELS = 1_000, 10_000
_TEAMS = 50
_SMALL = 10
# Queries over the same tables that are decided on before: their schemas are known, as in service.
_WARM_UP = 200
CONTEXT = Context(PROJECT, datetime(2026, 11, 22, 12, 0, tzinfo=UTC))
AGENT = Principal(
    "https://issuer.example",
    "agent",
    "agent",
    "run",
    groups=("coding-agents", "team-7", "team-11"),
    attributes={"purpose": "reports"},
    address="10.2.3.4",
)


class Asked(NamedTuple):
    """The facts of one query, with the tables that it names."""

    facts: QueryFacts
    tables: tuple[Table, ...]


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.policy", description=__doc__)
    parser.add_argument("--queries", type=int, default=1_000)
    options = parser.parse_args()
    figures = measure(options.queries)
    for name, value in figures.items():
        print(f"{name:>24} {value}")
    print(json.dumps(figures))


def measure(queries: int, rules: int = RULES, labels: int = LABELS) -> Any:
    """Give the figures of one decision, and of a second one, about each of so many queries."""
    texts = documents(rules, labels)
    began = time.process_time()
    large = compile_policy(texts)
    compiled = time.process_time() - began
    every = [*facts(_WARM_UP + queries)]
    before, asked = every[:_WARM_UP], every[_WARM_UP:]
    small = compile_policy(documents(_SMALL, _SMALL))
    first = _times(large, before, asked)
    again = _times(large, asked, asked)
    few = median(_times(small, before, asked))
    loop = _loop(rules, 10 * queries)
    return {
        "rules": rules,
        "labels": labels,
        "queries": len(asked),
        "compile_s": round(compiled, 3),
        "first_decision_p50_us": _us(median(first)),
        "first_decision_p99_us": _us(quantiles(first, n=100)[98]),
        "second_decision_p50_us": _us(median(again)),
        "small_policy_p50_us": _us(few),
        "loop_p50_us": _us(loop),
        "first_over_small": round(median(first) / few, 2),
        "first_over_loop": round(median(first) / loop, 2),
    }


def facts(count: int) -> Iterator[Asked]:
    """Analyse queries over the proofs' schemas, the same ones in each run."""
    analyst = Analyst(InlineRunner(), 1 << 18)
    given = tuple(Parameter(one.name, one.type, {"value": str(one.value)}) for one in PARAMETERS)
    schemas = [*SCHEMAS.values()]
    makers = [Generator(Random(one.name), one) for one in schemas]  # noqa: S311 - no secret
    made = 0
    while made < count:
        schema, maker = schemas[made % len(schemas)], makers[made % len(schemas)]
        source = SchemaSource(schema.tables, schema.routines)
        statement = Statement(maker.query().sql, PROJECT, DATASET, given)
        try:
            analysed = asyncio.run(analyst.analyse(statement, source))
        except KeystileError:
            continue
        if not analysed.facts.opaque:
            made += 1
            yield Asked(analysed.facts, analysed.tables)


def documents(rules: int, labels: int) -> dict[str, str]:
    """Give a policy: rules of many teams, some about everybody, some about the queries' own tables.

    Of the labels a hundredth fits columns by a pattern with `*`.
    """
    named = [f"data.kind-{number % 97}.column-{number}" for number in range(labels)]
    labelled = [
        {"label": label, "columns": [f"*_{n}" if n % 100 == 0 else f"d{n % 60}.t{n % 800}.c{n}"]}
        for n, label in enumerate(named)
    ]
    own = {
        "agents": {"groups": ["coding-agents"]},
        "resources": {"datasets": [f"{PROJECT}.{DATASET}"]},
    }
    made: list[dict[str, Any]] = [
        {**own, "allow": ["read", "write"]},
        {**own, "when": f'query.outputs("{named[1]}")', "require_approval": {"from": ["stewards"]}},
        {**own, "when": "query.functions.size() > 50", "deny": ["read"]},
        {"deny": ["schema_change", "access_change"]},
        {**own, "limits": {"bytes_per_day": "2TB"}},
    ]
    made += [_of_a_team(number, named) for number in range(len(made), rules)]
    numbered = [{"name": f"rule-{number}", **rule} for number, rule in enumerate(made)]
    return {
        "labels.yaml": _yaml({"labels": labelled}),
        "rules.yaml": _yaml({"rules": numbered}),
    }


def _yaml(document: dict[str, Any]) -> str:
    return yaml.safe_dump(json.loads(json.dumps(document)))  # without aliases


def _of_a_team(number: int, labels: Sequence[str]) -> dict[str, Any]:
    team = number % _TEAMS
    about = {
        "agents": {"groups": [f"team-{team}", f"leads-{team}"]},
        "resources": {"datasets": [f"team-{team}.crm", f"team-{team}.raw_{number}*"]},
    }
    label = labels[number % len(labels)]
    kinds: tuple[dict[str, Any], ...] = (
        {"allow": ["read"]},
        {"deny": ["write", "export"], "when": f'query.touches("{label}")'},
        {"deny": ["read"], "when": 'request.time.getHours("Europe/Berlin") > 18'},
        {"allow": ["read", "write"], "when": 'agent.attributes.purpose == "support"'},
        {"deny": ["schema_change"]},
    )
    return {**about, **kinds[number // _TEAMS % len(kinds)]}


def _times(policy: Policy, before: Sequence[Asked], asked: Sequence[Asked]) -> list[float]:
    """Give the seconds that each decision took, once others were made `before`."""
    for one in before:
        policy.decide(AGENT, one.facts, one.tables, CONTEXT)
    taken = []
    for one in asked:
        began = time.process_time()
        policy.decide(AGENT, one.facts, one.tables, CONTEXT)
        taken.append(time.process_time() - began)
    return taken


def _loop(rules: int, count: int) -> float:
    """Give the median seconds of the least that a list of rules costs: one comparison with each."""
    names = [f"team-{number % _TEAMS}.crm.{number}" for number in range(rules)]
    taken = []
    for number in range(count):
        wanted = f"team-{number}.crm.none"
        began = time.process_time()
        _ = [name for name in names if name == wanted]
        taken.append(time.process_time() - began)
    return median(taken)


def _us(seconds: float) -> float:
    return round(seconds * 1e6, 1)


if __name__ == "__main__":
    main()
