import pytest
from starlette.requests import Request
from starlette.responses import Response

from keystile.approvals.requests import Approvals
from keystile.console.desk import Desk, version_of
from keystile.identity.people import People
from keystile.model.errors import UnauthenticatedError
from keystile.recording.log import RecordingLog
from keystile.store.database import Database


async def test_under_https_the_cookie_is_secure_and_bound_to_the_host(
    database: Database, recording: RecordingLog
) -> None:
    people = People(database)
    await people.create("operator", ("data-stewards",))
    desk = Desk(
        url="https://keystile.acme.example",
        people=people,
        approvals=Approvals(database),
        recording=recording,
        clock=lambda: 5.0,
    )
    response = Response()
    session = await people.sign_in(await people.new_link("operator"))
    desk.sign_in(response, session)
    cookie = response.headers["set-cookie"]
    assert cookie.startswith("__Host-keystile=")
    assert "Secure" in cookie
    assert "Path=/" in cookie
    assert "Domain" not in cookie

    def request(header: str) -> Request:
        return Request({"type": "http", "headers": [(b"cookie", header.encode())]})

    visit = await desk.visit(request(cookie.partition(";")[0]))
    assert (visit.person.name, visit.person.groups, visit.now) == (
        "operator",
        ("data-stewards",),
        5.0,
    )
    assert session not in visit.csrf
    for header in (f"keystile-443={session}", "__Host-keystile=guess", ""):
        with pytest.raises(UnauthenticatedError):
            await desk.visit(request(header))


def test_versions_differ_with_what_they_name() -> None:
    assert version_of([1, "a"]) == version_of((1, "a"))
    assert version_of([1, "a"]) != version_of([1, "b"])
