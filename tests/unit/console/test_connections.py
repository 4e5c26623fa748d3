from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from keystile.config.upstream import Connection
from keystile.recording.events import Event, EventKind
from keystile.recording.log import RecordingLog
from keystile.upstream.connections import CredentialAge
from keystile.upstream.listing import Listing
from keystile.upstream.stored import StoredConnection

WHO = "reports@acme-shop.iam.gserviceaccount.com"
DAY = 86400.0


async def added(listing: Listing, at: float) -> None:
    """Add a connection with one key, as its command does."""
    one = StoredConnection("reports", Connection(), at, "ana")
    await listing.stored.add(one, WHO, "key-1")
    await listing.stored.adopt("reports", "key-1", WHO, at)
    await listing.connections.load()


async def on_record(recording: RecordingLog, action: str, **body: object) -> None:
    told = {"action": action, "connection": "reports", "account": WHO, "at": time.time(), **body}
    await recording.append(Event(EventKind.CONNECTION_CHANGED, time.time(), body=told))


async def test_connections_are_listed_with_the_age_of_their_keys(
    desk: Any, listing: Listing
) -> None:
    await desk.sign_in("visitor")
    await added(listing, time.time() - 91 * DAY)
    text = (await desk.get("/connections")).text
    for words in (
        "on-the-machine",
        "metadata server",
        "reports",
        WHO,
        "key-1",
        "91 days",
        "active",
    ):
        assert words in text, words
    assert text.count(">old<") == 1
    assert "Nothing is on record yet." in text


async def test_a_key_of_less_than_90_days_is_not_called_old(desk: Any, listing: Listing) -> None:
    await desk.sign_in("visitor")
    await added(listing, time.time() - 89 * DAY)
    assert ">old<" not in (await desk.get("/connections")).text


async def test_the_end_of_a_token_and_what_google_refused_are_shown(
    desk: Any, listing: Listing, monkeypatch: Any
) -> None:
    await desk.sign_in("visitor")
    await added(listing, time.time())
    known = CredentialAge("reports", "key-1", 1.0, time.time() + 1830, 7)
    monkeypatch.setattr(listing.connections, "ages", lambda: iter([known]))
    text = (await desk.get("/connections")).text
    assert "in 30 min" in text
    assert text.count("Google refused 7") == 1


async def test_events_are_shown_newest_first_and_stay_text(
    desk: Any, recording: RecordingLog
) -> None:
    await desk.sign_in("visitor")
    await on_record(recording, "add", key="key-1", person="ana", via="cli")
    await on_record(recording, "rotate", key="key-2", person="ana", via="cli")
    await on_record(recording, "replace", key="key-3", source="/etc/<b>key.json", via="settings")
    await on_record(recording, "remove", person="ben", via="cli")
    text = (await desk.get("/connections")).text
    places = [text.index(f">{word}<") for word in ("removed", "key replaced", "rotated", "added")]
    assert places == sorted(places)
    for words in ("key-1", "key-2", "key-3", "ana", "ben", "/etc/&lt;b&gt;key.json"):
        assert words in text, words


async def test_an_altered_record_is_told_beside_the_list(
    desk: Any, recording: RecordingLog, tmp_path: Path
) -> None:
    await desk.sign_in("visitor")
    await on_record(recording, "add", key="key-1")
    assert "key-1" in (await desk.get("/connections")).text
    (segment,) = (one for one in (tmp_path / "recordings").rglob("*") if b"key-1" in content(one))
    segment.write_bytes(segment.read_bytes().replace(b"key-1", b"key-9"))
    text = (await desk.get("/connections")).text
    assert "on-the-machine" in text
    assert 'role="alert"' in text
    assert "key-9" not in text


def content(file: Path) -> bytes:
    return file.read_bytes() if file.is_file() and file.suffix != ".sqlite" else b""


async def test_who_is_not_signed_in_sees_no_connection(desk: Any) -> None:
    answer = await desk.get("/connections")
    assert answer.status == 401
    assert "on-the-machine" not in answer.text
