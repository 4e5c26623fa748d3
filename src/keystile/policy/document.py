"""The words of a policy document. Every unknown word is refused, here and in the JSON Schema."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec

from keystile.model.facts import Action
from keystile.model.masks import Mask

Text = Annotated[str, msgspec.Meta(min_length=1)]
Texts = Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)]
LabelName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_-]+(\.[a-z0-9_-]+)*$")]
RuleName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
EntityName = Literal["api_key", "card", "email", "iban", "ip", "jwt", "phone", "ssn"]
OwnEntity = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Actions = Annotated[tuple[Action, ...], msgspec.Meta(min_length=1)]
Duration = Annotated[str, msgspec.Meta(pattern=r"^[1-9][0-9]{0,5}[smhd]$")]
Bytes = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,6} ?([KMGTP]i?)?B$")]
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000_000)]

_SIZE = re.compile(r"([0-9]+) ?([KMGTP]?)(i?)B")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every section: an unknown word in the file is an error, not a silent nothing."""


class Labelling(Section, frozen=True, kw_only=True):
    """What carries `label`: columns by name pattern, or by what BigQuery holds of them.

    `columns` are `project.dataset.table.column.path` patterns, matched from the end, so leading
    parts may be left out. `policy_tags` are `projects/…/policyTags/…` patterns. `descriptions` are
    texts that a column's description contains, in upper or lower case.
    """

    label: LabelName
    columns: tuple[Text, ...] = ()
    policy_tags: tuple[Text, ...] = ()
    descriptions: tuple[Text, ...] = ()


class Masking(Section, frozen=True, kw_only=True):
    """How columns with `label`, or one below it, look to an agent with no right to the values.

    A `shadow` one is evaluated and recorded, and masks nothing.
    """

    label: LabelName
    mask: Mask
    shadow: bool = False


class Agents(Section, frozen=True, kw_only=True):
    """Whom a rule is about. Every word given must fit; within a word any one value suffices.

    `attributes` asks for exact values, all of them.
    """

    groups: Texts | None = None
    names: Texts | None = None
    subjects: Texts | None = None
    issuers: Texts | None = None
    service_accounts: Texts | None = None
    attributes: Annotated[dict[Text, str], msgspec.Meta(min_length=1)] | None = None


class Resources(Section, frozen=True, kw_only=True):
    """Which tables a rule is about: those that any entry of any list names.

    Entries are full names (`project`, `project.dataset`, `project.dataset.table`); `*` stands for
    any characters within one part.
    """

    projects: Texts | None = None
    datasets: Texts | None = None
    tables: Texts | None = None


class RequireApproval(Section, frozen=True, kw_only=True):
    """Any `count` distinct people of the groups in `from` must approve within `expires`.

    `unmask` are labels whose values the approval shows.
    """

    approvers: Texts = msgspec.field(name="from")
    count: Annotated[int, msgspec.Meta(ge=1)] = 1
    expires: Duration = "30m"
    unmask: tuple[LabelName, ...] = ()


class Limiting(Section, frozen=True, kw_only=True):
    """How much may be spent: at least one amount.

    `per` says whose queries count together: those of each `agent`; of each `person`, by whichever
    agents; or of each `group` that `agents` names, all its members together. Days and months begin
    at midnight in `time_zone`, an IANA name.
    """

    per: Literal["agent", "person", "group"] = "agent"
    time_zone: Text = "UTC"
    bytes_per_query: Bytes | None = None
    bytes_per_day: Bytes | None = None
    bytes_per_month: Bytes | None = None
    rows_per_query: Count | None = None
    queries_per_minute: Count | None = None
    concurrent_queries: Count | None = None


class Rule(Section, frozen=True, kw_only=True):
    """One rule: whom and what it is about, when it holds, and exactly one effect.

    The effect is one of `allow`, `deny` (lists of actions), `require_approval` and `limits`.
    `unmask` goes with `allow` only. `message` is the sentence that the agent sees. A `shadow` rule
    is evaluated and recorded, and changes nothing.
    """

    name: RuleName
    agents: Agents | None = None
    resources: Resources | None = None
    when: Text | None = None
    allow: Actions | None = None
    deny: Actions | None = None
    require_approval: RequireApproval | None = None
    limits: Limiting | None = None
    unmask: tuple[LabelName, ...] = ()
    message: str = ""
    shadow: bool = False


class RowFiltering(Section, frozen=True, kw_only=True):
    """Of `tables` the `agents` see only rows for which `where` holds.

    `where` is an SQL predicate over the table's own columns. In it `agent.attributes.NAME`,
    `agent.name`, `agent.subject`, `agent.issuer`, `agent.service_account` and
    `agent.on_behalf_of` are texts, and `agent.groups` is an array of texts. A `shadow` one is
    evaluated and recorded, and filters nothing.
    """

    name: RuleName
    agents: Agents | None = None
    tables: Texts
    where: Text
    shadow: bool = False


class Connecting(Section, frozen=True, kw_only=True):
    """The queries of `agents` run at BigQuery under the gateway's `connection` of this name.

    Agents that no entry is about use the default connection. Of an agent that several are about,
    all must name the same one.
    """

    name: RuleName
    agents: Agents
    connection: Text


class Exempt(Section, frozen=True, kw_only=True):
    """Where nothing is looked for: tables, named as in `resources`, and columns, as in `labels`."""

    projects: Texts | None = None
    datasets: Texts | None = None
    tables: Texts | None = None
    columns: Texts | None = None


class Detecting(Section, frozen=True, kw_only=True):
    """What is looked for in texts that no label masks, and what becomes of it.

    `find` names entities that are built in, `patterns` maps entities of the policy's own to regular
    expressions. What is found is masked as columns with `label` are, or as `mask` says, or becomes
    the entity's name, such as `[SSN]`; with `deny` it keeps the result back. Agents with a right to
    see what has the label see it, and so does everyone in what `except` names.
    """

    name: RuleName
    agents: Agents | None = None
    find: tuple[EntityName, ...] = ()
    patterns: dict[OwnEntity, Text] = {}
    label: LabelName = ""
    mask: Mask | None = None
    deny: bool = False
    exempt: Exempt | None = msgspec.field(name="except", default=None)


class Document(Section, frozen=True, kw_only=True):
    """One YAML file. A policy is the union of its files; their order means nothing.

    `include` names files and folders that belong to it, as this one's folder sees them.
    """

    include: tuple[Text, ...] = ()

    labels: tuple[Labelling, ...] = ()
    masks: tuple[Masking, ...] = ()
    rules: tuple[Rule, ...] = ()
    row_filters: tuple[RowFiltering, ...] = ()
    connections: tuple[Connecting, ...] = ()
    detectors: tuple[Detecting, ...] = ()


def seconds(duration: str) -> int:
    """Turn a `Duration` such as `30m` into seconds."""
    return int(duration[:-1]) * _SECONDS[duration[-1]]


def byte_count(size: str) -> int:
    """Turn `Bytes` such as `50GB` (10⁹ each) or `50GiB` (2³⁰ each) into a number."""
    number, prefix, binary = _SIZE.findall(size)[0]
    unit: int = (1024 if binary else 1000) ** " KMGTP".index(prefix or " ")
    return int(number) * unit


def json_schema() -> dict[str, Any]:
    """Give the JSON Schema of a document, for editors; `schema.json` beside this file holds it."""
    return {"title": "Keystile policy", **msgspec.json.schema(Document)}
