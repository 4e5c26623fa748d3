"""The pages hold together: links, commands, addresses and paths in them are real."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.docs.test_reference import commands, options_of

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md")))
COMMANDS = dict(commands())

# Pages send nobody anywhere but to standards, Google and names that are reserved for examples.
ALLOWED_HOSTS = re.compile(
    r"""localhost|127\.0\.0\.1|0\.0\.0\.0
    |(?:[\w-]+\.)*example\.(?:com|org|net)
    |(?:[\w-]+\.)*(?:google|googleapis)\.com|google\.golang\.org|cel\.dev
    |(?:www\.)?rfc-editor\.org|datatracker\.ietf\.org|openid\.net
    |token\.actions\.githubusercontent\.com|gitlab\.com|login\.microsoftonline\.com
    |YOUR-DOMAIN\.okta\.com|YOUR-TENANT\.auth0\.com|kubernetes\.default\.svc\.cluster\.local
    |(?:[\w-]+\.)+gserviceaccount\.com|(?:pod-security\.)?kubernetes\.io|networking\.k8s\.io""",
    re.VERBOSE,
)


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def _prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", _text(page), flags=re.DOTALL | re.MULTILINE)


def _anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", _prose(page), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.replace(" ", "-") for title in plain}


def _links(page: Path) -> Iterator[tuple[Path, str]]:
    for target in re.findall(r"\]\(([^)\s]+)\)", _prose(page)):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            yield ((page.parent / path).resolve() if path else page), anchor


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


each_page = pytest.mark.parametrize("page", PAGES, ids=_name)


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in _links(page):
        assert target.exists(), target
        assert not anchor or anchor in _anchors(target), f"{target}#{anchor}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached and page.suffix == ".md":
            reached.add(page)
            waiting += [target for target, _ in _links(page)]
    assert reached.issuperset(PAGES)


def test_every_decision_is_listed() -> None:
    listed = {target for target, _ in _links(DOCS / "adr" / "README.md")}
    assert listed.issuperset((DOCS / "adr").glob("0*.md"))


def _shell_lines(page: Path) -> Iterator[list[str]]:
    for block in re.findall(r"^```sh\n(.*?)^```$", _text(page), re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            inner = re.search(r"\$\((.*)\)", line)
            if words := shlex.split(inner[1] if inner else line, comments=True):
                yield words


def _is_real(words: list[str]) -> bool:
    names = (name for name in COMMANDS if words[: len(name.split())] == name.split())
    name = next(names, None)
    if name is None:
        return False
    own = words[: words.index("--")] if "--" in words else words
    given = {word.partition("=")[0] for word in own if word.startswith("-")}
    return given <= options_of(COMMANDS[name])


@each_page
def test_commands_in_shell_blocks_exist(page: Path) -> None:
    for words in _shell_lines(page):
        if words[0] == "keystile":
            assert _is_real(words), words
        elif words[0].startswith("script/"):
            assert (ROOT / words[0]).exists(), words


def test_a_made_up_command_or_option_would_be_noticed() -> None:
    assert _is_real(["keystile", "sessions", "replay", "x", "--step", "1"])
    assert _is_real(["keystile", "run", "--agent", "a", "--", "program", "--anything"])
    assert not _is_real(["keystile", "sessions", "rewind", "x"])
    assert not _is_real(["keystile", "sessions", "replay", "x", "--backwards"])


def test_the_rules_in_the_readme_are_those_of_the_examples() -> None:
    rules = (ROOT / "examples" / "policy" / "rules.yaml").read_text(encoding="utf-8")
    quoted = re.findall(r"^```yaml\n(  - name:.*?)^```$", _text(PAGES[0]), re.DOTALL | re.MULTILINE)
    assert len(quoted) == 3
    assert all(rule in rules for rule in quoted)


@each_page
def test_files_that_a_page_names_exist(page: Path) -> None:
    for named in re.findall(r"`((?:src|tests|demo|prove|examples|docs)/[^`\s]*)`", _prose(page)):
        path, _, test = named.partition("::")
        assert list(ROOT.glob(path.rstrip("/"))), named
        assert not test or re.search(rf"def {test}\(", _text(ROOT / path)), named


@each_page
def test_only_expected_hosts_are_named(page: Path) -> None:
    text = _text(page)
    hosts = re.findall(r"https?://([\w.-]+)", text)
    # Bare names count too, except for files and modules that end alike.
    hosts += re.findall(r"(?<![\w./@-])((?:[\w-]+\.)+(?:com|org|net|io|dev))(?![\w.-])", text)
    assert not [host for host in hosts if not ALLOWED_HOSTS.fullmatch(host)]


@each_page
def test_no_page_names_a_place_on_one_machine(page: Path) -> None:
    found = re.search(r"(?<![\w.}*])/(?:home|root|tmp|work|mnt|Users)/", _text(page))
    assert found is None, found
