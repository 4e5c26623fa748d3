from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from keystile.model.errors import RefusedError
from keystile.upstream.connection import Connection, Fetch
from keystile.upstream.errors import KeyRejectedError
from keystile.upstream.keys import SigningKey
from keystile.upstream.tokens import Token

ACCOUNT = "gateway@acme-shop.iam.gserviceaccount.com"


class Bench:
    """A connection whose keys' tokens are `ID 1`, `ID 2`, …; `down` has the keys with none,
    `rejected` those that Google does not take when it is asked for one.
    """

    def __init__(self) -> None:
        self.connection = Connection("default", self._fetch, self._reload)
        self.down: set[str] = set()
        self.rejected: set[str] = set()
        self.asked: list[str] = []
        self.reloads = 0
        self.account = ACCOUNT
        self.on_reload: list[Any] = []

    def _fetch(self, key: SigningKey | None) -> Fetch:
        given: list[Token] = []

        async def fetch() -> Token:
            id_ = key.id if key else "server"
            self.asked.append(id_)
            if id_ in self.rejected:
                raise KeyRejectedError(f"no token by {id_}")
            if id_ in self.down:
                raise RefusedError(f"no token by {id_}")
            account = key.account if key else self.account
            given.append(Token(f"{id_} {len(given) + 1}", account, time.time() + 3600))
            return given[-1]

        return fetch

    async def _reload(self) -> None:
        self.reloads += 1
        if self.on_reload:
            self.connection.use(self.on_reload)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def keys(tmp_path: Path, new_key: Any) -> list[SigningKey]:
    return [SigningKey(new_key(tmp_path / id_, id_).path.read_bytes(), id_) for id_ in ("a", "b")]


async def test_the_first_key_signs(bench: Bench, keys: list[SigningKey]) -> None:
    bench.connection.use(keys)
    assert await bench.connection.account() == ACCOUNT
    assert await bench.connection.bearer(ACCOUNT) == "a 1"


async def test_where_google_does_not_take_a_key_the_other_signs(
    bench: Bench, keys: list[SigningKey]
) -> None:
    bench.connection.use(keys)
    with capture_logs() as logs:
        assert await bench.connection.rejected(await bench.connection.bearer(ACCOUNT))
    assert await bench.connection.bearer(ACCOUNT) == "b 1"
    assert logs == [
        {
            "event": "credential_rejected",
            "room": "upstream",
            "connection": "default",
            "key": "a",
            "log_level": "warning",
        }
    ]
    assert bench.connection.rejections == 1


async def test_where_google_takes_none_no_more_are_tried(
    bench: Bench, keys: list[SigningKey]
) -> None:
    bench.connection.use(keys)
    assert await bench.connection.rejected("a 1") or True
    await bench.connection.bearer(ACCOUNT)
    bench.connection.use(keys)
    first = await bench.connection.bearer(ACCOUNT)
    assert await bench.connection.rejected(first)
    assert not await bench.connection.rejected(await bench.connection.bearer(ACCOUNT))


async def test_a_key_that_has_come_meanwhile_is_found_at_once(
    bench: Bench, keys: list[SigningKey]
) -> None:
    bench.connection.use(keys[:1])
    bench.on_reload = keys
    assert await bench.connection.rejected(await bench.connection.bearer(ACCOUNT))
    assert await bench.connection.bearer(ACCOUNT) == "b 1"


async def test_all_requests_of_the_moment_are_one_rejection(
    bench: Bench, keys: list[SigningKey]
) -> None:
    bench.connection.use(keys)
    token = await bench.connection.bearer(ACCOUNT)
    assert [await bench.connection.rejected(token) for _ in range(5)] == [True] * 5
    assert bench.reloads == bench.connection.rejections == 1


async def test_a_server_is_asked_once_more_for_a_token_that_counts(bench: Bench) -> None:
    bench.connection.use([None])
    first = await bench.connection.bearer(ACCOUNT)
    assert await bench.connection.rejected(first)
    second = await bench.connection.bearer(ACCOUNT)
    assert second == "server 2"
    assert not await bench.connection.rejected(second)


async def test_a_key_with_no_token_leaves_it_to_the_other(
    bench: Bench, keys: list[SigningKey]
) -> None:
    bench.connection.use(keys)
    bench.down = {"a"}
    assert await bench.connection.bearer(ACCOUNT) == "b 1"
    bench.down = {"a", "b"}
    bench.connection.use(())
    bench.connection.use(keys)
    with pytest.raises(RefusedError, match="no token by a"):
        await bench.connection.bearer(ACCOUNT)


async def test_what_was_begun_as_one_account_is_never_asked_for_as_another(bench: Bench) -> None:
    bench.connection.use([None])
    bench.account = "other@acme-shop.iam.gserviceaccount.com"
    with pytest.raises(RefusedError, match=f"begun as `{ACCOUNT}`.*is `{bench.account}` now"):
        await bench.connection.bearer(ACCOUNT)


async def test_a_key_of_the_account_of_before_still_signs_for_it(
    bench: Bench, keys: list[SigningKey], tmp_path: Path, new_key: Any
) -> None:
    text = new_key(tmp_path / "c", "c").path.read_text().replace("gateway@", "other@")
    other = SigningKey(text.encode(), "c")
    bench.connection.use([other, keys[0]])
    assert await bench.connection.account() == other.account
    assert await bench.connection.bearer(ACCOUNT) == "a 1"


async def test_a_connection_with_no_key_left_says_so(bench: Bench) -> None:
    with pytest.raises(RefusedError, match="`default` cannot be read"):
        await bench.connection.account()


async def test_a_key_that_stays_keeps_its_token(bench: Bench, keys: list[SigningKey]) -> None:
    bench.connection.use(keys[:1])
    await bench.connection.bearer(ACCOUNT)
    bench.connection.use([keys[1], keys[0]])
    bench.down = {"b"}
    assert await bench.connection.bearer(ACCOUNT) == "a 1"
    assert repr(bench.connection) == "Connection('default', keys=['b', 'a'])"


async def test_a_key_for_which_google_gives_no_token_is_the_last_choice_for_a_while(
    bench: Bench, keys: list[SigningKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where an account is impersonated: else each request would ask by it again, in vain."""
    bench.rejected = {"a"}
    bench.connection.use(keys)
    with capture_logs() as logs:
        assert await bench.connection.bearer(ACCOUNT) == "b 1"
        assert await bench.connection.bearer(ACCOUNT) == "b 1"
    assert [line["event"] for line in logs if line["event"] == "credential_rejected"] != []
    assert (bench.asked, bench.connection.rejections, bench.reloads) == (["a", "b"], 1, 1)
    bench.rejected = set()
    later = time.monotonic() + 61
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert await bench.connection.bearer(ACCOUNT) == "a 1"


async def test_a_key_that_came_this_very_moment_is_tried_at_once(
    bench: Bench, keys: list[SigningKey]
) -> None:
    bench.rejected = {"a"}
    bench.connection.use(keys[:1])
    bench.on_reload = keys[::-1]
    assert await bench.connection.bearer(ACCOUNT) == "b 1"


async def test_where_google_takes_no_key_all_are_tried_and_the_first_reason_is_given(
    bench: Bench, keys: list[SigningKey]
) -> None:
    bench.rejected = {"a", "b"}
    bench.connection.use(keys)
    for _ in range(2):
        with pytest.raises(RefusedError, match="no token by"):
            await bench.connection.bearer(ACCOUNT)
    assert bench.asked == ["a", "b", "a", "b"]
