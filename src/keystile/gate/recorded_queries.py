"""Recorded queries as requests again, with what was decided on them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from keystile.model.decision import ApprovalDemand, Effect
from keystile.model.errors import InvalidQueryError, KeystileError, NotFoundError
from keystile.model.principal import Principal
from keystile.policy.context import Context
from keystile.policy.ruling import (
    MASK_AT_READ,
    Filtered,
    Masked,
    Ruling,
    demanded,
    mask_words,
)
from keystile.recording.asked import AskedQuery
from keystile.recording.decided import DecisionBody
from keystile.recording.events import Event
from keystile.recording.query_events import IntentBody, PrincipalBody, RefusedBody
from keystile.wire.into import into_of_text
from keystile.wire.requests import QueryRequest
from keystile.wire.schema import parameters_from_json
from keystile.wire.transfers import transfer_of_text

_ALTERED = "the record is gone or was altered (see `keystile audit verify`)"
_TOO_OLD = "the recording does not have all that a decision rests on"
_WORD_UNKNOWN = "the policy asks for `{}`, which is not on record with it"
UNDECIDED = "it was refused before it was decided on, and would not be now"
_SESSION = "it ran in a session, so that its meaning depends on the queries before it"
_BESIDE = "it reads the result of an earlier query"
_NOT_READ = "the recorded request is not understood"

_ADDRESS, _CLIENT, _TIME = "request", "request.client", "request.time"
_BYTES = "query.bytes"
"""Words of conditions, as `keystile.policy.conditions` has them."""

_SPELLED = {_ADDRESS: "request.network"}
_OF_REQUEST = {"address": _ADDRESS, "client": _CLIENT}
"""What older recordings do not have of a principal, and the words that it is."""

_INVALID, _NOT_FOUND = "invalid", "not_found"
_UNDECIDED = Ruling(str(Effect.DENY))

_MIDNIGHT = datetime(2000, 1, 1, tzinfo=UTC)


class Recalled(NamedTuple):
    """A recorded query as it can be decided on again.

    `before` is what was decided then; `protection` is the digest of the masks and row filters that
    were put in, empty where none were. `objects` has the digests of the schemas that the decision
    rested on, by name. A `settled` one is wrong whatever policy says; an `undecided` one was
    refused for a reason that may have passed, such as a time limit. `unknown` are words of
    conditions whose values are not on record.
    """

    principal: Principal
    request: QueryRequest
    context: Context
    objects: Mapping[str, str]
    before: Ruling
    protection: str = ""
    settled: bool = False
    undecided: bool = False
    unknown: frozenset[str] = frozenset()

    @property
    def complete(self) -> bool:
        """Whether it came to a decision, so that nothing else was looked for than `objects`."""
        return not self.undecided and self.before.effect != _NOT_FOUND

    def asked(self) -> bytes:
        """Name what is asked for, and what it was found to be, whoever asks and when."""
        types = tuple(msgspec.structs.replace(one, value={}) for one in self.request.parameters)
        request = msgspec.structs.replace(self.request, parameters=types)
        return _named(request, self.objects, self.complete)

    def key(self, asked: bytes, words: Collection[str]) -> bytes:
        """Name all that a decision on it depends on under a policy whose conditions have `words`.

        `asked` is what `asked()` gives.
        """
        who, context = self.principal, self.context
        if _BYTES not in words:
            context = msgspec.structs.replace(context, bytes=None)
        return _named(
            asked,
            msgspec.structs.replace(
                who,
                session="",
                address=who.address if _ADDRESS in words else "",
                client=who.client if _CLIENT in words else "",
            ),
            context if _TIME in words else msgspec.structs.replace(context, time=_MIDNIGHT),
        )

    def why_unknown(self, words: Collection[str]) -> str:
        """Say which of a policy's `words` is not on record; empty where all that it needs is."""
        missing = sorted(self.unknown.intersection(words))
        return _WORD_UNKNOWN.format(_SPELLED.get(missing[0], missing[0])) if missing else ""


def _named(*parts: object) -> bytes:
    return hashlib.sha256(msgspec.msgpack.encode(parts, order="deterministic")).digest()


class Unusable(NamedTuple):
    """Why a recorded query cannot be decided on again, in the same words for all of its kind."""

    why: str


def recalled(asked: AskedQuery) -> Recalled | Unusable | None:
    """Read a recorded query again; None for a statement of a script, which is part of that."""
    if asked.recorded is None or asked.body is None:
        return Unusable(_ALTERED)
    event, body = asked.recorded.event, asked.body
    if "script" in body.request:
        return None
    if why := _unusable(event, body):
        return Unusable(why)
    before = _before(body)
    try:
        return Recalled(
            _principal(event, body),
            _request(body),
            msgspec.convert(body.rests_on.context, Context),
            body.rests_on.objects,
            before,
            _protection(body),
            settled=before.effect == _INVALID,
            undecided=before == _UNDECIDED,
            unknown=_unknown(event),
        )
    except (KeystileError, msgspec.ValidationError, ValueError):
        return Unusable(_NOT_READ)


def _unusable(event: Event, body: IntentBody | RefusedBody) -> str:
    """Say what is missing for another decision, or nothing."""
    if body.request.get("session") or body.request.get("creates_session"):
        return _SESSION
    if body.rests_on.beside:
        return _BESIDE
    whole = _has(body.rests_on.context, Context, but=["bytes"])
    known = _has(event.body.get("principal"), PrincipalBody, but=_OF_REQUEST)
    return "" if whole and known else _TOO_OLD


def _unknown(event: Event) -> frozenset[str]:
    principal = event.body["principal"]
    return frozenset(word for field, word in _OF_REQUEST.items() if field not in principal)


def _before(body: IntentBody | RefusedBody) -> Ruling:
    """Give what was decided, or what the query met before it came to that."""
    decision = body.decision
    if decision is None:
        assert isinstance(body, RefusedBody)  # noqa: S101 - an intent has one
        effects = {NotFoundError.reason: _NOT_FOUND, InvalidQueryError.reason: _INVALID}
        return Ruling(effects[body.reason]) if body.reason in effects else _UNDECIDED
    if isinstance(body, RefusedBody) and body.unmaskable:
        return Ruling(str(Effect.DENY), (MASK_AT_READ,))
    rules = tuple(dict.fromkeys(one.rule for one in decision.rules))
    if decision.effect == Effect.DENY:
        hidden = isinstance(body, RefusedBody) and body.reason == NotFoundError.reason
        return Ruling(_NOT_FOUND if hidden else decision.effect, rules)
    return _ruling(decision, rules)


def _ruling(decision: DecisionBody, rules: tuple[str, ...]) -> Ruling:
    masked = (Masked(one.column, one.label, mask_words(one.mask)) for one in decision.masks)
    filters = (Filtered(one.table, one.rule, one.where) for one in decision.row_filters)
    demands = (
        demanded(msgspec.convert(msgspec.structs.asdict(one), ApprovalDemand))
        for one in decision.approvals
    )
    return Ruling(
        decision.effect,
        rules,
        tuple(sorted(masked)),
        tuple(sorted(filters)),
        tuple(sorted(demands)),
    )


def _protection(body: IntentBody | RefusedBody) -> str:
    """Name the masks and filters that are known to have been put in: an intent has that behind."""
    return body.decision.protection if isinstance(body, IntentBody) else ""


def _has(found: object, kind: type[msgspec.Struct], *, but: Iterable[str] = ()) -> bool:
    """Tell whether a record has every field: one that is left out was not known then."""
    return isinstance(found, dict) and found.keys() >= {*kind.__struct_fields__}.difference(but)


def _principal(event: Event, body: IntentBody | RefusedBody) -> Principal:
    return Principal(
        agent=event.agent,
        session=event.session,
        on_behalf_of=body.on_behalf_of,
        **msgspec.structs.asdict(body.principal),
    )


def _request(body: IntentBody | RefusedBody) -> QueryRequest:
    asked = body.request
    project = asked["project"]
    return QueryRequest(
        sql=asked.get("statement") or body.sql,
        project=project,
        default_project=asked.get("default_project", ""),
        default_dataset=asked.get("default_dataset", ""),
        parameters=parameters_from_json(list(body.parameters), None),
        dry_run=asked.get("dry_run", False),
        maximum_bytes_billed=asked.get("maximum_bytes_billed"),
        transfer=transfer_of_text(project, body.sql) if asked.get("transfer") else None,
        into=into_of_text(body.into) if body.into else None,
    )
