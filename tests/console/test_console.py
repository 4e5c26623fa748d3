"""The console as a person meets it, in a real Chromium."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from keystile.approvals.machine import Person
from keystile.config.upstream import Connection
from keystile.gate.policy_versions import Draft, Replica
from keystile.identity.disabling import Target
from keystile.model.decision import ApprovalDemand
from keystile.recording.events import Event, EventKind
from keystile.upstream.stored import StoredConnection

AGENT = "demo-agent"
TWO_PEOPLE = ApprovalDemand("two-people", ("data-stewards",), 2, 600)


def sign_in(page: Page, console: Any, person: str = "operator") -> None:
    page.goto(console.link(person))
    page.locator("main").get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/approvals")


def test_a_link_signs_in_once_and_looking_at_it_uses_nothing_up(
    context: BrowserContext, console: Any
) -> None:
    page = context.new_page()
    page.goto(console.url)
    expect(page.locator("main")).to_contain_text("keystile console link --as PERSON")
    link = console.link("operator")
    for _ in range(2):  # A preview opens it first.
        page.goto(link)
    page.locator("main").get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Approvals")).to_be_visible()
    (cookie,) = context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["secure"]) == (True, "Strict", False)
    other = context.new_page()
    other.goto(link)
    other.locator("main").get_by_role("button", name="Sign in").click()
    expect(other.get_by_role("alert")).to_contain_text("unknown, used or older")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    context.add_cookies([cookie])  # The session is over, not only forgotten.
    page.goto(f"{console.url}/approvals")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_request_arrives_live_and_is_approved_with_a_comment(page: Page, console: Any) -> None:
    sign_in(page, console)
    expect(page.locator("#live")).to_have_text("Live")
    expect(page.locator("#not-live")).to_be_hidden()
    count = int(page.locator("#pending-count").inner_text().split()[0])
    asked = console.ask()
    row = page.locator(f"#r-{asked.id}")
    expect(row).to_be_visible(timeout=5000)
    expect(page).to_have_title(f"({count + 1}) Approvals · Keystile")
    row.click()
    expect(page.locator("#query + span")).to_have_text("8 lines, 253 characters")
    assert page.locator("pre.sql").first.inner_text().strip() == asked.summary.sql
    expect(page.locator("tr", has_text="customers.ssn")).to_contain_text("shown in clear")
    expect(page.locator("tr", has_text="customers.name")).to_contain_text("stays masked")
    page.get_by_label("Comment").fill("fits ticket 7")
    page.get_by_role("button", name="Approve once").click()
    expect(page.locator("#request-head")).to_contain_text("approved")
    expect(page.locator("#decide")).to_contain_text("fits ticket 7")
    decided = console.request(asked.id)
    assert decided.state == "approved"
    assert [(v.person, v.comment, v.via) for v in decided.votes] == [
        ("operator", "fits ticket 7", "console")
    ]


def test_a_denial_needs_a_reason(context: BrowserContext, console: Any) -> None:
    page = context.new_page()
    sign_in(page, console)
    asked = console.ask()
    page.goto(f"{console.url}/approvals/{asked.id}")
    page.get_by_role("button", name="Deny").click()
    expect(page.get_by_role("alert")).to_contain_text("needs a reason")
    assert console.request(asked.id).state == "pending"
    page.get_by_label("Comment").fill("no ticket is named")
    page.get_by_role("button", name="Deny").click()
    expect(page.locator("#request-head")).to_contain_text("denied")
    page.goto(f"{console.url}/approvals?tab=closed&state=denied")
    expect(page.locator(f"#r-{asked.id}")).to_be_visible()


def test_an_open_request_closes_live_and_keeps_what_is_typed(page: Page, console: Any) -> None:
    sign_in(page, console)
    asked = console.ask(demand=TWO_PEOPLE)
    page.goto(f"{console.url}/approvals/{asked.id}")
    expect(page.locator("#live")).to_have_text("Live")
    page.get_by_label("Comment").fill("half a thou")
    vote(console, asked.id, "second")
    expect(page.locator("#decide")).to_contain_text("second approved", timeout=5000)
    expect(page.get_by_label("Comment")).to_have_value("half a thou")
    expect(page.get_by_label("Comment")).to_be_focused()
    vote(console, asked.id, "third")
    expect(page.locator("#request-head")).to_contain_text("approved", timeout=5000)
    expect(page.get_by_role("button", name="Approve once")).to_have_count(0)


def vote(console: Any, request: str, name: str) -> None:
    person = Person(name, ("data-stewards",))
    work = console.approvals.vote(
        request, person, approve=True, comment="", via="cli", now=time.time()
    )
    console.run(work)


def test_who_may_not_decide_is_told_why(page: Page, console: Any) -> None:
    asked = console.ask()
    sign_in(page, console, "visitor")
    page.goto(f"{console.url}/approvals/{asked.id}")
    expect(page.get_by_role("button", name="Approve once")).to_be_disabled()
    expect(page.get_by_role("button", name="Deny")).to_be_disabled()
    expect(page.locator("#blocked")).to_contain_text("data-stewards")
    page.goto(f"{console.url}/approvals?mine=1")
    expect(page.locator(f"#r-{asked.id}")).to_have_count(0)


def test_agents_text_stays_text(page: Page, console: Any) -> None:
    xss = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    who = type(console.ask().principal)(
        issuer=xss, subject=xss, agent=xss, session=xss, attributes={xss: xss}, on_behalf_of=xss
    )
    asked = console.ask(principal=who, session=xss)
    hidden = f"SELECT '\u202e{xss}' -- all is well\rDROP TABLE t"
    summary = type(asked.summary)(
        sql=hidden,
        statement=xss,
        reads=(xss,),
        writes=(xss,),
        uris=(xss,),
        reason=xss,
        claims={xss: xss},
    )
    asked = console.ask(principal=who, session=xss, summary=summary)
    sign_in(page, console)
    expect(page.locator(f"#r-{asked.id}")).to_have_text(xss)
    page.locator(f"#r-{asked.id}").click()
    expect(page.locator(".hidden-char")).to_have_text(["U+202E", "U+000D"])
    expect(page.get_by_text("holds characters that draw nothing")).to_be_visible()
    page.get_by_label("Comment").fill(xss)
    page.get_by_role("button", name="Approve once").click()
    expect(page.locator(".votes .quote")).to_have_text(xss)
    console.record(*console.session_events(xss, xss, time.time(), hidden))
    page.goto(f"{console.url}/sessions")
    page.get_by_role("link", name=xss).click()
    expect(page.get_by_role("heading", name=xss)).to_be_visible()
    expect(page.locator("main img, main script")).to_have_count(0)


def test_a_session_is_stepped_through_and_each_viewing_is_on_record(
    page: Page, console: Any
) -> None:
    console.record(*console.session_events("grid", AGENT, time.time(), "SELECT id, ssn FROM t"))
    sign_in(page, console)
    page.goto(f"{console.url}/sessions?text=ssn")
    expect(page.get_by_text("recording intact")).to_be_visible()
    page.get_by_role("link", name="grid").click()
    masked = page.locator("table.grid th.masked")
    expect(masked).to_contain_text("ssn")
    expect(masked).to_contain_text("masked")
    expect(page.locator("table.grid td.masked").first).to_have_text("XXX-XX-XXXX")
    expect(page.locator("table.grid tbody tr")).to_have_count(100)
    page.get_by_role("link", name="Rows after").click()
    expect(page.locator("table.grid tbody tr")).to_have_count(20)
    page.keyboard.press("ArrowRight")
    expect(page.get_by_text("Step 2 of 3")).to_be_visible()
    expect(page.locator("#step")).to_contain_text("agents do not change schemas")
    page.get_by_role("link", name="Next").click()
    expect(page.locator("#step")).to_contain_text("operator approved: ticket 7")
    kinds = [
        (one.event.kind, one.event.body.get("person"))
        for one in console.events("grid")
        if one.event.kind == "viewed"
    ]
    assert kinds == [("viewed", "operator")]


def test_a_running_session_grows_live(page: Page, console: Any) -> None:
    first, *rest = console.session_events("growing", AGENT, time.time(), "SELECT 1")
    console.record(first)
    sign_in(page, console)
    page.goto(f"{console.url}/session?id=growing&agent={AGENT}")
    expect(page.locator("#step")).to_contain_text("running")
    console.record(*rest)
    expect(page.get_by_text("Step 1 of 3")).to_be_visible(timeout=20_000)
    expect(page.locator("#step")).to_contain_text("allowed")


def test_a_step_that_came_after_a_finished_one_could_not_be_reached(
    page: Page, console: Any
) -> None:
    events = console.session_events("late", AGENT, time.time(), "SELECT 1")
    ended = next(place for place, event in enumerate(events) if event.job != events[0].job)
    console.record(*events[:ended])
    sign_in(page, console)
    page.goto(f"{console.url}/session?id=late&agent={AGENT}")
    expect(page.get_by_text("Step 1 of 1")).to_be_visible()
    expect(page.locator("#live")).to_contain_text("Live")
    console.record(*events[ended:])
    expect(page.get_by_text("Step 1 of 3")).to_be_visible(timeout=20_000)
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_text("Step 2 of 3")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_themes_fit_a_phone_and_meet_contrast(
    browser: Browser, console: Any, scheme: Any
) -> None:
    console.record(*console.session_events("theme", AGENT, time.time(), "SELECT 'a', 1 -- b"))
    asked, come = console.ask(), console.come("agent-with-a-page")
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page = context.new_page()
    sign_in(page, console)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    lightness = sum(map(int, re.findall(r"\d+", background)[:3])) / 765
    assert lightness > 0.9 if scheme == "light" else lightness < 0.1
    for path in (
        "/approvals",
        "/approvals?tab=closed",
        f"/approvals/{asked.id}",
        "/sessions",
        f"/session?id=theme&agent={AGENT}",
        "/agents",
        f"/agent?issuer={come.issuer}&subject={come.subject}",
        "/connections",
        "/sign-in",
    ):
        page.goto(console.url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
        assert page.evaluate(LOW_CONTRAST) == [], path
    context.close()


# Every text against what is painted behind it, by WCAG 2.2's formula (success criterion 1.4.3).
LOW_CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const channel = (c) => (c / 255 <= 0.04045 ? c / 3294.6 : ((c / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const low = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const style = getComputedStyle(element);
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    if (element.closest("[disabled], [aria-disabled], .visually-hidden")) continue;
    const [a, b] = [light(parse(style.color)), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push(`${ratio.toFixed(2)} ${walker.currentNode.data}`);
  }
  return low;
}"""


def test_everything_works_without_javascript(browser: Browser, console: Any) -> None:
    console.record(*console.session_events("plain", AGENT, time.time(), "SELECT 1"))
    asked = console.ask()
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    sign_in(page, console)
    expect(page.get_by_text("reload it to see what is new")).to_be_visible()
    page.get_by_label("Agent").select_option(AGENT)
    page.get_by_role("button", name="Filter").click()
    page.locator(f"#r-{asked.id}").click()
    page.get_by_label("Comment").fill("without a script")
    page.get_by_role("button", name="Approve once").click()
    expect(page.locator("#decide")).to_contain_text("without a script")
    page.get_by_role("link", name="Sessions", exact=True).first.click()
    page.get_by_role("link", name="plain").click()
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_text("Step 2 of 3")).to_be_visible()
    page.get_by_role("link", name="Previous").click()
    expect(page.get_by_text("Step 1 of 3")).to_be_visible()
    context.close()


def test_an_agent_is_disabled_by_who_may_and_by_nobody_else(page: Page, console: Any) -> None:
    name = f"shop-ci-{time.monotonic_ns()}"
    console.come(name)
    sign_in(page, console, "visitor")
    page.get_by_role("link", name="Agents").click()
    page.get_by_role("link", name=name).click()
    expect(page.get_by_role("button", name="Disable this agent")).to_be_disabled()
    expect(page.locator("#blocked")).to_contain_text("does not own")
    page.get_by_role("button", name="Sign out").click()
    sign_in(page, console)
    page.goto(f"{console.url}/agents")
    page.get_by_role("link", name=name).click()
    page.get_by_role("button", name="Disable this agent").click()
    expect(page.locator("#agent-head")).to_contain_text("disabled by operator")
    expect(page.get_by_role("button", name="Disable")).to_have_count(0)


def test_an_agent_is_enabled_for_a_reason_once_all_it_left_is_stopped(
    page: Page, console: Any
) -> None:
    name = f"bot-{time.monotonic_ns()}"
    console.run(console.fleet.agents.create(name, [], {}, "operator"))
    left = console.run(console.fleet.disablings.disable(Target(subject=name), "ana", "cli"))
    sign_in(page, console)
    page.goto(f"{console.url}/agent?issuer=&subject={name}")
    enable = page.get_by_role("button", name="Enable this agent")
    expect(enable).to_be_disabled()
    expect(page.locator("#live")).to_have_text("Live")
    console.run(console.fleet.disablings.close(left))
    expect(enable).to_be_enabled(timeout=5000)
    enable.click()  # without a reason the browser sends nothing
    page.get_by_label("Why it may come back").fill("the bug is fixed")
    enable.click()
    expect(page.locator("#agent-head")).to_contain_text("active")
    expect(page.get_by_role("button", name="Disable this agent")).to_be_visible()


def test_the_page_of_an_agent_follows_what_happens(page: Page, console: Any) -> None:
    name = f"bot-{time.monotonic_ns()}"
    console.run(console.fleet.agents.create(name, [], {}, "operator"))
    sign_in(page, console)
    page.goto(f"{console.url}/agents?text={name}")
    expect(page.locator("#live")).to_have_text("Live")
    expect(page.locator("#agents")).to_contain_text("active")
    console.run(console.fleet.disablings.disable(Target(name), "ana", "cli"))
    expect(page.locator("#agents")).to_contain_text("disabled", timeout=5000)


def test_a_published_version_appears_live_with_what_it_changed(page: Page, console: Any) -> None:
    sign_in(page, console)
    page.goto(f"{console.url}/policy")
    expect(page.locator("#live")).to_have_text("Live")
    for number, action in enumerate(("read", "write"), 1):
        files = {"rules.yaml": f"rules:\n- {{name: agents-may, allow: [{action}]}}\n"}
        draft = Draft(files, f"{number}" * 64, "ann", f"let them {action}", "cli")
        console.run(console.versions.publish(draft, expect=None, first=None))
    now = time.time()
    gateway = Replica("r1", "gateway-1:8420", 2, "2" * 64, "", now, now)
    console.run(console.versions.note(gateway))
    expect(page.locator("#policy-head")).to_contain_text("version 2 holds", timeout=5000)
    expect(page.locator("#gateways")).to_contain_text("gateway-1:8420", timeout=5000)
    page.reload()
    expect(page.locator("#changes")).to_contain_text('allow +"write" -"read"')
    page.get_by_label("From version").select_option("2")
    page.get_by_label("To version").select_option("1")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("#changes")).to_contain_text('allow +"read" -"write"')
    page.locator("#history").get_by_role("link", name="version 1").click()
    expect(page.get_by_role("heading", name="Version 1")).to_be_visible()
    expect(page.locator("pre")).to_contain_text("name: agents-may, allow: [read]")


def test_a_connection_and_what_was_done_to_it_appear_live(page: Page, console: Any) -> None:
    sign_in(page, console)
    page.get_by_role("link", name="Connections").click()
    expect(page.locator("#keys")).to_contain_text("on-the-machine")
    expect(page.locator("#history")).to_contain_text("Nothing is on record yet.")
    expect(page.locator("#live")).to_have_text("Live")
    now, who = time.time(), "reports@acme-shop.iam.example"
    listing = console.listing
    one = StoredConnection("reports", Connection(), now, "ana")
    console.run(listing.stored.add(one, who, "key-1"))
    console.run(listing.stored.adopt("reports", "key-1", who, now))
    console.run(listing.connections.load())
    expect(page.locator("#keys")).to_contain_text("key-1", timeout=5000)
    told = {"action": "add", "connection": "reports", "account": who, "key": "key-1", "at": now}
    console.record(Event(EventKind.CONNECTION_CHANGED, now, body=told | {"person": "ana"}))
    expect(page.locator("#history")).to_contain_text("added", timeout=5000)
    expect(page.locator("#history")).to_contain_text("ana")
