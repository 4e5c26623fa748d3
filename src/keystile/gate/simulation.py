"""Decides on recorded queries under another policy, and tells what would be otherwise."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeVar, cast

import msgspec

from keystile.analysis.analyst import Analyst
from keystile.gate.alike import Alike
from keystile.gate.basis import detectors_of, protection_of
from keystile.gate.decided import Decided
from keystile.gate.measuring import is_known
from keystile.gate.plan import Plan
from keystile.gate.planning import Planner
from keystile.gate.recorded_catalogue import RecordedCatalogue, RecordedSchemas, UnknownSchemaError
from keystile.gate.recorded_queries import UNDECIDED, Recalled, Unusable, recalled
from keystile.gate.shares import Shares
from keystile.masking.rewrite import Rewriter
from keystile.model.decision import Decision, Effect, Limits
from keystile.model.errors import (
    EngineFailedError,
    InvalidQueryError,
    KeystileError,
    NotFoundError,
    OverloadedError,
    ShutOutError,
    UnmaskableError,
)
from keystile.model.facts import QueryFacts
from keystile.policy.policy import Policy
from keystile.policy.ruling import MASK_AT_READ, Change, Ruling, change, rule_names, ruling_of
from keystile.recording.asked import AskedQuery
from keystile.telemetry.metrics import Metrics
from keystile.upstream.accounts import Accounts

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")

_RULINGS_KEPT = _MASKINGS_KEPT = 1 << 16
_UNKNOWN = "a schema that it needs is neither on record nor to be had from BigQuery"
_SIZE = "how much it would read is not on record, and the policy asks for that"
_REFUSED = "analysing it again was refused"
_FAILED = "the SQL analyser ran out of time or memory, or ended, on it"


class UnknownSizeError(KeystileError):
    """What a query would read is not on record."""


class Looked(NamedTuple):
    """What is looked for in a result: a digest of it by entity, and the plan that says where."""

    detectors: Mapping[str, str] = MappingProxyType({})
    plan: Plan | None = None


class Again(NamedTuple):
    """A second ruling on a query, or why there is none.

    `others` are objects that the first decision had not looked up. `limits` hold for it, and
    `looked` says what is looked for in its result.
    """

    ruling: Ruling | None
    why: str = ""
    others: tuple[str, ...] = ()
    limits: tuple[Limits, ...] = ()
    looked: Looked = Looked()


class Simulated(NamedTuple):
    """One recorded query: what was decided then, and what would be.

    `change` is None where nothing would be otherwise, and where `why` says that it is not known.
    `limits` would hold for it, and `looked` says what would be looked for in its result.
    """

    asked: AskedQuery
    before: Ruling | None
    after: Ruling | None
    change: Change | None = None
    why: str = ""
    others: tuple[str, ...] = ()
    limits: tuple[Limits, ...] = ()
    looked: Looked = Looked()


class _Question(NamedTuple):
    """A query to be decided on: `asked` names it whoever asks, `key` with who asks and when."""

    query: Recalled
    asked: bytes
    key: bytes


class Simulator:
    """Decides again. What is asked twice is decided once; what is kept is bounded.

    A text is analysed once for all that are alike and for all agents, and masked once for all whom
    the same is hidden from.
    """

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
        self._alike = Alike()
        self._known: OrderedDict[bytes, Again] = OrderedDict()
        self._maskable: OrderedDict[tuple[bytes, str], bool] = OrderedDict()
        self.decided = 0
        """How many rulings were made: what is asked again is not ruled on again."""
        self.objects: set[str] = set()
        """The names of all tables, views and routines that the decisions rested on."""

    async def simulate(self, batch: list[AskedQuery]) -> list[Simulated]:
        """Decide on some recorded queries, and give them in the same order.

        Statements of scripts are left out: what is decided on is the script.
        """
        read = [(asked, self._recalled(asked)) for asked in batch]
        several = [self._question(found) for _, found in read]
        new = {
            one.key: one
            for one in several
            if one and one.key not in self._known and not one.query.settled
        }
        rulings = dict(await self._all(new))
        rulings |= {
            one.key: self._known[one.key] for one in several if one and one.key in self._known
        }
        _keep(self._known, rulings, _RULINGS_KEPT)
        self.objects.update(*(one.query.objects for one in new.values()))
        return [
            self._simulated(asked, found, rulings.get(one.key) if one else None)
            for one, (asked, found) in zip(several, read, strict=True)
            if found is not None
        ]

    def _recalled(self, asked: AskedQuery) -> Recalled | Unusable | None:
        """Read a query again, and see whether all that the policy asks for is on record."""
        found = recalled(asked)
        why = found.why_unknown(self._policy.words) if isinstance(found, Recalled) else ""
        return Unusable(why) if why else found

    def _question(self, found: Recalled | Unusable | None) -> _Question | None:
        """Give what is to be decided on, with the text that stands for all that are alike."""
        if not isinstance(found, Recalled):
            return None
        request = found.request
        request = msgspec.structs.replace(request, sql=self._alike.first(request.sql))
        query = found._replace(request=request)
        asked = query.asked()
        return _Question(query, asked, query.key(asked, self._policy.words))

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
        return Simulated(
            asked, found.before, again.ruling, made, "", again.others, again.limits, again.looked
        )

    async def _all(self, new: dict[bytes, _Question]) -> Iterable[tuple[bytes, Again]]:
        """Decide on several, so many at a time that the engine is never idle.

        One after the other for those who ask the same, so that the first one's analysis is there.
        """
        several: dict[bytes, list[_Question]] = {}
        for question in new.values():
            several.setdefault(question.asked, []).append(question)
        turns = iter(several.values())
        found: list[tuple[bytes, Again]] = []

        async def take() -> None:
            for questions in turns:
                found.extend([(one.key, await self._again(one)) for one in questions])

        async with asyncio.TaskGroup() as group:
            for _ in range(self._at_once):
                group.create_task(take())
        self.decided += len(found)
        return found

    async def _again(self, question: _Question) -> Again:
        query = question.query
        try:
            catalogue = self._schemas.of(query.objects, complete=query.complete)
            again = await self._ruling(question, catalogue)
        except UnknownSchemaError:
            return Again(None, _UNKNOWN)
        except UnknownSizeError:
            return Again(None, _SIZE)
        except (EngineFailedError, OverloadedError):
            # INVARIANT: nothing is known where the engine gave no answer, least of all a refusal.
            return Again(None, _FAILED)
        return again._replace(others=tuple(dict.fromkeys(catalogue.others)))

    async def _ruling(self, question: _Question, catalogue: RecordedCatalogue) -> Again:
        """Rule on a query: on none where its analysis is refused, not the policy's doing."""
        query, planner = question.query, self._planner(catalogue)
        try:
            decided = await planner.decided(
                query.principal, query.request, self._policy, None, query.context
            )
            self._require_size(query, decided)
            if decided.decision.effect is not Effect.DENY:
                await self._mask(planner, question, decided)
        except (NotFoundError, ShutOutError) as error:
            hiding = error.because.reasons if error.because else ()
            effect = "not_found" if isinstance(error, NotFoundError) else str(Effect.DENY)
            return Again(Ruling(effect, rule_names(hiding)))
        except InvalidQueryError:
            return Again(Ruling("invalid"))
        except UnmaskableError:
            return Again(Ruling(str(Effect.DENY), (MASK_AT_READ,)))
        except (EngineFailedError, OverloadedError, UnknownSchemaError, UnknownSizeError):
            raise
        except KeystileError:
            return Again(None, _REFUSED)
        decision, facts = decided.decision, decided.facts
        return Again(ruling_of(decision, facts), limits=decision.limits, looked=_looked(decided))

    async def _mask(self, planner: Planner, question: _Question, decided: Decided) -> None:
        """Raise `UnmaskableError` where what is hidden cannot be hidden in the query.

        INVARIANT: the same masks and filters make the same text of the same query, so what could be
        put in once, then or now, can be again.
        """
        protection = protection_of(decided.decision)
        if protection == question.query.protection:
            return
        # An object that was not on record is the same for all who ask for it now.
        key = question.asked, protection
        maskable = self._maskable.get(key)
        if maskable is None:
            try:
                await planner.masked(question.query.request, decided)
                maskable = True
            except UnmaskableError:
                maskable = False
            _keep(self._maskable, {key: maskable}, _MASKINGS_KEPT)
        if not maskable:
            raise UnmaskableError("what is hidden cannot be hidden in this query")

    def _require_size(self, query: Recalled, decided: Decided) -> None:
        """Raise `UnknownSizeError` where the ruling depends on what is not on record.

        Of a script nobody knew in service either, and the ruling is what it would be there.
        """
        if query.context.bytes is not None or not self._policy.asks_bytes:
            return
        if query.request.transfer or not is_known(decided.facts):
            return
        open_ = self._policy.decide(
            query.principal,
            decided.facts,
            decided.understood.tables,
            query.context,
            unmeasured=True,
        )
        if ruling_of(open_, decided.facts) != ruling_of(decided.decision, decided.facts):
            raise UnknownSizeError(_SIZE)

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


def _looked(decided: Decided) -> Looked:
    """Say what is looked for in the result; of the plan nothing else is kept."""
    decision, facts = decided.decision, decided.facts
    if not decision.detections:
        return Looked()
    used = {use.column for use in facts.columns}
    plan = Plan(
        QueryFacts(facts.statement, (), columns=facts.columns, output=facts.output),
        Decision(decision.effect, (), "", detections=decision.detections),
        sql="",
        masked=tuple(one.column for one in decision.masks if one.column in used),
        schema=(),
        bytes_estimate=0,
        digest="",
        labels=decided.labels,
    )
    return Looked(detectors_of(decision), plan)


def _keep(known: OrderedDict[KeyT, ValueT], new: Mapping[KeyT, ValueT], most: int) -> None:
    """Remember the newest ones."""
    for key, value in new.items():
        known[key] = value
        known.move_to_end(key)
    while len(known) > most:
        known.popitem(last=False)
