"""Times the analysis of queries that were not seen before, by two worker processes as in service.

Prints a line for each set, and as the last line JSON. What each figure means: `bench/README.md`.
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import UTC, datetime
from statistics import median

import uvloop

from bench.sets import PROJECT, PROTECTED, queries, tables
from keystile.analysis.analysed import Analysed
from keystile.analysis.analyst import Analyst
from keystile.analysis.remembered import RememberingAnalyst
from keystile.analysis.resolve import ResolveRequest, resolved_tree
from keystile.analysis.statement import Statement
from keystile.config.settings import EngineLimits
from keystile.deciding import TASKS
from keystile.googlesql.engine import Engine
from keystile.googlesql.pool import EnginePool
from keystile.masking.keyed import always
from keystile.masking.rewrite import Rewriter
from keystile.model.decision import ColumnMask
from keystile.model.errors import KeystileError, NotFoundError
from keystile.model.masks import DefaultMask
from keystile.model.principal import Principal
from keystile.model.schema import ColumnRef, Routine, RoutineId, Table, TableId
from keystile.policy.compile import compile_policy
from keystile.policy.context import Context
from keystile.policy.policy import Policy

_DATASET = "market"
_MOST_BYTES = 262_144
_WORKERS = 2
_SETS = ("reports", "adversarial")
_KEY = bytes(range(32))
_OTHER_RULES = 100
_REPEATS = 20
_MASKS = tuple(
    ColumnMask(ColumnRef(TableId(PROJECT, _DATASET, table), tuple(path)), "bench", DefaultMask())
    for table, *path in PROTECTED
)
_AGENT = Principal("https://issuer.example", "agent", "agent", "run", groups=("analysts",))


def _policy() -> Policy:
    """Give a policy that allows the sets and masks what is protected, among rules about others."""
    columns = [".".join(column) for column in PROTECTED]
    labels = "".join(f"  - {{label: pii, columns: [{column}]}}\n" for column in columns)
    others = "".join(
        f"  - {{name: other-{n}, agents: {{groups: [g{n}]}}, allow: [read]}}\n"
        for n in range(_OTHER_RULES)
    )
    mine = f"  - {{name: mine, resources: {{datasets: [{PROJECT}.{_DATASET}]}}, allow: [read]}}\n"
    mask = "  - {label: pii, mask: {kind: default}}\n"
    text = f"labels:\n{labels}masks:\n{mask}rules:\n{mine}{others}"
    return compile_policy({"bench.yaml": text})


class _Source:
    """The tables of the sets, as an `ObjectSource`."""

    def __init__(self) -> None:
        self._tables = tables()

    async def table(self, id: TableId) -> Table:  # noqa: A002 - the port's own word
        if id in self._tables:
            return self._tables[id]
        raise NotFoundError(f"Not found: Table {id}")

    async def routine(self, id: RoutineId) -> Routine:  # noqa: A002 - as above
        raise NotFoundError(f"Not found: Routine {id}")

    async def tables_like(self, id: TableId) -> tuple[Table, ...]:  # noqa: A002 - as above
        raise NotFoundError(f"Not found: Table {id}")


class _Measured:
    """Milliseconds of each step, query by query."""

    def __init__(self) -> None:
        self.analysis: list[float] = []
        self.proved: list[float] = []
        self.bare: list[float] = []
        self.cached: list[float] = []
        self.decided: list[float] = []
        self.refused = 0


async def measure(rounds: int) -> dict[str, object]:
    """Ask each query of both sets so many times, one after the other."""
    pool = EnginePool(EngineLimits(workers=_WORKERS, deadline=60), TASKS)
    await pool.start()
    engine, policy = Engine(), _policy()
    found: dict[str, object] = {"workers": _WORKERS, "rounds": rounds}
    try:
        for name in _SETS:
            measured = _Measured()
            for number in range(rounds + 1):
                # The first round is for what each worker does once: it is not counted.
                into = measured if number else _Measured()
                for query in queries(name):
                    await _ask(query.sql, pool, engine, into)
                    await _ask_again(query.sql, pool, policy, into)
            found[name] = _figures(measured)
            print(f"{name}: {found[name]}", flush=True)
    finally:
        await pool.close()
    return found


async def _ask(sql: str, pool: EnginePool, engine: Engine, into: _Measured) -> None:
    statement, source = Statement(sql, PROJECT, _DATASET, ()), _Source()

    async def analysed(analyst: Analyst) -> Analysed:
        return await analyst.analyse(statement, source)

    started = time.perf_counter()
    answer = await analysed(Analyst(pool, _MOST_BYTES))
    into.analysis.append(_since(started))
    try:
        await Rewriter(pool, always(_KEY)).rewrite(answer, _masks(answer))
        into.proved.append(_since(started))
    except KeystileError:
        into.refused += 1
    if answer.resolved and not answer.parts:
        request = ResolveRequest(answer.sql, answer.scope)
        started = time.perf_counter()
        resolved_tree(engine, request)
        into.bare.append(_since(started))


async def _ask_again(sql: str, pool: EnginePool, policy: Policy, into: _Measured) -> None:
    """Analyse and decide on a query that was asked before: the median of several times."""
    statement, source = Statement(sql, PROJECT, _DATASET, ()), _Source()
    analyst = RememberingAnalyst(pool, _MOST_BYTES)
    await analyst.analyse(statement, source)
    context = Context(PROJECT, datetime.now(UTC))
    cached, decided = [], []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        found = await analyst.analyse(statement, source)
        cached.append(_since(started))
        policy.decide(_AGENT, found.facts, found.tables, context)
        decided.append(_since(started))
    into.cached.append(median(cached))
    into.decided.append(median(decided))


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000


def _masks(analysed: Analysed) -> tuple[ColumnMask, ...]:
    used = {use.column for use in analysed.facts.columns}
    return tuple(mask for mask in _MASKS if any(_touches(mask.column, column) for column in used))


def _touches(masked: ColumnRef, used: ColumnRef) -> bool:
    depth = min(len(masked.path), len(used.path))
    return masked.table == used.table and masked.path[:depth] == used.path[:depth]


def _figures(measured: _Measured) -> dict[str, float]:
    bare = median(measured.bare)
    return {
        "queries": len(measured.analysis),
        "refused": measured.refused,
        "analysis_p50_ms": _part(measured.analysis, 0.5),
        "analysis_p99_ms": _part(measured.analysis, 0.99),
        "proved_p50_ms": _part(measured.proved, 0.5),
        "proved_p99_ms": _part(measured.proved, 0.99),
        "cached_p50_ms": _part(measured.cached, 0.5),
        "cached_decision_p50_ms": _part(measured.decided, 0.5),
        "bare_p50_ms": round(bare, 3),
        "analysis_over_bare": round(median(measured.analysis) / bare, 2),
        "proved_over_bare": round(median(measured.proved) / bare, 2),
    }


def _part(times: list[float], part: float) -> float:
    ordered = sorted(times)
    return round(ordered[min(len(ordered) - 1, int(part * len(ordered)))], 4)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench analysis", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    print(json.dumps(uvloop.run(measure(parser.parse_args().rounds))))


if __name__ == "__main__":
    main()
