"""What a decision rested on, so that it can be made again: the context, and each object as it was.

The schemas themselves are on record once a day, by their digests; each query names those.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

import msgspec

from keystile.model.decision import Decision, Detection, Effect
from keystile.model.errors import NotFoundError
from keystile.model.schema import Routine, RoutineId, Table, TableId
from keystile.policy.context import Context
from keystile.recording.events import Event, EventKind
from keystile.upstream.values import ListedTable
from keystile.wire.requests import QueryRequest

_DIGESTS_KEPT = 4096
_DAY_SECONDS = 24 * 60 * 60
ABSENT = ""
"""What stands for the digest of an object that is not there."""

Object = Table | Routine


class Catalogue(Protocol):
    """BigQuery's tables and routines, as an analysis asks for them."""

    async def table(self, id: TableId) -> Table:  # noqa: A002 - the port's own word
        """Give a table. Raises `NotFoundError`."""
        ...

    async def routine(self, id: RoutineId) -> Routine:  # noqa: A002 - as above
        """Give a routine. Raises `NotFoundError`."""
        ...

    async def every_table(self, project: str, dataset: str) -> tuple[ListedTable, ...]:
        """List a dataset. Raises `NotFoundError`."""
        ...

    async def every_dataset(self, project: str) -> tuple[str, ...]:
        """Name a project's datasets."""
        ...


class Basis(msgspec.Struct, frozen=True):
    """What a decision rested on beside the query and the agent.

    `objects` has the digest of each object that was looked up, by its `object_name`; `ABSENT` for
    one that was not there. `beside` tells that results of earlier queries were read as well.
    """

    context: Context | None = None
    objects: dict[str, str] = {}
    beside: bool = False


class RestsOn(NamedTuple):
    """A basis, and the objects by their digests."""

    basis: Basis = Basis()
    objects: Mapping[str, Object] = {}


def context_of(request: QueryRequest) -> Context:
    """Give what is decided on beside agent and query, as it is now."""
    return Context(request.project, datetime.now(UTC), request.dry_run)


def object_name(id_: TableId | RoutineId) -> str:
    """Name a table or view, or a routine, so that no two are one: `p.d.t`, `p.d.f()`."""
    return f"{id_}()" if isinstance(id_, RoutineId) else str(id_)


def without_etag(each: Object) -> Object:
    """Leave out what changes at BigQuery with a table's rows."""
    if isinstance(each, Routine):
        return msgspec.structs.replace(each, etag="")
    members = tuple(msgspec.structs.replace(member, etag="") for member in each.members)
    return msgspec.structs.replace(each, etag="", members=members)


class Noted:
    """A catalogue, and all that it was asked."""

    def __init__(self, catalogue: Catalogue) -> None:
        """Ask `catalogue`."""
        self._catalogue = catalogue
        self.objects: dict[str, Object | None] = {}

    async def table(self, id: TableId) -> Table:  # noqa: A002 - the port's own word
        """Give a table. Raises `NotFoundError`."""
        try:
            found = self.objects[object_name(id)] = await self._catalogue.table(id)
        except NotFoundError:
            self.objects[object_name(id)] = None
            raise
        return found

    async def routine(self, id: RoutineId) -> Routine:  # noqa: A002 - as above
        """Give a routine. Raises `NotFoundError`."""
        try:
            found = self.objects[object_name(id)] = await self._catalogue.routine(id)
        except NotFoundError:
            self.objects[object_name(id)] = None
            raise
        return found

    async def every_table(self, project: str, dataset: str) -> tuple[ListedTable, ...]:
        """List a dataset. Raises `NotFoundError`."""
        return await self._catalogue.every_table(project, dataset)

    async def every_dataset(self, project: str) -> tuple[str, ...]:
        """Name a project's datasets."""
        return await self._catalogue.every_dataset(project)


class Digests:
    """Names objects by digests, which are remembered while the very objects are."""

    def __init__(self) -> None:
        """Begin with none."""
        self._known: dict[int, tuple[Object, str]] = {}

    def of(self, each: Object) -> str:
        """Give the SHA-256, in hex, of all that is known of an object but its etag.

        INVARIANT: what is remembered holds its object, so no other can have its identity.
        """
        known = self._known.get(id(each))
        if known is not None and known[0] is each:
            return known[1]
        if len(self._known) >= _DIGESTS_KEPT:
            self._known.clear()
        digest = digest_of_object(each)
        self._known[id(each)] = (each, digest)
        return digest

    def rests_on(
        self, context: Context, objects: Mapping[str, Object | None], *, beside: bool
    ) -> RestsOn:
        """Give what a decision rested on: its context, and the objects by their names."""
        digests = {
            name: ABSENT if each is None else self.of(each) for name, each in objects.items()
        }
        held = {digests[name]: each for name, each in objects.items() if each is not None}
        return RestsOn(Basis(context, digests, beside), held)


def digest_of_object(each: Object) -> str:
    """Name an object by all that is known of it but its etag, as SHA-256 in hex."""
    covered = (type(each).__name__, without_etag(each))
    return hashlib.sha256(msgspec.json.encode(covered, order="deterministic")).hexdigest()


def protection_of(decision: Decision) -> str:
    """Name all masks and row filters of a decision, as SHA-256 in hex; empty for a denial.

    The same ones make the same text of the same query.
    """
    if decision.effect is Effect.DENY:
        return ""
    covered = (decision.masks, decision.row_filters)
    return hashlib.sha256(msgspec.json.encode(covered, order="deterministic")).hexdigest()


def detectors_of(decision: Decision) -> dict[str, str]:
    """Name, for each entity that is looked for, all that says where and what becomes of it.

    The same names stand for the same look at the same result.
    """
    by_entity: dict[str, list[Detection]] = {}
    for one in decision.detections:
        by_entity.setdefault(one.entity, []).append(one)
    return {
        entity: hashlib.sha256(msgspec.json.encode(several, order="deterministic")).hexdigest()[:16]
        for entity, several in by_entity.items()
    }


class SchemaLog:
    """Knows which schemas this process has put on record today."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Begin with none, as a new process does."""
        self._clock = clock
        self._day = 0
        self._written: set[str] = set()

    def due(self, rests_on: RestsOn) -> tuple[Event, ...]:
        """Give the events that are still to be made durable before one rests on these objects.

        Each is written once a day, so that old segments may go and those after them still read.
        """
        now = self._clock()
        day = int(now // _DAY_SECONDS)
        if day != self._day:
            self._day, self._written = day, set()
        return tuple(
            _event(digest, each, now)
            for digest, each in rests_on.objects.items()
            if digest not in self._written
        )

    def written(self, events: tuple[Event, ...]) -> None:
        """Hear that these are durable."""
        self._written.update(event.body["digest"] for event in events)


def _event(digest: str, each: Object, at: float) -> Event:
    kind = "routine" if isinstance(each, Routine) else "table"
    body = {"digest": digest, "kind": kind, "object": msgspec.to_builtins(without_etag(each))}
    return Event(EventKind.SCHEMA, at, body=body)
