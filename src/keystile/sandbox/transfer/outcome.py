"""What a load, copy or extract job tells of itself."""

from __future__ import annotations

import msgspec

from keystile.model.errors import InvalidRequestError
from keystile.wire.responses import Resource, etag


class Moved(msgspec.Struct, frozen=True):
    """A job's configuration as it was asked, its own part of `statistics` and what went wrong.

    `errors` are there without a failure where bad records were let pass.
    """

    configuration: Resource
    statistics: Resource = {}
    errors: tuple[Resource, ...] = ()

    def told(self, resource: Resource) -> Resource:
        """Give the resource of a query job as one of this job."""
        times, status = resource["statistics"], resource["status"]
        if isinstance(times, dict):
            times = {name: at for name, at in times.items() if name != "query"}
            resource = {**resource, "statistics": {**times, **self.statistics}}
        if self.errors and isinstance(status, dict) and status["state"] == "DONE":
            status = {**status, "errors": list(self.errors)}
            if "errorResult" in status:
                status["errorResult"] = self.errors[0]
            resource = {**resource, "status": status}
        resource = {**resource, "configuration": self.configuration}
        return {**resource, "etag": etag({**resource, "etag": ""})}


class BadDataInLoadError(InvalidRequestError):
    """A file to load has more bad rows than `maxBadRecords`; `errors` are all that is known."""

    def __init__(self, message: str, errors: tuple[Resource, ...]) -> None:
        """Keep the single errors beside the sentence."""
        super().__init__(message)
        self.errors = errors
