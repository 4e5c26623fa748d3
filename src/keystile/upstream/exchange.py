"""One request to BigQuery and its answer, read into what it says, or into the error that it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from keystile.model.errors import RefusedError
from keystile.upstream.answers import DatasetsAnswer, EntriesAnswer, TablesAnswer
from keystile.upstream.errors import from_response
from keystile.upstream.transport import Answer, Call, Transport

_A_PAGE = 1000
_PAGES_LISTED = 50

AnswerT = TypeVar("AnswerT")
ListT = TypeVar("ListT", TablesAnswer, DatasetsAnswer, EntriesAnswer)


class Exchange:
    """What all that asks BigQuery for something stands on.

    Every method raises `RefusedError` on an outage, a time-out or an answer that is not understood,
    and else the error that BigQuery's own maps to (`upstream.errors`).
    """

    def __init__(self, transport: Transport) -> None:
        """Ask by `transport`. What is put among the secrets appears in no error."""
        self._transport = transport
        self._secrets: set[str] = set()

    async def _json(
        self, method: str, path: tuple[str, ...], query: dict[str, str] | None = None
    ) -> dict[str, Any]:
        answer = await self._transport.send(Call(method, path, query or {}))
        return self._decoded(answer, dict[str, Any])

    def _decoded(self, answer: Answer, type_: type[AnswerT]) -> AnswerT:
        # Not strict: BigQuery's JSON writes 64-bit integers as strings.
        return self._read(answer, lambda body: msgspec.json.decode(body, type=type_, strict=False))

    def _read(self, answer: Answer, read: Callable[[bytes | bytearray], AnswerT]) -> AnswerT:
        if not 200 <= answer.status < 300:  # noqa: PLR2004  HTTP's own class of successes
            raise from_response(answer.status, answer.body, self._secrets)
        try:
            return read(answer.body)
        except msgspec.MsgspecError:
            raise RefusedError("BigQuery's answer is not understood") from None

    async def _every_page(self, path: tuple[str, ...], type_: type[ListT]) -> list[ListT]:
        pages: list[ListT] = []
        token = ""
        for _ in range(_PAGES_LISTED):
            query = {"pageToken": token} if token else {}
            query |= {"maxResults": str(_A_PAGE)}
            answer = await self._transport.send(Call("GET", path, query))
            pages.append(self._decoded(answer, type_))
            token = pages[-1].next_page_token
            if not token:
                return pages
        raise RefusedError(
            f"there is too much in `{path[-2:][0]}` to list", hint="name one of them"
        )

    async def _every_entry(self, path: tuple[str, ...]) -> list[dict[str, Any]]:
        pages = await self._every_page(path, EntriesAnswer)
        return [entry for page in pages for entry in getattr(page, path[-1])]
