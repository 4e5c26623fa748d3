from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.model.schema import TableId
from keystile.sandbox.data import Folder
from keystile.sandbox.errors import AccessDeniedError
from keystile.sandbox.rights import Right, Rights, results_dataset
from keystile.sandbox.store import Dataset, Store
from keystile.wire.paths import route

ONE, OTHER = "one@p.iam.gserviceaccount.com", "other@p.iam.gserviceaccount.com"
TABLE = TableId("p", "d", "t")


def rights(*access: dict[str, Any]) -> Rights:
    store = Store(Folder((), {}))
    store.put_dataset(Dataset(("p", "d"), 0.0, {"access": [*access]} if access else {}))
    return Rights(store)


def by_email(role: str, account: str = ONE) -> dict[str, Any]:
    return {"role": role, "userByEmail": account}


@pytest.mark.parametrize(
    ("access", "right"),
    [
        ((), Right.OWN),
        ((by_email("READER"),), Right.READ),
        ((by_email("roles/bigquery.dataViewer"),), Right.READ),
        ((by_email("WRITER"), by_email("READER")), Right.WRITE),
        ((by_email("OWNER"),), Right.OWN),
        ((by_email("OWNER", OTHER),), Right.NONE),
        (({"role": "READER", "iamMember": f"serviceAccount:{ONE}"},), Right.READ),
        (({"role": "OWNER", "specialGroup": "projectOwners"},), Right.OWN),
        (({"role": "READER", "groupByEmail": "all@example.com"},), Right.NONE),
        (({"view": {"projectId": "p", "datasetId": "d", "tableId": "v"}},), Right.NONE),
        ((by_email("no such role"),), Right.NONE),
    ],
)
def test_an_account_has_what_the_access_of_the_dataset_gives(
    access: tuple[dict[str, Any], ...], right: Right
) -> None:
    assert rights(*access).of(ONE, ("p", "d")) is right


@given(st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=5)), min_size=1))
def test_no_entry_that_does_not_name_an_account_lets_it_in(entries: list[dict[str, str]]) -> None:
    assert rights(*entries).of(ONE, ("p", "d")) is Right.NONE


@pytest.mark.parametrize(
    ("method", "path", "text"),
    [
        ("GET", "datasets/d", "Dataset p:d: Permission bigquery.datasets.get denied on dataset"),
        ("GET", "datasets/d/tables", "Permission bigquery.tables.list denied on dataset p:d"),
        ("GET", "datasets/d/tables/t", "Permission bigquery.tables.get denied on table p:d.t"),
        ("GET", "datasets/d/tables/t/data", "bigquery.tables.getData denied on table p:d.t"),
        ("POST", "datasets/d/tables/t/insertAll", "bigquery.tables.updateData denied"),
        ("DELETE", "datasets/d/tables/t", "bigquery.tables.delete denied on table p:d.t"),
        ("PATCH", "datasets/d", "bigquery.datasets.update denied on dataset p:d"),
    ],
)
def test_a_method_is_refused_in_bigquerys_words(method: str, path: str, text: str) -> None:
    call = route(method, f"/bigquery/v2/projects/p/{path}", "")
    with pytest.raises(AccessDeniedError) as caught:
        rights(by_email("OWNER", OTHER)).check_call(ONE, call)
    assert text in caught.value.message
    assert caught.value.message.endswith("(or it may not exist).")
    rights(by_email("OWNER")).check_call(ONE, call)


def test_who_may_read_may_not_write() -> None:
    found = rights(by_email("READER"))
    found.check_query(ONE, TABLE)
    with pytest.raises(AccessDeniedError, match=r"tables\.updateData denied on table p:d\.t"):
        found.check_change(ONE, TABLE)
    with pytest.raises(AccessDeniedError, match=r"datasets\.update denied on dataset p:d"):
        found.check_dataset(ONE, ("p", "d"))


def test_the_results_of_an_account_are_its_own() -> None:
    found = rights()
    own = TableId("p", results_dataset("p", ONE), "anon1")
    found.check_query(ONE, own)
    with pytest.raises(AccessDeniedError, match="User does not have permission to query table"):
        found.check_query(OTHER, own)
