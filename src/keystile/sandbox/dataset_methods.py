"""The methods of datasets and of projects."""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Mapping

import msgspec

from keystile.model.errors import DuplicateError, InUseError, InvalidRequestError, NotFoundError
from keystile.sandbox import resources
from keystile.sandbox.asks import Answers, Ask
from keystile.sandbox.bodies import Fields, check_match, patched, reference, truth
from keystile.sandbox.locations import location_name
from keystile.sandbox.pages import page_of_list
from keystile.sandbox.queries import Catalog
from keystile.sandbox.store import Dataset, DatasetId
from keystile.wire.metadata import dataset_list
from keystile.wire.responses import Resource

_NAME = re.compile(r"[A-Za-z0-9_]{1,1024}")
_LABEL_FILTER = re.compile(r"labels\.([\w-]+)(?::([\w-]*))?")
_FIELDS = Fields(
    kept=frozenset(
        (
            "access",
            "defaultCollation",
            "defaultEncryptionConfiguration",
            "defaultPartitionExpirationMs",
            "defaultRoundingMode",
            "defaultTableExpirationMs",
            "description",
            "friendlyName",
            "isCaseInsensitive",
            "labels",
            "location",
            "maxTimeTravelHours",
            "resourceTags",
            "storageBillingModel",
        )
    ),
    read=frozenset(("datasetReference",)),
    output=frozenset(
        (
            "creationTime",
            "etag",
            "id",
            "kind",
            "lastModifiedTime",
            "restrictions",
            "satisfiesPzi",
            "satisfiesPzs",
            "selfLink",
            "tags",
            "type",
        )
    ),
    unserved=frozenset(
        ("externalCatalogDatasetOptions", "externalDatasetReference", "linkedDatasetSource")
    ),
)


class DatasetMethods:
    """Answers of datasets and of projects."""

    def __init__(self, catalog: Catalog) -> None:
        """Answer of what `catalog` holds."""
        self._catalog = catalog
        self._store = catalog.store
        self.answers: Answers = {
            "projects.list": self._projects,
            "projects.getServiceAccount": self._service_account,
            "datasets.list": self._list,
            "datasets.get": self._get,
            "datasets.insert": self._insert,
            "datasets.patch": self._patch,
            "datasets.update": self._update,
            "datasets.delete": self._delete,
            "datasets.undelete": self._undelete,
        }

    async def _projects(self, ask: Ask) -> Resource:
        listed, token = page_of_list(self._store.projects, ask.call)
        resource: Resource = {
            "kind": "bigquery#projectList",
            "projects": [_project(project) for project in listed],
            "totalItems": len(self._store.projects),
        }
        return {**resource, "nextPageToken": token} if token else resource

    async def _service_account(self, ask: Ask) -> Resource:
        self._check_project(ask)
        number = _number(ask.call.project)
        return {
            "kind": "bigquery#getServiceAccountResponse",
            "email": f"bq-{number}@bigquery-encryption.iam.gserviceaccount.com",
        }

    async def _list(self, ask: Ask) -> Resource:
        self._check_project(ask)
        ids = self._store.all_datasets if truth(ask, "all") else self._store.datasets
        found = [
            resources.dataset_resource(self._store.dataset(id_))
            for id_ in sorted(ids)
            if id_[0] == ask.call.project and self._catalog.rights.of(ask.account, id_)
        ]
        for key, value in _wanted_labels(ask):
            found = [each for each in found if _has_label(each, key, value)]
        listed, token = page_of_list(found, ask.call)
        return dataset_list(listed, token)

    async def _get(self, ask: Ask) -> Resource:
        return resources.dataset_resource(self._found(ask))

    async def _insert(self, ask: Ask) -> Resource:
        self._check_project(ask)
        given = _FIELDS.of(ask)
        named = reference(given, "datasetReference")
        id_ = ask.call.project, named.get("datasetId", "")
        if named.get("projectId", id_[0]) != id_[0]:
            raise InvalidRequestError("`datasetReference.projectId` is not the project of the path")
        if not _NAME.fullmatch(id_[1]):
            raise InvalidRequestError(
                f'Invalid dataset ID "{id_[1][:100]}". Dataset IDs must be alphanumeric (plus '
                "underscores) and must be at most 1024 characters long."
            )
        if id_ in self._store.all_datasets:
            raise DuplicateError(f"Already Exists: Dataset {id_[0]}:{id_[1]}")
        details = _FIELDS.details(given)
        dataset = Dataset(
            id_,
            time.time(),
            {**details, "location": location_name(str(details.get("location") or ""))},
        )
        self._store.put_dataset(dataset)
        return resources.dataset_resource(dataset)

    async def _patch(self, ask: Ask) -> Resource:
        before = self._found(ask)
        return self._changed(ask, before, patched(before.details, _FIELDS.of(ask)))

    async def _update(self, ask: Ask) -> Resource:
        before = self._found(ask)
        # An update says all, but where the dataset is can no longer be said otherwise.
        return self._changed(ask, before, {"location": before.location, **_FIELDS.of(ask)})

    def _changed(self, ask: Ask, before: Dataset, details: Mapping[str, object]) -> Resource:
        check_match(ask, resources.dataset_resource(before)["etag"])
        if str(details.get("location") or before.location).upper() != before.location.upper():
            raise InvalidRequestError("Cannot change the `location` of a dataset")
        after = msgspec.structs.replace(
            before, details=_FIELDS.details(details), modified=time.time()
        )
        self._store.put_dataset(after)
        return resources.dataset_resource(after)

    async def _delete(self, ask: Ask) -> None:
        id_ = self._found(ask).id
        check_match(ask, resources.dataset_resource(self._store.dataset(id_))["etag"])
        async with self._catalog.changing:
            in_use = self._store.tables_in(id_) or self._store.routines_in(id_)
            if in_use and not truth(ask, "deleteContents"):
                raise InUseError(f"Dataset {id_[0]}:{id_[1]} is still in use")
            self._store.drop_dataset(id_)

    async def _undelete(self, ask: Ask) -> Resource:
        return resources.dataset_resource(self._store.restore_dataset(_id(ask)))

    def _found(self, ask: Ask) -> Dataset:
        id_ = _id(ask)
        self._store.tables_in(id_)  # which says of a missing one what BigQuery's methods say
        return self._store.dataset(id_)

    def _check_project(self, ask: Ask) -> None:
        if ask.call.project not in self._store.projects:
            raise NotFoundError(f"Not found: Project {ask.call.project}")


def _id(ask: Ask) -> DatasetId:
    return ask.call.project, ask.call.dataset


def _number(project: str) -> int:
    return zlib.crc32(project.encode())


def _project(project: str) -> Resource:
    return {
        "kind": "bigquery#project",
        "id": project,
        "numericId": str(_number(project)),
        "projectReference": {"projectId": project},
        "friendlyName": project,
    }


def _wanted_labels(ask: Ask) -> list[tuple[str, str | None]]:
    """Read the `filter` of datasets.list: `labels.key` or `labels.key:value`, several in a row."""
    wanted = []
    for text in ask.call.parameters.get("filter", "").split():
        found = _LABEL_FILTER.fullmatch(text)
        if not found:
            raise InvalidRequestError(f"the `filter` `{text[:100]}` is not understood")
        wanted.append((found[1], found[2]))
    return wanted


def _has_label(resource: Resource, key: str, value: str | None) -> bool:
    labels = resource.get("labels")
    return isinstance(labels, Mapping) and key in labels and value in (None, labels[key])
