"""A plan: what will run, decided and proved, and the digest that an approval binds to."""

from __future__ import annotations

import hashlib

import msgspec

from keystile.gate.basis import Basis, without_etag
from keystile.gate.statements import ScriptStatement
from keystile.model.decision import Decision, NewLabel
from keystile.model.facts import QueryFacts
from keystile.model.principal import Principal
from keystile.model.schema import ColumnRef, Field, Parameter, Routine, Table
from keystile.upstream.values import NOBODY, Account
from keystile.wire.requests import QueryRequest

_BYTES_FLOOR = 100 << 20


class Plan(msgspec.Struct, frozen=True):
    """One query as it would run.

    `sql` is the rewritten text; `masked` are the columns that it uses and reads masked. INVARIANT:
    holds no hidden parameter's value, so it may be stored, shown and recorded. `bytes_estimate`
    comes from BigQuery's dry run of `sql`. `labels` are those of the columns that the query uses,
    by the column's full name. `results` are the schemas of all statements of a script that may give
    its result, `statements` those that its owner may see as jobs of their own. `instead` is a query
    that would be allowed at once, where one was found.
    INVARIANT: `account` is who runs it at BigQuery: all that has to do with the job later is asked
    for under the same one.
    `basis` is what the decision rested on, for the record. `inherits` are the labels that what it
    writes gets.
    """

    facts: QueryFacts
    decision: Decision
    sql: str
    masked: tuple[ColumnRef, ...]
    schema: tuple[Field, ...]
    bytes_estimate: int
    digest: str
    labels: dict[str, tuple[str, ...]] = {}
    results: tuple[tuple[Field, ...], ...] = ()
    statements: tuple[ScriptStatement, ...] = ()
    instead: str = ""
    account: Account = NOBODY
    basis: Basis = Basis()
    inherits: tuple[NewLabel, ...] = ()

    @property
    def hides_bytes(self) -> bool:
        """Whether counts of bytes stay with the gateway (`hides_bytes`)."""
        return hides_bytes(self.decision)


def digest_of(  # noqa: PLR0913, PLR0917 - each is a part of what is approved
    principal: Principal,
    request: QueryRequest,
    sql: str,
    decision: Decision,
    objects: tuple[Table | Routine, ...],
    account: Account = NOBODY,
) -> str:
    """Name exactly what an approval authorises, as a SHA-256.

    It covers the rewritten text, the parameters, the defaults, where the result goes, who asks with
    which claims, the account that runs it, the policy, who is to approve what, the schema of each
    table and the text of each routine. Not their etags: a table's changes at BigQuery with the
    rows, so that an approval of one in use would never fit. The byte estimate has a ceiling of its
    own: `bytes_ceiling`.
    """
    covered = (
        sql,
        _parameters(request.parameters),
        (request.project, request.location, request.default_project, request.default_dataset),
        request.into and request.into.text,
        (principal.key, principal.agent, sorted(principal.groups), principal.service_account),
        (sorted(principal.attributes.items()), principal.on_behalf_of),
        (account.connection, account.name),
        decision.policy_digest,
        decision.approvals,
        [
            (type(each).__name__, without_etag(each))
            for each in sorted(objects, key=lambda each: (type(each).__name__, str(each.id)))
        ],
    )
    return hashlib.sha256(msgspec.json.encode(covered, order="deterministic")).hexdigest()


def hides_bytes(decision: Decision) -> bool:
    """Tell whether bytes of masked columns, or of rows that are filtered out, are in the counts.

    INVARIANT: exact or rounded, such counts are not shown. The sum over a column tells how long its
    values are, and an agent that reads columns of its own beside it moves the sum to wherever a
    rounded one jumps. Which columns BigQuery leaves out of the count is not relied on.
    """
    return bool(decision.masks or decision.row_filters)


def bytes_ceiling(estimate: int) -> int:
    """Bound what an approved query may process: twice what was shown, at least 100 MiB."""
    return max(2 * estimate, _BYTES_FLOOR)


def job_labels(principal: Principal) -> dict[str, str]:
    """Give the labels of an agent's jobs at BigQuery.

    The agent's own stay behind: they would carry its words to whoever reads BigQuery's logs.
    """
    agent = "".join(c if c.isalnum() and c.isascii() else "-" for c in principal.agent.lower())
    return {"keystile-agent": agent[:63]}


def _parameters(parameters: tuple[Parameter, ...]) -> list[tuple[str, str, dict[str, object]]]:
    return [(parameter.name, str(parameter.type), parameter.value) for parameter in parameters]
