"""Tests of a policy: what stands in a `*.test.yaml` file, and how it is compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from keystile.model.decision import Would
from keystile.model.masks import Mask
from keystile.policy.document import Bytes, Section, Text

EffectWord = Literal["allow", "deny", "require_approval", "not_found"]


class Part(Section, frozen=True, kw_only=True):
    """Base of what stands in a file of tests."""


class Asking(Part, frozen=True, kw_only=True):
    """The agent that asks. What is left out is empty, as in a token that does not say it.

    `address` is where it asks from, `client` what its `User-Agent` says.
    """

    name: Text = "test-agent"
    issuer: str = ""
    subject: str = ""
    service_account: str = ""
    on_behalf_of: str = ""
    address: str = ""
    client: str = ""
    groups: tuple[Text, ...] = ()
    attributes: dict[Text, str] = msgspec.field(default_factory=dict)


class Column(Part, frozen=True, kw_only=True):
    """A column with policy tags; without them its type alone will do."""

    type: Text
    policy_tags: tuple[Text, ...] = ()
    description: str = ""


class Expected(Part, frozen=True, kw_only=True):
    """What is to come out. What is left out is not compared.

    `masked` are all columns that the query uses and the agent sees masked, those beneath views too;
    `masks` says of some of them how; `row_filters` are all that apply, `limits` all rules whose
    limits do; `rules` are among the reasons, and `message` is in the text that the agent sees.
    `shadows` are all rules in shadow that would have done something, with what: the word of
    `Would`. An object that is hidden or absent gives `not_found`.
    """

    effect: EffectWord
    masked: tuple[Text, ...] | None = None
    masks: dict[Text, Mask] | None = None
    rules: tuple[Text, ...] | None = None
    row_filters: tuple[Text, ...] | None = None
    limits: tuple[Text, ...] | None = None
    shadows: dict[Text, Would] | None = None
    message: str = ""


class PolicyTest(Part, frozen=True, kw_only=True):
    """One query of one agent, who has used nothing of any limit.

    `estimate` is what BigQuery's dry run would say that the query reads, such as `60GB`; `time` is
    when it is asked, with its time zone: now, where it is left out.
    """

    name: Text
    sql: Text
    expect: Expected
    agent: Asking = Asking()
    estimate: Bytes = "0B"
    time: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class PolicyTests(Part, frozen=True, kw_only=True):
    """One file of tests.

    `tables` and `views` are all that there is. Types are GoogleSQL's, such as
    `ARRAY<STRUCT<name STRING>>`. `project` is that of names without one.
    """

    project: Text
    tables: dict[Text, dict[Text, Text | Column]] = msgspec.field(default_factory=dict)
    views: dict[Text, Text] = msgspec.field(default_factory=dict)
    tests: Annotated[tuple[PolicyTest, ...], msgspec.Meta(min_length=1)]


class Outcome(NamedTuple):
    """What came out of a query. Columns are `project.dataset.table.column`."""

    effect: str
    message: str = ""
    masks: tuple[tuple[str, Mask], ...] = ()
    rules: tuple[str, ...] = ()
    row_filters: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    shadows: tuple[tuple[str, Would], ...] = ()


def json_schema() -> dict[str, Any]:
    """Give the JSON Schema of a file, for editors; `tests.schema.json` beside this one holds it."""
    return {"title": "Keystile policy tests", **msgspec.json.schema(PolicyTests)}


def differences(expected: Expected, found: Outcome, project: str) -> tuple[str, ...]:
    """Say in a line each what is not as expected; `project` is that of names without one."""
    lines = []
    if found.effect != expected.effect:
        lines.append(f"effect: expected `{expected.effect}`, got `{found.effect}`")
    lines += _masking(expected, dict(found.masks), project)
    if expected.rules is not None:
        lines += _missing("rules", {*expected.rules} - {*found.rules})
    if expected.row_filters is not None:
        lines += _compared("row_filters", {*expected.row_filters}, {*found.row_filters})
    if expected.limits is not None:
        lines += _compared("limits", {*expected.limits}, {*found.limits})
    if expected.shadows is not None:
        lines += _compared("shadows", _said(expected.shadows.items()), _said(found.shadows))
    if expected.message not in found.message:
        lines.append(f"message: expected `{expected.message}` in it")
    if lines and found.message:
        lines.append(f"the agent sees: {found.message}")
    return tuple(lines)


def _masking(expected: Expected, found: Mapping[str, Mask], project: str) -> Iterator[str]:
    def full(name: str) -> str:
        return name if name in found else f"{project}.{name}"

    if expected.masked is not None:
        yield from _compared("masked", {full(name) for name in expected.masked}, {*found})
    for name, mask in (expected.masks or {}).items():
        if (other := found.get(full(name))) != mask:
            got = f"got `{_word(other)}`" if other else "which is not masked"
            yield f"masks: expected `{_word(mask)}` on `{full(name)}`, {got}"


def _word(mask: Mask) -> str:
    return msgspec.json.encode(mask).decode()


def _said(shadows: Iterable[tuple[str, Would]]) -> set[str]:
    return {f"{rule}: {would}" for rule, would in shadows}


def _compared(word: str, expected: set[str], found: set[str]) -> list[str]:
    strange = [f"{word}: `{name}` was not expected" for name in sorted(found - expected)]
    return _missing(word, expected - found) + strange


def _missing(word: str, names: set[str]) -> list[str]:
    return [f"{word}: expected `{name}`, which is not there" for name in sorted(names)]
