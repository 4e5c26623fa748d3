from pathlib import Path
from typing import Any

from keystile.recording.verify import verify


async def test_a_link_page_uses_nothing_up_and_the_button_does(desk: Any, tmp_path: Path) -> None:
    secret = await desk.people.new_link("operator")
    for _ in range(2):
        page = await desk.get(f"/link/{secret}")
        assert page.status == 200
        assert f'name="token" value="{secret}"' in page.text
    answer = await desk.post("/sign-in", token=secret)
    assert (answer.status, answer.headers["location"]) == (303, "/approvals")
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith("keystile-8421=")
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert (await desk.post("/sign-in", token=secret)).status == 401
    assert b"signed_in" in b"".join(
        file.read_bytes() for file in (tmp_path / "recordings").rglob("*") if file.is_file()
    )
    assert verify(tmp_path / "recordings").intact


async def test_signing_out_ends_the_session_in_the_store(desk: Any) -> None:
    await desk.sign_in("operator")
    assert (await desk.post("/sign-out", csrf="wrong")).status == 403
    answer = await desk.post("/sign-out", csrf=await desk.csrf())
    assert (answer.status, answer.headers["location"]) == (303, "/sign-in")
    assert (await desk.get("/approvals")).status == 401


async def test_what_stands_in_a_links_address_stays_text(desk: Any) -> None:
    page = await desk.get('/link/"><script>alert(1)')
    assert "<script>alert" not in page.text
