"""A fake BigQuery as the only account of a gateway."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from keystile.model.schema import Table, TableId
from keystile.upstream.values import Account

ACCOUNT = Account("default", "gateway@acme-shop.iam.gserviceaccount.com")


class OneAccount:
    """Base of fakes: stands for `Accounts` and for the `BigQuery` of all of them at once.

    `connections` has the name of each connection that was asked for.
    """

    account = ACCOUNT

    def __init__(self) -> None:
        self.connections: list[str] = []
        self.forgotten: list[TableId] = []

    async def of(self, connection: str) -> Self:
        self.connections.append(connection)
        return self

    def at(self, account: Account) -> Self:
        assert account == self.account
        return self

    @staticmethod
    def noted(table: Table) -> Table:
        return table

    def forget(self, tables: Iterable[TableId]) -> None:
        self.forgotten += tables
