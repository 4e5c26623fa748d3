"""What policy lets an agent do with a table, in the words of BigQuery's permissions.

INVARIANT: BigQuery is not asked: it would say what the gateway's own account may do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime

from keystile.gate.visible import VisibleObjects, is_plain, not_found
from keystile.model.decision import Effect
from keystile.model.facts import Action, QueryFacts
from keystile.model.principal import Principal
from keystile.model.schema import Table, TableId
from keystile.policy.context import Context
from keystile.policy.policy import Policy
from keystile.upstream.accounts import Accounts

_GET = "bigquery.tables.get"

_STATEMENTS: Mapping[str, tuple[str, Action]] = {
    "bigquery.tables.getData": ("SELECT", Action.READ),
    "bigquery.tables.export": ("EXPORT_DATA", Action.EXPORT),
    "bigquery.tables.updateData": ("INSERT", Action.WRITE),
    "bigquery.tables.update": ("ALTER_TABLE", Action.SCHEMA_CHANGE),
    "bigquery.tables.delete": ("DROP_TABLE", Action.SCHEMA_CHANGE),
}
"""What a permission is good for: a kind of statement, and what policy calls it."""

_READING = frozenset({Action.READ, Action.EXPORT})


class Permissions:
    """Answers tables.testIamPermissions."""

    def __init__(self, accounts: Accounts, policy: Callable[[], Policy]) -> None:
        """`policy` gives the snapshot that holds now."""
        self._accounts = accounts
        self._policy = policy

    async def of_table(
        self, principal: Principal, id_: TableId, asked: Collection[str]
    ) -> list[str]:
        """Give those of the permissions that the agent has, one that people must approve too.

        What policy knows nothing of is not among them. Raises `NotFoundError` for a table that is
        hidden or absent.
        """
        policy, context = self._policy(), Context(id_.project, datetime.now(UTC))
        if not is_plain(id_):
            raise not_found(id_)
        bigquery = await self._accounts.of(policy.connection_of(principal))
        table = await VisibleObjects(bigquery, policy, principal, context).table(id_)

        def may(name: str) -> bool:
            """Tell whether policy says so."""
            if name not in _STATEMENTS:
                return name == _GET  # as the table was given
            facts = _facts(table, *_STATEMENTS[name])
            decision = policy.decide(principal, facts, (table,), context, unmeasured=True)
            return decision.effect is not Effect.DENY

        return [name for name in asked if may(name)]


def _facts(table: Table, statement: str, action: Action) -> QueryFacts:
    """Say what such a statement does with the table, whichever its columns."""
    there = (table.id,)
    if action in _READING:
        actions = tuple(dict.fromkeys((Action.READ, action)))
        return QueryFacts(statement, actions, reads=there)
    return QueryFacts(statement, (action,), writes=there)
