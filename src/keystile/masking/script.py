"""Puts masked texts into their script, and checks that the script is still the same one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from keystile.analysis.analysed import Analysed
from keystile.analysis.outlined import OutlineRequest
from keystile.analysis.scripts.parts import Part, Role
from keystile.analysis.scripts.split import split
from keystile.analysis.text import Edit, splice
from keystile.googlesql.engine import Engine
from keystile.googlesql.task import Task
from keystile.masking.literals import text
from keystile.masking.task import MaskRequest, mask_query
from keystile.model.errors import InvalidQueryError, RefusedError

_TOGETHER = 16
"""How many texts one task masks and proves: within the deadline, with some 20 ms each."""


class RewrittenPart(msgspec.Struct, frozen=True):
    """A text as it runs, and the byte at which it, or what gives it, begins in its script."""

    sql: str
    at: int


class MaskTexts(msgspec.Struct, frozen=True):
    """Texts of one script to mask."""

    requests: tuple[MaskRequest, ...]


class MaskedTexts(msgspec.Struct, frozen=True):
    """The rewritten and proved texts, in the order of the requests."""

    texts: tuple[str, ...]


class CheckRequest(msgspec.Struct, frozen=True):
    """A rewritten script, and what must be found in it: its texts and all that is around them."""

    sql: str
    project: str
    dataset: str
    skeleton: tuple[str, ...]
    texts: tuple[str, ...]


class Checked(msgspec.Struct, frozen=True):
    """The rewritten script holds what was proved and nothing else; `parts` are where."""

    parts: tuple[RewrittenPart, ...]


def mask_texts(engine: Engine, request: MaskTexts) -> MaskedTexts:
    """Mask and prove each text. Raises `RefusedError` where one cannot be."""
    return MaskedTexts(tuple(mask_query(engine, one).sql for one in request.requests))


def check(engine: Engine, request: CheckRequest) -> Checked:
    """Take the rewritten script apart again and compare. Raises `RefusedError`."""
    try:
        script = split(engine, OutlineRequest(request.sql, request.project, request.dataset))
    except InvalidQueryError as error:
        raise _other() from error
    found = tuple(part.sql for part in script.parts)
    if script.opaque or found != request.texts or script.skeleton != request.skeleton:
        raise _other()
    return Checked(as_they_run(script.parts))


def as_they_run(parts: Iterable[Part]) -> tuple[RewrittenPart, ...]:
    """Give the texts of a script as which BigQuery gets it."""
    return tuple(RewrittenPart(part.sql, part.start) for part in parts)


MASK_TEXTS = Task(mask_texts, MaskTexts, MaskedTexts)
"""Put masks into several texts and prove each."""

CHECK = Task(check, CheckRequest, Checked)
"""Check that a rewritten script is made of the texts that were proved."""


def together(requests: tuple[MaskRequest, ...]) -> Iterator[MaskTexts]:
    """Give the requests, some at a time."""
    for start in range(0, len(requests), _TOGETHER):
        yield MaskTexts(requests[start : start + _TOGETHER])


def with_texts(analysed: Analysed, masked: Mapping[int, str]) -> tuple[str, CheckRequest]:
    """Put masked texts, by the numbers of their parts, into a script; give it with its check."""
    parts = [part.part for part in analysed.parts]
    sql = splice(analysed.sql, _edits(parts, masked))
    texts = tuple(masked.get(number, part.sql) for number, part in enumerate(parts))
    statement = analysed.statement
    return sql, CheckRequest(sql, statement.project, statement.dataset, analysed.skeleton, texts)


def newest(analysed: Analysed, sql: str, masked: Mapping[int, str]) -> str:
    """Give what is sent of a rewritten session: its newest text.

    INVARIANT: what was sent before is, byte for byte, what would be sent of it now. So nothing that
    the session holds was read under other rights, or of a table that has changed since. Raises
    `RefusedError` where it is not.
    """
    session = analysed.session
    if session is None:
        return sql
    earlier = analysed.sql.encode()[: session.begins].decode()
    parts = [part.part for part in analysed.parts if part.part.start < session.begins]
    begins = len(splice(earlier, _edits(parts, masked)).encode())
    if sql.encode()[:begins].decode() != session.sent:
        raise RefusedError(
            "what this session has made was made under other rights, or of tables that have changed"
            " since",
            hint="begin another session",
        )
    return sql.encode()[begins:].decode()


def newest_parts(analysed: Analysed, parts: Sequence[RewrittenPart]) -> tuple[RewrittenPart, ...]:
    """Give the parts of what is sent, with their places in it."""
    if analysed.session is None:
        return tuple(parts)
    sent, begins = len(analysed.session.sent.encode()), analysed.session.begins
    return tuple(
        msgspec.structs.replace(run, at=run.at - sent)
        for part, run in zip(analysed.parts, parts, strict=True)
        if part.part.start >= begins
    )


def _edits(parts: Iterable[Part], masked: Mapping[int, str]) -> Iterator[Edit]:
    for number, part in enumerate(parts):
        if number not in masked:
            continue
        if part.role is Role.DYNAMIC:
            yield Edit(part.start, part.end, text(masked[number]))
        else:
            yield Edit(part.start, part.end, part.own(masked[number]))


def _other() -> RefusedError:
    return RefusedError(
        "the masked form of this script could not be proved to be the same script",
        hint="write it in a simpler way",
    )
