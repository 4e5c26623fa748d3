"""What an account may do with a dataset: what the `access` of the dataset says, as at BigQuery.

The accounts own the sandbox's projects, so the entry `projectOwners`, which a dataset has by
itself, lets every one of them in. Who is to be kept out is named by no entry of `access`, which
`datasets.patch` changes.

Source of fact: `Dataset.access` of the API, and BigQuery's "Basic roles and permissions"; the words
of the errors are BigQuery's.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from enum import IntEnum

from keystile.model.schema import TableId
from keystile.sandbox.errors import AccessDeniedError
from keystile.sandbox.store import LOCATION, Dataset, DatasetId, Store
from keystile.wire.paths import Call


class Right(IntEnum):
    """How far an account may go; who may do more may do less."""

    NONE = 0
    READ = 1
    WRITE = 2
    OWN = 3


_ROLES = {
    "READER": Right.READ,
    "WRITER": Right.WRITE,
    "OWNER": Right.OWN,
    "roles/bigquery.dataViewer": Right.READ,
    "roles/bigquery.dataEditor": Right.WRITE,
    "roles/bigquery.dataOwner": Right.OWN,
}
_EVERY_ACCOUNT = frozenset(
    ("projectOwners", "projectWriters", "projectReaders", "allAuthenticatedUsers")
)
_RESULTS = re.compile(r"_[0-9a-f]{40}")

_DATASETS = {
    "datasets.get": Right.READ,
    "datasets.patch": Right.OWN,
    "datasets.update": Right.OWN,
    "datasets.delete": Right.OWN,
    "tables.list": Right.READ,
    "tables.insert": Right.WRITE,
    "models.list": Right.READ,
    "routines.list": Right.READ,
    "routines.get": Right.READ,
    "routines.insert": Right.WRITE,
    "routines.update": Right.WRITE,
    "routines.delete": Right.WRITE,
}
"""Methods that are about a dataset as a whole, and what they take."""

_TABLES = {
    "tables.get": (Right.READ, "bigquery.tables.get"),
    "tables.patch": (Right.WRITE, "bigquery.tables.update"),
    "tables.update": (Right.WRITE, "bigquery.tables.update"),
    "tables.delete": (Right.WRITE, "bigquery.tables.delete"),
    "tabledata.list": (Right.READ, "bigquery.tables.getData"),
    "tabledata.insertAll": (Right.WRITE, "bigquery.tables.updateData"),
    "rowAccessPolicies.list": (Right.READ, "bigquery.rowAccessPolicies.list"),
}
"""Methods that are about one table, what they take and what that is called."""


def results_dataset(project: str, account: str) -> str:
    """Name the hidden dataset in which an account's results are: only the account may read it."""
    return f"_{hashlib.sha256(f'{project}|{account}'.encode()).hexdigest()[:40]}"


class Rights:
    """Checks against the datasets of a store as they are now. No account is the sandbox itself."""

    def __init__(self, store: Store) -> None:
        """Ask `store` for datasets."""
        self._store = store

    def of(self, account: str, id_: DatasetId) -> Right:
        """Tell what an account may do with a dataset; one that is not there keeps nobody out."""
        if _RESULTS.fullmatch(id_[1]):
            own = not account or results_dataset(id_[0], account) == id_[1]
            return Right.OWN if own else Right.NONE
        if not account or id_ not in self._store.all_datasets or id_[1].startswith("_"):
            return Right.OWN
        return _granted(self._store.dataset(id_), account)

    def check_call(self, account: str, call: Call) -> None:
        """Let a call of a method through, or raise `AccessDeniedError`."""
        id_ = call.project, call.dataset
        if wanted := _DATASETS.get(call.method):
            word = call.method.replace("patch", "update").replace("insert", "create")
            self._check(account, id_, wanted, f"Dataset {id_[0]}:{id_[1]}", f"bigquery.{word}")
        if found := _TABLES.get(call.method):
            self._check(account, id_, found[0], f"Table {id_[0]}:{id_[1]}.{call.table}", found[1])

    def check_query(self, account: str, table: TableId) -> None:
        """Let a query read a table, or raise `AccessDeniedError`."""
        if self.of(account, (table.project, table.dataset)) < Right.READ:
            name = f"{table.project}:{table.dataset}.{table.table}"
            raise AccessDeniedError(
                f"Access Denied: Table {name}: User does not have permission to query table {name},"
                f" or perhaps it does not exist in location {LOCATION}."
            )

    def check_change(self, account: str, table: TableId) -> None:
        """Let a job write a table, make one or drop one, or raise `AccessDeniedError`."""
        name = f"Table {table.project}:{table.dataset}.{table.table}"
        id_ = table.project, table.dataset
        self._check(account, id_, Right.WRITE, name, "bigquery.tables.updateData")

    def check_dataset(self, account: str, id_: DatasetId) -> None:
        """Let a job change or drop a dataset, or raise `AccessDeniedError`."""
        name = f"Dataset {id_[0]}:{id_[1]}"
        self._check(account, id_, Right.OWN, name, "bigquery.datasets.update")

    def _check(self, account: str, id_: DatasetId, wanted: Right, what: str, word: str) -> None:
        if self.of(account, id_) < wanted:
            kind, _, name = what.partition(" ")
            raise AccessDeniedError(
                f"Access Denied: {what}: Permission {word} denied on {kind.lower()} {name} "
                "(or it may not exist)."
            )


def _granted(dataset: Dataset, account: str) -> Right:
    entries = dataset.details.get("access")
    if not isinstance(entries, list) or not entries:
        return Right.OWN
    given = [_right(entry, account) for entry in entries if isinstance(entry, Mapping)]
    return max(given, default=Right.NONE)


def _right(entry: Mapping[str, object], account: str) -> Right:
    fits = (
        entry.get("userByEmail") == account
        or entry.get("iamMember") in {f"serviceAccount:{account}", "allAuthenticatedUsers"}
        or entry.get("specialGroup") in _EVERY_ACCOUNT
    )
    return _ROLES.get(str(entry.get("role")), Right.NONE) if fits else Right.NONE
