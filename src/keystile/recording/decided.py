"""What policy decided on a query, and what that rested on, as recordings have it."""

from __future__ import annotations

from typing import Any

import msgspec


class RuleBody(msgspec.Struct, frozen=True, kw_only=True):
    """One rule that took part in a decision. Of one that is `untold` the agent heard nothing."""

    rule: str = ""
    effect: str = ""
    message: str = ""
    untold: bool = False


class MaskBody(msgspec.Struct, frozen=True, kw_only=True):
    """A column that the query uses and policy masks; `mask` is the mask as policies write it."""

    column: str = ""
    label: str = ""
    mask: dict[str, Any] = {}


class RowFilterBody(msgspec.Struct, frozen=True, kw_only=True):
    """A row filter on a table; `where` is the condition as the policy has it."""

    table: str = ""
    rule: str = ""
    where: str = ""


class DemandBody(msgspec.Struct, frozen=True, kw_only=True):
    """An approval that a rule asks for: `count` people of the groups `approvers`."""

    rule: str = ""
    approvers: tuple[str, ...] = ()
    count: int = 1
    expires_seconds: int = 0
    unmask: tuple[str, ...] = ()


class ShadowBody(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule, filter or mask in shadow would have done, alone beside all that is enforced.

    `would` is `refuse`, `allow`, `ask`, `unmask`, `mask`, `filter` or `nothing`; `columns` would be
    masked otherwise; `failed` tells that the condition could not be evaluated.
    """

    rule: str = ""
    would: str = ""
    message: str = ""
    columns: tuple[str, ...] = ()
    failed: bool = False

    @property
    def words(self) -> str:
        """Say it for a reader: `would refuse: nothing leaves`."""
        told = "" if self.would == "nothing" else f"would {self.would}"
        failed = "its condition could not be evaluated" if self.failed else ""
        said = ", ".join(filter(None, (told, failed)))
        more = ", ".join(self.columns) or self.message
        return f"{said}: {more}" if more else said


class DecisionBody(msgspec.Struct, frozen=True, kw_only=True):
    """What policy decided: `effect` is `allow`, `deny` or `require_approval`.

    `masks` are those of the columns that the query uses; `protection` is a digest of all masks and
    row filters, whatever they are on. `limits` are what may be spent, by rule.
    `detectors` has a digest of what is done with each entity that is looked for in the result.
    """

    effect: str = ""
    rules: tuple[RuleBody, ...] = ()
    policy_digest: str = ""
    limits: tuple[dict[str, Any], ...] = ()
    masks: tuple[MaskBody, ...] = ()
    approvals: tuple[DemandBody, ...] = ()
    row_filters: tuple[RowFilterBody, ...] = ()
    protection: str = ""
    detectors: dict[str, str] = {}
    shadows: tuple[ShadowBody, ...] = ()


class RestsOnBody(msgspec.Struct, frozen=True, kw_only=True):
    """What a decision rested on beside the query and the agent, so that it can be made again.

    `context` is the request's (`keystile.policy.context`), with the time of the decision. `objects`
    maps the full name of each table, view and routine to the digest of its `schema` event. `beside`
    tells that the query reads results of earlier queries, or tables beside them, which are on
    record nowhere else.
    """

    context: dict[str, Any] | None = None
    objects: dict[str, str] = {}
    beside: bool = False
