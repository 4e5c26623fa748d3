from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from keystile.model.errors import RefusedError
from keystile.model.schema import TableId
from keystile.upstream.accounts import Accounts
from keystile.upstream.values import Account, JobRef

TABLE = TableId("acme-shop", "shop", "t")
REFERENCE = {"projectId": "acme-shop", "datasetId": "shop", "tableId": "t"}
ANSWER = {"tableReference": REFERENCE, "type": "TABLE", "etag": "1", "schema": {"fields": []}}


class Credentials:
    """Connections by name, each with its account of now; tokens are as `one_key` has them."""

    def __init__(self, key: Any) -> None:
        self.now = {"default": "gateway@a", "reports": "reports@a"}
        self.key = key
        self.asked: list[Account] = []

    async def account(self, name: str) -> Account:
        if name not in self.now:
            raise RefusedError(f"no connection `{name}`")
        return Account(name, self.now[name])

    async def bearer(self, account: Account) -> str:
        self.asked.append(account)
        if self.now.get(account.connection) != account.name:
            raise RefusedError(f"this was begun as `{account.name}`")
        return str(await self.key.bearer())

    async def rejected(self, account: Account, token: str) -> bool:
        assert account in self.asked
        return bool(await self.key.rejected(token))


@pytest.fixture
def credentials(credential: Any) -> Credentials:
    return Credentials(credential)


@pytest.fixture
async def accounts(stub: Any, credentials: Credentials) -> AsyncIterator[Accounts]:
    made = Accounts(credentials, stub.url, timeout=2)
    yield made
    await made.close()


async def test_no_name_stands_for_the_default_connection(accounts: Accounts) -> None:
    assert (await accounts.of("")).account == Account("default", "gateway@a")
    assert (await accounts.of("reports")).account == Account("reports", "reports@a")
    assert await accounts.of("") is await accounts.of("default")
    with pytest.raises(RefusedError, match="no connection `x`"):
        await accounts.of("x")


async def test_each_account_asks_with_its_own_token(
    stub: Any, accounts: Accounts, credentials: Credentials
) -> None:
    stub.routes["POST /bigquery/v2/projects/p/jobs/j/cancel"] = {}
    await accounts.at(Account("reports", "reports@a")).cancel(JobRef("p", "j"))
    assert credentials.asked == [Account("reports", "reports@a")]


async def test_a_job_of_an_account_that_is_gone_is_not_asked_for_as_another(
    stub: Any, accounts: Accounts, credentials: Credentials
) -> None:
    job = JobRef("p", "j")
    before = (await accounts.of("reports")).account
    credentials.now["reports"] = "other@a"
    for gone in (before, Account("dropped", "gateway@a")):
        with pytest.raises(RefusedError, match="this was begun as"):
            await accounts.at(gone).wait(job, 0)
    assert stub.requests == []
    assert (await accounts.of("reports")).account.name == "other@a"


async def test_no_account_knows_what_another_may_see(stub: Any, accounts: Accounts) -> None:
    route = "GET /bigquery/v2/projects/acme-shop/datasets/shop/tables/t"
    stub.routes[route] = ANSWER
    for name in ("", "reports", "", "reports"):
        await (await accounts.of(name)).table(TABLE)
    assert len(stub.requests) == 2


async def test_all_accounts_forget_a_table_that_changed(stub: Any, accounts: Accounts) -> None:
    route = "GET /bigquery/v2/projects/acme-shop/datasets/shop/tables/t"
    stub.routes[route] = ANSWER
    for _ in range(2):
        for name in ("", "reports"):
            await (await accounts.of(name)).table(TABLE)
        accounts.forget(iter([TABLE]))
    assert len(stub.requests) == 4
