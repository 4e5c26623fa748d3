"""Where an agent's own token comes from, when its issuer is another: a file, an address, a program.

The words are those of `credential_source` in Google's credential files, which clients read.
"""

from __future__ import annotations

import asyncio
import os
import shlex
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from keystile.http.bodies import short_body
from keystile.model.errors import InvalidRequestError

ALLOW_PROGRAMS = "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES"
"""The variable without which Google's clients run no program."""

_PROGRAM_SECONDS = 30
_FETCH_SECONDS = 10.0
_MAX_BYTES = 64 << 10
_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:jwt"  # noqa: S105  a type's name


class TokenSource(msgspec.Struct, frozen=True):
    """Exactly one of a file, an address with its headers, or a command.

    `field` names the member that is the token where file or answer are JSON. A command prints
    what Google's clients expect of one: JSON with `version`, `success`, `token_type`, `id_token`.
    """

    file: str = ""
    url: str = ""
    headers: dict[str, str] = {}
    command: str = ""
    field: str = ""

    def document(self) -> dict[str, Any]:
        """Give it as a credential file has it."""
        if self.command:
            limits = {"timeout_millis": _PROGRAM_SECONDS * 1000}
            return {"executable": {"command": self.command, **limits}}
        where: dict[str, Any] = {"url": self.url} if self.url else {"file": self.file}
        if self.headers:
            where["headers"] = self.headers
        if self.field:
            where["format"] = {"type": "json", "subject_token_field_name": self.field}
        return where

    async def read(self, audience: str) -> str:
        """Get a token, as a client would that wants one for `audience`.

        Raises `InvalidRequestError` where there is none; what was found is not repeated.
        """
        try:
            if self.command:
                return self._printed(await self._run(audience))
            text = await self._fetched() if self.url else self._kept()
            return (self._member(text, self.field) if self.field else text.decode("ascii")).strip()
        except (OSError, aiohttp.ClientError, ValueError, TimeoutError) as error:
            why = getattr(error, "strerror", None) or "it is not understood"
            raise InvalidRequestError(
                f"cannot get the agent's token from `{self.command or self.url or self.file}`: "
                f"{why}",
                hint="look at it by hand; Google's credential files say what it must give",
            ) from error

    def _kept(self) -> bytes:
        return Path(self.file).read_bytes()

    async def _fetched(self) -> bytes:
        timeout = aiohttp.ClientTimeout(total=_FETCH_SECONDS)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(self.url, headers=self.headers, allow_redirects=False) as answer,
        ):
            answer.raise_for_status()
            return await short_body(answer, _MAX_BYTES)

    async def _run(self, audience: str) -> bytes:
        told = {
            "GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE": audience,
            "GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE": _TOKEN_TYPE,
            "GOOGLE_EXTERNAL_ACCOUNT_INTERACTIVE": "0",
        }
        words = shlex.split(self.command)
        process = await asyncio.create_subprocess_exec(
            *words, stdin=DEVNULL, stdout=PIPE, env=os.environ | told
        )
        try:
            printed, _ = await asyncio.wait_for(process.communicate(), _PROGRAM_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        return printed

    def _printed(self, text: bytes) -> str:
        found = msgspec.json.decode(text, type=dict[str, Any])
        if found.get("success") is not True:
            raise ValueError("the program says that it has no token")
        return self._member(text, "id_token")

    @staticmethod
    def _member(text: bytes, name: str) -> str:
        value = msgspec.json.decode(text, type=dict[str, Any]).get(name)
        if not isinstance(value, str):
            raise ValueError("there is no such member")  # noqa: TRY004 - of a text, not of code
        return value
