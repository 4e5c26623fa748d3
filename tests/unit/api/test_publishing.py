from __future__ import annotations

import json

import pytest
import requests
from tests.unit.api.conftest import Make, Served

from keystile.wire.publishing import MAX_BYTES

BODY = b'{"files": {"a.yaml": "rules: []"}, "message": "why"}'


@pytest.fixture
def served(serve: Make) -> Served:
    return serve()


def post(served: Served, body: bytes = BODY, by: str = "may-publish") -> requests.Response:
    headers = {"Authorization": f"Bearer {by}"} if by else {}
    return requests.post(f"{served.url}/v1/policy", body, headers=headers, timeout=10)


def counted(served: Served, outcome: str) -> float | None:
    return served.metrics.registry.get_sample_value(
        "keystile_policy_publications_total", {"outcome": outcome}
    )


def test_who_may_publish_is_answered_with_the_version(served: Served) -> None:
    answer = post(served)
    assert answer.status_code == 200
    assert json.loads(answer.content)["version"] == 2
    assert served.publishing.bodies == [BODY]
    assert counted(served, "published") == 1
    assert served.metrics.registry.get_sample_value(
        "keystile_requests_total", {"method": "policy", "status": "200"}
    )


@pytest.mark.parametrize(("token", "status"), [("", 401), ("forged", 401), ("may-not", 403)])
def test_nothing_of_a_body_is_read_before_its_sender_may_publish(
    served: Served, token: str, status: int
) -> None:
    answer = post(served, b"x" * 99, token)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]
    assert served.publishing.bodies == []
    assert counted(served, "refused") == 1
    assert counted(served, "published") == 0


def test_a_body_has_a_bound(served: Served) -> None:
    assert post(served, b"x" * (MAX_BYTES + 1)).status_code == 413
    assert served.publishing.bodies == []
    assert counted(served, "refused") == 1


def test_agents_and_other_verbs_get_nothing(served: Served) -> None:
    assert post(served, by="token-a").status_code == 401
    headers = {"Authorization": "Bearer may-publish"}
    assert requests.get(f"{served.url}/v1/policy", headers=headers, timeout=10).status_code == 405
