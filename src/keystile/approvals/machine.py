"""The life of an approval request, as pure functions.

```
pending -> approved   when `demand.count` distinct people of the approvers have approved
        -> denied     when one of them denies
        -> expired    when its time is over
        -> cancelled  when its job is
```
INVARIANT: only `pending` has a way out, so an approval, a denial and an expiry are each final.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from keystile.model.decision import ApprovalDemand
from keystile.model.errors import RefusedError
from keystile.model.principal import Principal
from keystile.model.schema import Parameter


class ApprovalState(StrEnum):
    """Where a request stands."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Person(msgspec.Struct, frozen=True):
    """Someone who may decide, as the registry of people knows them. Never an agent."""

    name: str
    groups: tuple[str, ...] = ()


class Vote(msgspec.Struct, frozen=True):
    """What one person decided, through which door (`console` or `cli`) and when (epoch s)."""

    person: str
    approve: bool
    comment: str
    via: str
    at: float


class TouchedColumn(msgspec.Struct, frozen=True):
    """A column that the query uses: its labels, its uses, and what an approval does to it.

    `masked`: it stays masked though approved. `unlocked`: the approval shows it in clear.
    """

    column: str
    labels: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    masked: bool = False
    unlocked: bool = False


class Summary(msgspec.Struct, frozen=True):
    """What an approver sees: computed facts, never the agent's own words as fact.

    `into` is where the result goes, where the agent says so, with its dispositions. `uris` are the
    files that it reads or makes. `bytes` is the dry run's estimate, None where BigQuery makes none.
    `instead` is a query without the labelled columns that would need no approval, where one was
    found. INVARIANT: `rewritten_sql` has no hidden parameter's value.
    """

    sql: str
    parameters: tuple[Parameter, ...] = ()
    rewritten_sql: str = ""
    into: str = ""
    statement: str = ""
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    columns: tuple[TouchedColumn, ...] = ()
    bytes: int | None = None
    rule: str = ""
    reason: str = ""
    claims: dict[str, str] = {}
    instead: str = ""


class ApprovalRequest(msgspec.Struct, frozen=True):
    """One request. An approval authorises exactly what `digest` names, once, for `job`.

    Times are UTC seconds since the epoch.
    """

    id: str
    job: str
    digest: str
    session: str
    principal: Principal
    summary: Summary
    demand: ApprovalDemand
    state: ApprovalState
    requested_at: float
    expires_at: float
    closed_at: float | None = None
    votes: tuple[Vote, ...] = ()

    @property
    def missing(self) -> int:
        """How many more people must approve."""
        return max(0, self.demand.count - len(_approvers(self)))


def cast(request: ApprovalRequest, person: Person, vote: Vote) -> ApprovalRequest:
    """Give the request as it stands after `person`'s vote.

    A second vote of one person replaces the first: approving twice counts once, and who has
    approved may still deny. Raises `RefusedError` when the vote does not count.
    """
    if request.state is not ApprovalState.PENDING:
        raise RefusedError(f"the request `{request.id}` is {request.state} already")
    if vote.at >= request.expires_at:
        raise RefusedError(f"the request `{request.id}` has expired", hint="the agent may ask anew")
    # INVARIANT: only people of the demanded groups count, and nobody approves their own agent.
    if set(person.groups).isdisjoint(request.demand.approvers):
        raise RefusedError(
            f"`{person.name}` may not decide on `{request.id}`",
            hint=f"ask someone of {', '.join(request.demand.approvers)}",
        )
    own = {request.principal.agent, request.principal.subject, request.principal.on_behalf_of}
    if vote.approve and person.name in own:
        raise RefusedError(f"`{person.name}` may not approve what is asked on their own behalf")
    others = tuple(one for one in request.votes if one.person != person.name)
    voted = msgspec.structs.replace(request, votes=(*others, vote))
    if not vote.approve:
        return close(voted, ApprovalState.DENIED, vote.at)
    if voted.missing == 0:
        return close(voted, ApprovalState.APPROVED, vote.at)
    return voted


def close(request: ApprovalRequest, state: ApprovalState, now: float) -> ApprovalRequest:
    """Give the request in its final state. Raises `RefusedError` when it has one already."""
    if request.state is not ApprovalState.PENDING:
        raise RefusedError(f"the request `{request.id}` is {request.state} already")
    return msgspec.structs.replace(request, state=state, closed_at=now)


def _approvers(request: ApprovalRequest) -> set[str]:
    return {vote.person for vote in request.votes if vote.approve}
