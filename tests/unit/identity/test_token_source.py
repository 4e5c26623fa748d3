from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from google.auth import identity_pool, pluggable
from google.auth.transport.requests import Request
from prove.identity import sources

from keystile.identity.connection import Connection
from keystile.identity.token_source import ALLOW_PROGRAMS, TokenSource
from keystile.model.errors import InvalidRequestError

AUDIENCE = "//keystile/agents"


def _all(folder: Path, url: str) -> dict[str, TokenSource]:
    headers = {"Metadata-Flavor": "Sample"}
    return {
        "file": TokenSource(file=str(folder / "text")),
        "JSON file": TokenSource(file=str(folder / "json"), field="credential"),
        "address": TokenSource(url=f"{url}/text", headers=headers),
        "JSON address": TokenSource(url=f"{url}/json", headers=headers, field="credential"),
        "program": TokenSource(command=f"/bin/sh {folder / 'program'}"),
    }


@pytest.mark.parametrize("name", ["file", "JSON file", "address", "JSON address", "program"])
def test_we_and_googles_library_get_the_same_token(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sources.standing(tmp_path / "there") as standing:
        standing.put("the-token")
        address = next(one["url"] for one in standing.named.values() if "url" in one)
        source = _all(tmp_path / "there", address.rpartition("/")[0])[name]
        assert asyncio.run(source.read(AUDIENCE)) == "the-token"
        connection = Connection(tmp_path / "c", "http://127.0.0.1:1", AUDIENCE, source=source)
        connection.write()
        found = connection.environment("")
        assert (found.get(ALLOW_PROGRAMS) == "1") is (name == "program")
        monkeypatch.setenv(ALLOW_PROGRAMS, "1")
        kind: Any = pluggable if name == "program" else identity_pool
        credentials = kind.Credentials.from_file(found["GOOGLE_APPLICATION_CREDENTIALS"])
        assert credentials.retrieve_subject_token(Request()).strip() == "the-token"
        assert not (tmp_path / "c" / "oidc.jwt").exists()


@pytest.mark.parametrize(
    ("printed", "code"),
    [
        ("no json", 0),
        ('{"success": false, "code": "x", "message": "y"}', 0),
        ('{"success": true}', 0),
        ('{"success": true, "id_token": 5}', 0),
        ("", 1),
    ],
)
async def test_a_program_without_a_token_is_named_and_not_repeated(
    tmp_path: Path, printed: str, code: int
) -> None:
    script = tmp_path / "program"
    script.write_text(f"printf '%s' '{printed}'\nexit {code}\n")
    source = TokenSource(command=f"/bin/sh {script}")
    with pytest.raises(InvalidRequestError, match="cannot get the agent's token from") as error:
        await source.read(AUDIENCE)
    assert "message" not in str(error.value)


async def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    for source in (
        TokenSource(file=gone),
        TokenSource(command=gone),
        TokenSource(url="http://127.0.0.1:1/"),
    ):
        with pytest.raises(InvalidRequestError, match="cannot get the agent's token"):
            await source.read(AUDIENCE)


async def test_a_wrong_member_is_no_token(tmp_path: Path) -> None:
    (tmp_path / "t").write_text(json.dumps({"a": 1, "b": "x"}))
    with pytest.raises(InvalidRequestError, match="not understood"):
        await TokenSource(file=str(tmp_path / "t"), field="a").read(AUDIENCE)
    assert await TokenSource(file=str(tmp_path / "t"), field="b").read(AUDIENCE) == "x"


async def test_a_token_that_comes_in_pieces_is_not_cut_short() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in (b"the-", b"token"):
            await response.write(piece)
            await asyncio.sleep(0.05)
        return response

    there = web.Application()
    there.router.add_get("/", answer)
    async with TestServer(there) as server:
        assert await TokenSource(url=str(server.make_url("/"))).read(AUDIENCE) == "the-token"
