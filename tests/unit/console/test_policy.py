from __future__ import annotations

import time
from typing import Any

import pytest

from keystile.gate.policy_versions import Draft, PolicyVersions, Replica
from keystile.store.database import Database

OLD = {"rules.yaml": "rules:\n- {name: read, allow: [read]}\n"}
NEW = {"rules.yaml": "rules:\n- {name: read, allow: [read], message: '<b>look'}\n"}


@pytest.fixture
async def versions(database: Database) -> PolicyVersions:
    return PolicyVersions(database)


async def publish(versions: PolicyVersions, files: dict[str, str], message: str = "why") -> None:
    draft = Draft(files, "d" * 64, "ann\x07", message, "cli")
    await versions.publish(draft, expect=None, first=None)


async def gateway(versions: PolicyVersions, name: str, version: int, problem: str = "") -> None:
    now = time.time()
    digest = "" if problem else "e" * 64
    await versions.note(Replica(name, name, version, digest, problem, now, now))


async def test_before_anything_is_published_the_page_says_what_holds(
    desk: Any, versions: PolicyVersions
) -> None:
    await desk.sign_in("visitor")
    await gateway(versions, "one:8420", 0)
    text = (await desk.get("/policy")).text
    assert "Each gateway follows the folder of its settings" in text
    assert "its folder" in text
    assert "keystile policy apply" in text


async def test_what_holds_what_changed_and_who_has_it(desk: Any, versions: PolicyVersions) -> None:
    await desk.sign_in("visitor")
    await publish(versions, OLD, "first")
    await publish(versions, NEW, "<script>second</script>")
    await gateway(versions, "new:8420", 2)
    await gateway(versions, "late:8420", 1)
    await gateway(versions, "old:8420", 2, "version 2 of the policy cannot be read here: why")
    text = (await desk.get("/policy")).text
    assert "version 2 holds" in text
    assert "&lt;script&gt;second" in text
    assert "U+0007" in text
    assert '<span class="badge good">version 2</span>' in text
    assert '<span class="badge warn">version 1</span>' in text
    assert "refuses everything" in text
    assert '<span class="badge warn">changed</span>' in text
    assert "<code>message</code> is now &#34;&lt;b&gt;look&#34;" in text
    assert (
        '<span class="badge warn">changed</span>'
        not in (await desk.get("/policy?before=2&after=2")).text
    )


async def test_a_version_shows_its_files(desk: Any, versions: PolicyVersions) -> None:
    await desk.sign_in("visitor")
    await publish(versions, NEW)
    answer = await desk.get("/policy/version?number=1")
    assert answer.status == 200
    assert "&lt;b&gt;look" in answer.text
    assert answer.text.count('<span class="line">') == 2


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/policy/version?number=7", 404),
        ("/policy/version?number=x", 400),
        ("/policy/version?number=99999999999999999999", 400),
        ("/policy?before=1&after=9", 404),
        ("/policy?before=1", 400),
        ("/policy/version", 400),
    ],
)
async def test_what_is_no_version_is_said(
    desk: Any, versions: PolicyVersions, path: str, status: int
) -> None:
    await desk.sign_in("visitor")
    await publish(versions, OLD)
    assert (await desk.get(path)).status == status


async def test_a_version_that_cannot_be_read_is_shown_as_such(
    desk: Any, versions: PolicyVersions
) -> None:
    await desk.sign_in("visitor")
    await publish(versions, OLD)
    await publish(versions, {"rules.yaml": "of_later: 1"})
    answer = await desk.get("/policy")
    assert answer.status == 200
    assert "unknown word <code>of_later</code>" in answer.text


@pytest.mark.parametrize("path", ["/policy", "/policy/version?number=1"])
async def test_nobody_sees_the_policy_without_signing_in(
    desk: Any, versions: PolicyVersions, path: str
) -> None:
    await publish(versions, OLD)
    assert (await desk.get(path)).status == 401
