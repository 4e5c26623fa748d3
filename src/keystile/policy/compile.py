"""Documents to an immutable `Policy`; everything that could be wrong with them is found here."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from keystile.model.decision import ApprovalDemand, Effect, Limits
from keystile.model.errors import UnsafeConfigurationError
from keystile.model.facts import Action
from keystile.model.masks import KEYED, Mask, SqlMask
from keystile.policy.conditions import WORDS, Condition, Conditions, UnknownLabelError
from keystile.policy.connections import CompiledConnection, ConnectionRules
from keystile.policy.detectors import compile_detectors, labels_of
from keystile.policy.document import Document, RowFiltering, Rule, seconds
from keystile.policy.filters import CompiledFilter, RowFilters, compile_filter
from keystile.policy.includes import refuse_includes
from keystile.policy.labels import Labeller, ancestors
from keystile.policy.limits import compile_limits
from keystile.policy.masks import problem
from keystile.policy.parse import Parsed, parse, suggestion
from keystile.policy.policy import NOT_UNDERSTOOD, Policy
from keystile.policy.protection import PlacedKey, PlacedMask, Protection
from keystile.policy.question import DEFAULT_DENY
from keystile.policy.rules import CompiledRule, compile_agents, compile_scope
from keystile.policy.shadow import ShadowFilter, ShadowMask, Shadows
from keystile.policy.useless import useless

_UNDECLARED = re.compile("undeclared reference to '(.+?)'")
_EFFECTS = ("allow", "deny", "require_approval", "limits")


def compile_policy(documents: Mapping[str, str]) -> Policy:
    """Compile a policy from YAML texts by file name; the union counts, their order means nothing.

    Raises `UnsafeConfigurationError` with file, line and, where one is near, the word meant.
    """
    policy, placed = assembled(documents)
    for found in useless([(one.rule, one.compiled) for one in placed]):
        one = placed[found.number]
        raise one.file.error(f"{one.at}.{found.word}", found.message, found.hint)
    return policy


class Placed(NamedTuple):
    """A rule, or a row filter in the form of one, and where it stands."""

    file: Parsed
    at: str
    rule: Rule | RowFiltering
    compiled: CompiledRule


def assembled(documents: Mapping[str, str]) -> tuple[Policy, list[Placed]]:
    """Compile a policy, and give its rules and filters. That each applies is not looked at.

    Raises `UnsafeConfigurationError` as `compile_policy` does.
    """
    files = [parse(file, text) for file, text in sorted(documents.items())]
    refuse_includes(files)
    labeller = Labeller()
    known = {label for file in files for label in _add_labels(file, labeller)}
    known.update(label for file in files for label in labels_of(file))
    masks: dict[str, list[Mask]] = {}
    placed: list[PlacedMask] = []
    shadow_masks: dict[str, list[Mask]] = {}
    for file in files:
        _add_masks(file, known, (masks, shadow_masks), placed)
    conditions = Conditions(known)
    rules = _rules(files, known, conditions)
    filters: dict[str, CompiledFilter] = {}
    placed_filters = []
    for file in files:
        for number, entry in enumerate(file.document.row_filters):
            at = f"$.row_filters[{number}]"
            if entry.name in filters or entry.name in rules:
                raise file.error(
                    f"{at}.name", f"rule name `{entry.name}` is taken", "choose another"
                )
            compiled = filters[entry.name] = compile_filter(file, at, entry)
            placed_filters.append(Placed(file, at, entry, compiled.as_rule()))
    protection = Protection(labeller, masks, placed)
    connections = _connections(files, {*rules, *filters})
    taken = {*rules, *filters, *(one.name for one in connections)}
    in_shadow = {one.name for file in files for one in file.document.rules if one.shadow}
    in_shadow |= {one.name for file in files for one in file.document.row_filters if one.shadow}
    enforced = [filters[name] for name in sorted(filters) if name not in in_shadow]
    policy = Policy(
        _digest(file.document for file in files),
        [rules[name].compiled for name in sorted(rules) if name not in in_shadow],
        protection,
        RowFilters(enforced),
        ConnectionRules(connections),
        compile_detectors(files, taken, protection),
        Shadows(
            tuple(rules[name].compiled for name in sorted(rules) if name in in_shadow),
            tuple(
                ShadowFilter(filters[name], RowFilters([*enforced, filters[name]]))
                for name in sorted(filters)
                if name in in_shadow
            ),
            tuple(
                ShadowMask(
                    f"mask:{label}",
                    Protection(
                        labeller, {**masks, label: [*masks.get(label, ()), *several]}, placed
                    ),
                )
                for label, several in sorted(shadow_masks.items())
            ),
        ),
        [*_named_keys(files)],
    )
    return policy, [*rules.values(), *placed_filters]


def _rules(files: Iterable[Parsed], known: set[str], conditions: Conditions) -> dict[str, Placed]:
    rules: dict[str, Placed] = {}
    for file in files:
        for number, rule in enumerate(file.document.rules):
            at = f"$.rules[{number}]"
            if rule.name in rules or rule.name in {DEFAULT_DENY, NOT_UNDERSTOOD}:
                message = f"rule name `{rule.name}` is taken"
                raise file.error(f"{at}.name", message, "choose another")
            compiled = _RuleCompiler(file, at, known, conditions).compile(rule)
            rules[rule.name] = Placed(file, at, rule, compiled)
    return rules


def _connections(files: Iterable[Parsed], taken: set[str]) -> list[CompiledConnection]:
    found: dict[str, CompiledConnection] = {}
    for file in files:
        for number, entry in enumerate(file.document.connections):
            at = f"$.connections[{number}]"
            if entry.name in taken or entry.name in found:
                raise file.error(
                    f"{at}.name", f"rule name `{entry.name}` is taken", "choose another"
                )
            if not any(msgspec.structs.astuple(entry.agents)):
                message = "`agents` names nothing"
                raise file.error(f"{at}.agents", message, "say whom it is about")
            agents = compile_agents(entry.agents)
            found[entry.name] = CompiledConnection(entry.name, agents, entry.connection)
    return [found[name] for name in sorted(found)]


def _add_labels(file: Parsed, labeller: Labeller) -> Iterable[str]:
    """Add a file's labels; give each one and all above it."""
    known: set[str] = set()
    for number, entry in enumerate(file.document.labels):
        at = f"$.labels[{number}]"
        if not (entry.columns or entry.policy_tags or entry.descriptions):
            message = f"label `{entry.label}` is put on nothing"
            raise file.error(at, message, "give `columns`, `policy_tags` or `descriptions`")
        adders: tuple[tuple[str, Callable[[str, str], None], tuple[str, ...]], ...] = (
            ("columns", labeller.add_columns, entry.columns),
            ("policy_tags", labeller.add_policy_tags, entry.policy_tags),
            ("descriptions", labeller.add_description, entry.descriptions),
        )
        for word, add, patterns in adders:
            for index, pattern in enumerate(patterns):
                try:
                    add(entry.label, pattern)
                except ValueError:
                    message = f"pattern `{pattern}` has an empty or blank part"
                    raise file.error(f"{at}.{word}[{index}]", message) from None
        known.update(ancestors(entry.label))
    return known


def _add_masks(
    file: Parsed,
    known: set[str],
    masks: tuple[dict[str, list[Mask]], dict[str, list[Mask]]],
    placed: list[PlacedMask],
) -> None:
    for number, entry in enumerate(file.document.masks):
        at = f"$.masks[{number}]"
        _check_label(file, f"{at}.label", entry.label, known)
        mask = entry.mask
        if found := problem(mask):
            word, message, hint = found
            raise file.error(f"{at}.mask.{word}", message, hint)
        if isinstance(mask, SqlMask):
            placed.append(PlacedMask(file.place(f"{at}.mask.expression"), mask))
        masks[entry.shadow].setdefault(entry.label, []).append(mask)


def _named_keys(files: Iterable[Parsed]) -> Iterator[PlacedKey]:
    """Yield each name of a masking key; masks in shadow would need theirs once they hold."""
    for file in files:
        for word in ("masks", "detectors"):
            for number, entry in enumerate(getattr(file.document, word)):
                if isinstance(entry.mask, KEYED) and entry.mask.key:
                    place = file.place(f"$.{word}[{number}].mask.key")
                    yield PlacedKey(place, entry.mask.key)


def _check_label(file: Parsed, at: str, label: str, known: set[str]) -> None:
    # INVARIANT: a label that nothing carries is an error: a misspelt one would protect nothing.
    if label not in known:
        raise file.error(at, f"unknown label `{label}`", suggestion(label, list(known)))


class _RuleCompiler:
    """Compiles one rule, whose place in `file` is `at`."""

    def __init__(self, file: Parsed, at: str, known: set[str], conditions: Conditions) -> None:
        self._file = file
        self._at = at
        self._known = known
        self._conditions = conditions

    def compile(self, rule: Rule) -> CompiledRule:
        effect = self._effect(rule)
        self._check_unmask(rule)
        for word in ("agents", "resources"):
            section = getattr(rule, word)
            if section is not None and not any(msgspec.structs.astuple(section)):
                raise self._error(word, f"`{word}` names nothing", "leave it out to mean all")
        condition = None if rule.when is None else self._condition(rule.when)
        if condition and condition.asks_bytes and (rule.unmask or _unmasking(rule)):
            # INVARIANT: what is hidden is settled before anybody knows what the text then reads.
            message = "`query.bytes` does not go with `unmask`: what is shown decides what is read"
            raise self._error("when", message, "ask for the size in a rule of its own")
        try:
            scope = compile_scope(rule.resources, ignore_case=effect is not Effect.ALLOW)
        except ValueError as error:
            raise self._error("resources", str(error), "use `*` for any") from error
        return CompiledRule(
            name=rule.name,
            effect=effect,
            message=rule.message,
            agents=compile_agents(rule.agents),
            scope=scope,
            condition=condition,
            actions=frozenset(rule.allow or rule.deny or Action),
            unmask=frozenset(rule.unmask),
            demand=_demand(rule),
            limits=self._limits(rule),
        )

    def _limits(self, rule: Rule) -> Limits | None:
        if rule.limits and rule.shadow:
            hint = "see what they would do with `keystile policy simulate`"
            raise self._error("shadow", "`shadow` does not go with `limits`", hint)
        try:
            return compile_limits(rule)
        except ValueError as error:
            raise self._error("limits", str(error)) from error

    def _effect(self, rule: Rule) -> Effect | None:
        given = [word for word in _EFFECTS if getattr(rule, word) is not None]
        if len(given) != 1:
            has = f"both `{given[0]}` and `{given[1]}`" if given else "no effect"
            hint = "give exactly one of `allow`, `deny`, `require_approval` and `limits`"
            raise self._error("name", f"rule `{rule.name}` has {has}", hint)
        return None if rule.limits else Effect(given[0])

    def _check_unmask(self, rule: Rule) -> None:
        for label in rule.unmask:
            _check_label(self._file, f"{self._at}.unmask", label, self._known)
        if rule.unmask and Action.READ not in (rule.allow or ()):
            message = "`unmask` is given without `allow: [read]`"
            raise self._error("unmask", message, "values are shown by reading them")
        if rule.require_approval:
            for label in rule.require_approval.unmask:
                at = f"{self._at}.require_approval.unmask"
                _check_label(self._file, at, label, self._known)

    def _condition(self, text: str) -> Condition:
        try:
            return self._conditions.compile(text)
        except UnknownLabelError as error:
            hint = suggestion(error.label, list(self._known))
            raise self._error("when", str(error), hint) from error
        except ValueError as error:
            unknown = _UNDECLARED.search(str(error))
            hint = suggestion(unknown[1], [*WORDS]) if unknown else ""
            raise self._error("when", f"`when` {error}", hint) from error

    def _error(self, word: str, message: str, hint: str = "") -> UnsafeConfigurationError:
        hint = hint or "see docs/reference/policy.md"
        return self._file.error(f"{self._at}.{word}", message, hint)


def _unmasking(rule: Rule) -> bool:
    return bool(rule.require_approval and rule.require_approval.unmask)


def _demand(rule: Rule) -> ApprovalDemand | None:
    approval = rule.require_approval
    if approval is None:
        return None
    return ApprovalDemand(
        rule=rule.name,
        approvers=approval.approvers,
        count=approval.count,
        expires_seconds=seconds(approval.expires),
        unmask=approval.unmask,
    )


def _digest(documents: Iterable[Document]) -> str:
    """Hash what the documents say; files, order, comments and layout do not count."""
    union = [
        sorted(
            msgspec.json.encode([word, entry], order="deterministic")
            for document in documents
            for word in ("labels", "masks", "rules", "row_filters", "connections", "detectors")
            for entry in getattr(document, word)
        )
    ]
    return hashlib.sha256(b"keystile-policy-1\n" + b"\n".join(*union)).hexdigest()
