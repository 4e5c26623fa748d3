"""Compiled rules: whom each is about, which tables, what it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from keystile.model.decision import ApprovalDemand, Effect, Limits
from keystile.model.facts import Action
from keystile.model.principal import Principal
from keystile.model.schema import TableId
from keystile.policy import document
from keystile.policy.conditions import Condition
from keystile.policy.patterns import ANY, Part, fit, names, parts, stand_in

Key = tuple[str, ...]
"""One thing that is true of a principal, such as `("group", "analytics")`."""

_DEPTH = 3


class Scope(msgspec.Struct, frozen=True):
    """The tables that a rule is about: full-name patterns of one, two or three parts.

    `exact` are the patterns without `*`, to be looked up instead of tried.
    Rules that protect ignore case, as datasets may; rules that permit do not.
    """

    patterns: tuple[tuple[Part, ...], ...]
    exact: frozenset[tuple[Part, ...]]
    ignore_case: bool

    def holds(self, table: TableId) -> bool:
        """Tell whether any pattern names the table, its dataset or its project."""
        full_name = self._spelt(table.project, table.dataset, table.table)
        exact = self.exact
        if full_name in exact or full_name[:2] in exact or full_name[:1] in exact:
            return True
        if len(exact) == len(self.patterns):
            return False
        return any(fit(pattern, full_name[: len(pattern)]) for pattern in self.patterns)

    def within(self, *home: str) -> Iterator[TableId]:
        """Yield names that stand for all tables of a project, or of a dataset, that it is about.

        Each is the `stand_in` of a pattern: what is true of it is true of every such table.
        """
        size, spelt = len(home), self._spelt(*home)
        for pattern in self.patterns:
            if fit(pattern[:size], spelt[: len(pattern)]):
                yield table_within(*home, *map(stand_in, pattern[size:]))

    def _spelt(self, *full_name: str) -> tuple[str, ...]:
        return tuple([name.casefold() for name in full_name]) if self.ignore_case else full_name


def table_within(*home: str) -> TableId:
    """Give the name that stands for all tables of what begins with these names."""
    return TableId(*home, *(ANY,) * (_DEPTH - len(home)))


class CompiledRule(msgspec.Struct, frozen=True):
    """One rule, ready to be asked. `scope` is None where it is about every table.

    One that limits has no effect of its own: `limits` are for whoever `limits_of` finds.
    """

    name: str
    effect: Effect | None
    message: str
    agents: tuple[tuple[Key, ...], ...]
    scope: Scope | None
    condition: Condition | None
    actions: frozenset[Action]
    unmask: frozenset[str]
    demand: ApprovalDemand | None = None
    limits: Limits | None = None


def keys_of(principal: Principal) -> list[Key]:
    """Give everything that `agents` can ask for."""
    return [
        ("name", principal.agent),
        ("subject", principal.subject),
        ("issuer", principal.issuer),
        ("service_account", principal.service_account),
        *[("group", group) for group in principal.groups],
        *[("attribute", name, value) for name, value in principal.attributes.items()],
    ]


def compile_agents(agents: document.Agents | None) -> tuple[tuple[Key, ...], ...]:
    """Turn the words into keys: of those of each word an agent has to have one."""
    if agents is None:
        return ()
    words: Mapping[str, tuple[str, ...] | None] = {
        "subject": agents.subjects,
        "name": agents.names,
        "service_account": agents.service_accounts,
        "group": agents.groups,
        "issuer": agents.issuers,
    }
    listed = [tuple((word, value) for value in values) for word, values in words.items() if values]
    exact = [(("attribute", name, value),) for name, value in (agents.attributes or {}).items()]
    return (*listed, *exact)


def compile_scope(resources: document.Resources | None, *, ignore_case: bool) -> Scope | None:
    """Compile full names. Raises `ValueError` with a sentence for the policy's author."""
    if resources is None:
        return None
    patterns = []
    for word, size in (("projects", 1), ("datasets", 2), ("tables", 3)):
        for text in getattr(resources, word) or ():
            split = names(text)
            if len(split) != size:
                form = ".".join(("project", "dataset", "table")[:size])
                raise ValueError(f"`{text}` under `{word}` is not of the form `{form}`")
            try:
                patterns.append(parts(split, ignore_case=ignore_case))
            except ValueError:
                raise ValueError(f"`{text}` under `{word}` has an empty or blank part") from None
    exact = frozenset(p for p in patterns if all(isinstance(part, str) for part in p))
    return Scope(tuple(dict.fromkeys(patterns)), exact, ignore_case)
