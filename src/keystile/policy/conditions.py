"""CEL conditions: the words they may use, checked when the policy is compiled.

The language is the Common Expression Language (https://cel.dev) with its standard functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

import msgspec
from cel_expr_python import cel

from keystile.model.facts import QueryFacts
from keystile.model.principal import Principal
from keystile.policy.context import Context
from keystile.policy.expressions import BOOL, compiled, evaluated, whole

_TEXT = cel.Type.STRING
_TEXTS = cel.Type.List(_TEXT)
# What `query.touches(…)` is called on: three lists of labels, in the order of `_FUNCTIONS`.
_LABELS = cel.Type.List(_TEXTS)
_FUNCTIONS = ("touches", "outputs", "filters")
_LABEL_ARGUMENT = re.compile(r"""\.\s*(?:touches|outputs|filters)\s*\(\s*(["'])([^"']*)\1\s*\)""")

_AGENT_WORDS: dict[str, Any] = {
    "agent.name": _TEXT,
    "agent.groups": _TEXTS,
    "agent.attributes": cel.Type.Map(_TEXT, _TEXT),
    "agent.service_account": _TEXT,
    "agent.issuer": _TEXT,
    "agent.subject": _TEXT,
    "agent.on_behalf_of": _TEXT,
    "request.project": _TEXT,
    "request.time": cel.Type.TIMESTAMP,
    "request.dry_run": cel.Type.BOOL,
}
_QUERY_WORDS: dict[str, Any] = {
    "query": _LABELS,
    "query.statement": _TEXT,
    "query.actions": _TEXTS,
    "query.tables": _TEXTS,
    "query.functions": _TEXTS,
    "query.uris": _TEXTS,
    "query.connections": _TEXTS,
}

Activation = Any
"""Values of the words for one request, as the CEL runtime holds them."""


class TouchedLabels(msgspec.Struct, frozen=True):
    """Labels, and all labels above them, on the columns that a query uses.

    `touches`: any use; `outputs`: part of a result's value; `filters`: decides which rows appear.
    """

    touches: frozenset[str] = frozenset()
    outputs: frozenset[str] = frozenset()
    filters: frozenset[str] = frozenset()


class Condition(msgspec.Struct, frozen=True):
    """A compiled condition. `about_query` is False where it asks only for agent and request."""

    text: str
    about_query: bool
    expression: Any

    def holds(self, activation: Activation) -> bool | None:
        """Evaluate; None where that fails, for example for an attribute that the agent lacks."""
        try:
            value = evaluated(self.expression, activation)
        except ValueError:
            return None
        return value if isinstance(value, bool) else None


class Conditions:
    """Compiles and evaluates the conditions of one policy, which knows these `labels`."""

    def __init__(self, labels: Collection[str]) -> None:
        """Declare the words. `labels` holds each declared label and all above it."""
        self._known = frozenset(labels)
        self._about_agent = cel.NewEnv(variables=_AGENT_WORDS)
        self._about_query = cel.NewEnv(
            variables=_AGENT_WORDS | _QUERY_WORDS,
            functions=[
                cel.FunctionDecl(
                    name,
                    [
                        cel.Overload(
                            f"query_{name}",
                            return_type=cel.Type.BOOL,
                            parameters=[_LABELS, _TEXT],
                            is_member=True,
                            impl=self._asks_for(number),
                        )
                    ],
                )
                for number, name in enumerate(_FUNCTIONS)
            ],
        )

    def compile(self, text: str) -> Condition:
        """Type-check one condition. Raises `ValueError` with a sentence for the policy's author."""
        expression = compiled(self._about_query, text, BOOL)
        for argument in _LABEL_ARGUMENT.finditer(text):
            if argument[2] not in self._known:
                raise UnknownLabelError(argument[2])
        try:
            compiled(self._about_agent, text, BOOL)
        except ValueError:
            return Condition(text, about_query=True, expression=expression)
        return Condition(text, about_query=False, expression=expression)

    def activation(
        self, principal: Principal, facts: QueryFacts, labels: TouchedLabels, context: Context
    ) -> Activation:
        """Bind the words to one request."""
        return self._about_query.Activation(
            {
                "agent.name": principal.agent,
                "agent.groups": list(principal.groups),
                "agent.attributes": principal.attributes,
                "agent.service_account": principal.service_account,
                "agent.issuer": principal.issuer,
                "agent.subject": principal.subject,
                "agent.on_behalf_of": principal.on_behalf_of,
                "request.project": whole(context.project),
                "request.time": context.time,
                "request.dry_run": context.dry_run,
                "query": [sorted(getattr(labels, name)) for name in _FUNCTIONS],
                "query.statement": facts.statement,
                "query.actions": [str(action) for action in facts.actions],
                "query.tables": [
                    whole(str(table)) for table in sorted({*facts.reads, *facts.writes})
                ],
                "query.functions": [whole(name) for name in facts.functions],
                "query.uris": [whole(uri) for uri in facts.uris],
                "query.connections": [whole(name) for name in facts.connections],
            }
        )

    def _asks_for(self, number: int) -> Callable[[list[list[str]], str], bool]:
        def asks(labels: list[list[str]], label: str) -> bool:
            if label not in self._known:  # computed, so not seen when compiled: an error, not False
                raise UnknownLabelError(label)
            return label in labels[number]

        return asks


class UnknownLabelError(ValueError):
    """A condition names a label that no document declares."""

    def __init__(self, label: str) -> None:
        """Keep the label for a suggestion."""
        super().__init__(f"unknown label `{label}`")
        self.label = label
