"""Decides on recorded queries under another policy, and tells what would be otherwise."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple, cast

from keystile.analysis.analyst import Analyst
from keystile.gate.basis import protection_of
from keystile.gate.planning import Planner
from keystile.gate.recorded_catalogue import RecordedCatalogue, RecordedSchemas, UnknownSchemaError
from keystile.gate.recorded_queries import UNDECIDED, Recalled, Unusable, recalled
from keystile.gate.shares import Shares
from keystile.masking.rewrite import Rewriter
from keystile.model.decision import Effect
from keystile.model.errors import (
    InvalidQueryError,
    KeystileError,
    NotFoundError,
    UnmaskableError,
)
from keystile.policy.policy import Policy
from keystile.policy.ruling import MASK_AT_READ, Change, Ruling, change, ruling_of
from keystile.recording.asked import AskedQuery
from keystile.telemetry.metrics import Metrics
from keystile.upstream.accounts import Accounts

_RULINGS_KEPT = 1 << 16
_UNKNOWN = "a schema that it needs is neither on record nor to be had from BigQuery"
_REFUSED = "analysing it again was refused"


class Again(NamedTuple):
    """A second ruling on a query, or why there is none.

    `others` are objects that the first decision had not looked up.
    """

    ruling: Ruling | None
    why: str = ""
    others: tuple[str, ...] = ()


class Simulated(NamedTuple):
    """One recorded query: what was decided then, and what would be.

    `change` is None where nothing would be otherwise, and where `why` says that it is not known.
    """

    asked: AskedQuery
    before: Ruling | None
    after: Ruling | None
    change: Change | None = None
    why: str = ""
    others: tuple[str, ...] = ()


class Simulator:
    """Decides again. What is asked twice is decided once; what is kept is bounded."""

    def __init__(
        self,
        policy: Policy,
        analyst: Analyst,
        rewriter: Rewriter,
        schemas: RecordedSchemas,
        at_once: int,
    ) -> None:
        """Decide under `policy`, `at_once` queries at a time."""
        self._policy = policy
        self._analyst = analyst
        self._rewriter = rewriter
        self._schemas = schemas
        self._at_once = at_once
        self._metrics = Metrics()
        self._known: OrderedDict[bytes, Again] = OrderedDict()
        self.decided = 0
        """How many rulings were made: what is asked again is not ruled on again."""
        self.objects: set[str] = set()
        """The names of all tables, views and routines that the decisions rested on."""

    async def simulate(self, batch: list[AskedQuery]) -> list[Simulated]:
        """Decide on some recorded queries, and give them in the same order.

        Statements of scripts are left out: what is decided on is the script.
        """
        read = [(asked, recalled(asked)) for asked in batch]
        keys = [self._key(found) for _, found in read]
        new = {
            key: found
            for key, (_, found) in zip(keys, read, strict=True)
            if isinstance(found, Recalled) and key not in self._known and not found.settled
        }
        rulings = dict(await self._all(new))
        rulings |= {key: self._known[key] for key in keys if key in self._known}
        self._keep(rulings)
        self.objects.update(*(query.objects for query in new.values()))
        return [
            self._simulated(asked, found, rulings.get(key))
            for key, (asked, found) in zip(keys, read, strict=True)
            if found is not None
        ]

    def _key(self, found: Recalled | Unusable | None) -> bytes:
        return found.key(timed=self._policy.asks_time) if isinstance(found, Recalled) else b""

    def _keep(self, rulings: dict[bytes, Again]) -> None:
        for key, again in rulings.items():
            self._known[key] = again
            self._known.move_to_end(key)
        while len(self._known) > _RULINGS_KEPT:
            self._known.popitem(last=False)

    def _simulated(
        self, asked: AskedQuery, found: Recalled | Unusable, again: Again | None
    ) -> Simulated:
        if isinstance(found, Unusable):
            return Simulated(asked, None, None, why=found.why)
        if again is None:  # it is wrong, whatever policy says
            return Simulated(asked, found.before, found.before)
        if found.undecided:
            same = again.why == _REFUSED or bool(again.ruling and again.ruling.refused)
            after, why = (found.before, "") if same else (None, again.why or UNDECIDED)
            return Simulated(asked, found.before, after, why=why)
        if again.ruling is None:
            return Simulated(asked, found.before, None, why=again.why)
        made = change(found.before, again.ruling)
        return Simulated(asked, found.before, again.ruling, made, others=again.others)

    async def _all(self, new: dict[bytes, Recalled]) -> Iterable[tuple[bytes, Again]]:
        """Decide on several, so many at a time that the engine is never idle."""
        turns = iter(new.items())
        found: list[tuple[bytes, Again]] = []

        async def take() -> None:
            for key, query in turns:
                found.append((key, await self._again(query)))

        async with asyncio.TaskGroup() as group:
            for _ in range(self._at_once):
                group.create_task(take())
        self.decided += len(found)
        return found

    async def _again(self, query: Recalled) -> Again:
        try:
            complete = not query.undecided and query.before.effect != "not_found"
            catalogue = self._schemas.of(query.objects, complete=complete)
            ruling = await self._ruling(query, catalogue)
        except UnknownSchemaError:
            return Again(None, _UNKNOWN)
        return Again(ruling, "" if ruling else _REFUSED, tuple(dict.fromkeys(catalogue.others)))

    async def _ruling(self, query: Recalled, catalogue: RecordedCatalogue) -> Ruling | None:
        """Rule on a query. None where the analysis is refused, which is not the policy's doing."""
        planner = self._planner(catalogue)
        try:
            decided = await planner.decided(
                query.principal, query.request, self._policy, None, query.context
            )
            ruling = ruling_of(decided.decision, decided.facts)
            # INVARIANT: the same masks and filters make the same text of the same query, so what
            # could be put in then can be now.
            same = query.protection and protection_of(decided.decision) == query.protection
            if decided.decision.effect is not Effect.DENY and not same:
                await planner.masked(query.request, decided)
        except NotFoundError:
            return Ruling("not_found")
        except InvalidQueryError:
            return Ruling("invalid")
        except UnmaskableError:
            return Ruling(str(Effect.DENY), (MASK_AT_READ,))
        except UnknownSchemaError:
            raise
        except KeystileError:
            return None
        return ruling

    def _planner(self, catalogue: RecordedCatalogue) -> Planner:
        return Planner(
            self._analyst,
            lambda: self._policy,
            self._rewriter,
            # Deciding asks no more of BigQuery than what is recorded.
            cast("Accounts", catalogue),
            Shares(self._at_once, self._at_once),
            self._metrics,
        )
