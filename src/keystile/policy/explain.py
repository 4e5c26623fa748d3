"""A decision and its facts as plain data, for `keystile policy explain --json` and the console."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from keystile.model.decision import Decision, Effect
from keystile.model.facts import QueryFacts

_TEXTS = re.compile(r"\b(JSON|STRING)\b")
"""What types of columns that hold texts have in their names."""


def explanation(facts: QueryFacts, decision: Decision) -> dict[str, Any]:
    """Give what the query does, what was decided and why: dicts, lists, texts and numbers only."""
    masked = {mask.column: mask for mask in decision.masks}
    return {
        "effect": str(decision.effect),
        "reasons": msgspec.to_builtins(decision.reasons),
        "approvals": msgspec.to_builtins(decision.approvals),
        "policy_digest": decision.policy_digest,
        "statement": facts.statement,
        "actions": [str(action) for action in facts.actions],
        "reads": [str(table) for table in facts.reads],
        "writes": [str(table) for table in facts.writes],
        "functions": list(facts.functions),
        "uris": list(facts.uris),
        "connections": list(facts.connections),
        "columns": [
            {
                "column": str(use.column),
                "uses": [str(how) for how in use.uses],
                "label": masked[use.column].label if use.column in masked else None,
                "mask": _mask(masked[use.column].mask) if use.column in masked else None,
            }
            for use in facts.columns
        ],
        "output": [
            {
                "name": column.name,
                "type": str(column.type),
                "sources": [str(source) for source in column.sources],
            }
            for column in facts.output
        ],
        "masks": [
            {"column": str(mask.column), "label": mask.label, "mask": _mask(mask.mask)}
            for mask in decision.masks
        ],
        "row_filters": [
            {"table": str(one.table), "rule": one.rule, "where": one.where}
            for one in decision.row_filters
        ],
        "detectors": [*_detectors(facts, decision)],
        "limits": msgspec.to_builtins(decision.limits),
        "shadows": msgspec.to_builtins(decision.shadows),
        "not_understood": msgspec.to_builtins(facts.opaque),
    }


def unseen_explanation(decision: Decision, told: str) -> dict[str, Any]:
    """Give why an agent may see nothing of what a query names, and hears what is `told`."""
    found = explanation(QueryFacts("", ()), decision)
    heard = {"rule": "not-found", "effect": str(Effect.DENY), "message": f"the agent hears: {told}"}
    nothing = {"instead": None, "rewritten_sql": None}
    if not any(reason.untold for reason in decision.reasons):
        return found | nothing
    return found | {"effect": "not_found", "reasons": [*found["reasons"], heard]} | nothing


def _mask(mask: Any) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(mask)
    return plain


def _detectors(facts: QueryFacts, decision: Decision) -> Iterator[dict[str, Any]]:
    """Say what is looked for in which columns of the result; None where that is in all of it.

    A column is left out that comes from nothing but what is masked or what the agent may see.
    """
    masked = {mask.column for mask in decision.masks}
    for one in decision.detections:
        passed = masked.union(one.shown)
        columns = [
            column.name
            for column in facts.output
            if _TEXTS.search(str(column.type))
            and not (column.sources and passed.issuperset(column.sources))
        ]
        yield {
            "rule": one.rule,
            "entity": one.entity,
            "label": one.label,
            "keeps_back": one.deny,
            "mask": None if one.deny else _mask(one.mask),
            "columns": columns if facts.statement == "SELECT" else None,
        }
