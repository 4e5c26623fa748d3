"""Starting load, copy and extract jobs."""

from __future__ import annotations

import time
from functools import partial

from keystile.model.errors import InvalidRequestError
from keystile.sandbox.job import Job
from keystile.sandbox.jobs import Jobs
from keystile.sandbox.locations import check_location, location_name, location_of
from keystile.sandbox.queries import Catalog
from keystile.sandbox.transfer.copying import copy
from keystile.sandbox.transfer.extracting import extract
from keystile.sandbox.transfer.loading import load
from keystile.sandbox.transfer.outcome import BadDataInLoadError, Moved
from keystile.sandbox.transfer.requests import Copy, Extract, Load, Transfer, tables_of
from keystile.sandbox.transfer.storage import Source, Storage
from keystile.wire.responses import JobView, Resource


class Transfers:
    """Runs what moves data, each as a job."""

    def __init__(self, catalog: Catalog, jobs: Jobs, storage: Storage) -> None:
        """Move data between the tables of `catalog` and `storage`."""
        self._catalog, self._jobs, self._storage = catalog, jobs, storage

    def start(self, asked: Transfer, owner: str, upload: Source | None = None) -> Job:
        """Start a job; a file that was uploaded for it goes with it.

        Raises as `location` does, `AccessDeniedError`, `DuplicateError` for a job id that is taken
        and `InvalidRequestError` where there is no file.
        """
        location = self.location(asked)
        self._check_rights(asked, owner)
        if isinstance(asked.asked, Load) and not (asked.asked.source_uris or upload):
            raise InvalidRequestError("Required parameter is missing: sourceUris")

        view = JobView(
            project=asked.project,
            job_id=asked.job_id,
            location=location,
            owner=owner,
            state="PENDING",
            sql="",
            created=time.time(),
        )
        job = self._jobs.begin(
            view, partial(self._work, asked=asked, upload=upload), asked.job_timeout_ms
        )
        job.moved = Moved(asked.configuration)
        return job

    def location(self, asked: Transfer) -> str:
        """Tell where a job runs, which is where its tables are.

        Raises `InvalidRequestError` for a table that is not named, `NotFoundError` for a dataset
        that is not there or not in the location that is asked for.
        """
        store, tables = self._catalog.store, tables_of(asked)
        for id_ in tables:
            store.dataset((id_.project, id_.dataset))
        location = location_name(asked.location or location_of(store, tables))
        check_location(store, tables, location)
        return location

    def _check_rights(self, asked: Transfer, owner: str) -> None:
        rights, tables = self._catalog.rights, tables_of(asked)
        if not isinstance(asked.asked, Extract):
            rights.check_change(owner, tables.pop())
        for table in tables:
            rights.check_query(owner, table)

    async def _work(self, job: Job, asked: Transfer, upload: Source | None) -> None:
        try:
            job.moved = await self._moved(asked, upload)
        except BadDataInLoadError as error:
            job.moved = Moved(asked.configuration, errors=error.errors)
            raise
        finally:
            if upload:
                upload.file.unlink(missing_ok=True)

    async def _moved(self, transfer: Transfer, upload: Source | None) -> Moved:
        asked, project = transfer.asked, transfer.project
        errors: tuple[Resource, ...] = ()
        async with self._catalog.changing:
            if isinstance(asked, Load):
                statistics, errors = await load(
                    self._catalog, self._storage, project, asked, upload
                )
            elif isinstance(asked, Copy):
                statistics = await copy(self._catalog, project, asked)
            else:
                statistics = await extract(self._catalog, self._storage, project, asked)
        return Moved(transfer.configuration, statistics, errors)
