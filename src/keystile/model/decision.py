"""What policy decided, and why."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from keystile.model.masks import Mask
from keystile.model.schema import ColumnRef, TableId


class Effect(StrEnum):
    """The three outcomes of a decision."""

    ALLOW = "allow"
    DENY = "deny"
    REQUIRE_APPROVAL = "require_approval"


class Reason(msgspec.Struct, frozen=True, omit_defaults=True):
    """One rule that took part, its effect and the sentence that people see.

    INVARIANT: of one that is `untold` the agent hears nothing: it would tell what is hidden.
    """

    rule: str
    effect: Effect
    message: str
    untold: bool = False


class ColumnMask(msgspec.Struct, frozen=True):
    """A protected column that the query touches, the label that protects it and its mask."""

    column: ColumnRef
    label: str
    mask: Mask


class RowFilter(msgspec.Struct, frozen=True):
    """Of a table only those rows are read for which a predicate holds.

    `where` is SQL over the table's columns, as the policy has it. `agent` says what the words that
    begin with `agent.` stand for in it: `("attributes.region", "eu")`; for groups, several texts.
    """

    table: TableId
    rule: str
    where: str
    agent: tuple[tuple[str, str | tuple[str, ...]], ...] = ()


class Detection(msgspec.Struct, frozen=True):
    """What is looked for in the texts of a result, and what becomes of it.

    `entity` is one that is built in, or the policy's own with its `pattern`. Each value is replaced
    by what `mask` makes of it, or, with `deny`, keeps the result back. It is not looked for in what
    comes from nothing but the columns in `shown`: these are left out by the rule, or the agent may
    see what has the `label`.
    """

    rule: str
    entity: str
    mask: Mask
    label: str = ""
    pattern: str = ""
    deny: bool = False
    shown: tuple[ColumnRef, ...] = ()


class ApprovalDemand(msgspec.Struct, frozen=True):
    """Who must approve and for how long the request waits.

    `approvers` are groups of people; any `count` distinct people out of them suffice. `unmask` are
    labels that the approval unlocks. `expires_seconds` counts from the request.
    """

    rule: str
    approvers: tuple[str, ...]
    count: int
    expires_seconds: int
    unmask: tuple[str, ...] = ()


class Limits(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one rule lets somebody spend; None where it says nothing of that.

    `whose` is `agent`, `person` or `group`, and `holder` which one of them: all queries of a holder
    count together. Days and months are those of `time_zone`. Bytes are what BigQuery bills.
    `message` is the rule's own sentence.
    """

    rule: str
    whose: str
    holder: str
    time_zone: str = "UTC"
    bytes_per_query: int | None = None
    bytes_per_day: int | None = None
    bytes_per_month: int | None = None
    rows_per_query: int | None = None
    queries_per_minute: int | None = None
    concurrent_queries: int | None = None
    message: str = ""

    @property
    def account(self) -> str:
        """Name what is counted together. No name of a rule has a line break."""
        return f"{self.rule}\n{self.whose}\n{self.holder}"

    @property
    def amounts(self) -> dict[str, int]:
        """Everything that is limited, by the policy's word for it."""
        found = {word: getattr(self, word) for word in LIMIT_WORDS}
        return {word: amount for word, amount in found.items() if amount is not None}


LIMIT_WORDS = (
    "bytes_per_query",
    "bytes_per_day",
    "bytes_per_month",
    "rows_per_query",
    "queries_per_minute",
    "concurrent_queries",
)
"""What can be limited."""


class NewLabel(msgspec.Struct, frozen=True, order=True):
    """A label that a written column gets, and the column that its values and the label are from.

    `derived` tells that these are not the same values: see `Inherited`.
    """

    column: ColumnRef
    label: str
    source: ColumnRef
    derived: bool = False


class Would(StrEnum):
    """What something in shadow would have done to a query."""

    REFUSE = "refuse"
    ALLOW = "allow"
    ASK = "ask"
    UNMASK = "unmask"
    MASK = "mask"
    FILTER = "filter"
    NOTHING = "nothing"


class Shadow(msgspec.Struct, frozen=True):
    """What one rule, filter or mask in shadow would have done, were it alone in force beside all.

    `rule` is its name, `mask:LABEL` for a mask. `columns` are those that would be masked otherwise.
    `failed` tells that its condition could not be evaluated.
    """

    rule: str
    would: Would
    message: str = ""
    columns: tuple[str, ...] = ()
    failed: bool = False


class Decision(msgspec.Struct, frozen=True):
    """The answer to (principal, facts, context, policy snapshot). Never a bare bool.

    `masks` are those that hold when the query runs: for `REQUIRE_APPROVAL`, once approved. All
    demands in `approvals` must be met. `policy_digest` names the exact policy. Of `row_filters`
    with the same table all must hold, and so must all `limits`. `detections` are the second net,
    for what no label covers. INVARIANT: `shadows` have no part in anything that is done with a
    query.
    """

    effect: Effect
    reasons: tuple[Reason, ...]
    policy_digest: str
    masks: tuple[ColumnMask, ...] = ()
    approvals: tuple[ApprovalDemand, ...] = ()
    row_filters: tuple[RowFilter, ...] = ()
    limits: tuple[Limits, ...] = ()
    detections: tuple[Detection, ...] = ()
    shadows: tuple[Shadow, ...] = ()
