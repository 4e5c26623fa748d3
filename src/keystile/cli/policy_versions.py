"""`keystile policy apply`, `diff`, `history` and `rollback`: published versions of the policy."""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from keystile.cli.common import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    reports_errors,
    run,
    settings,
)
from keystile.cli.connecting import (
    TokenCommandOption,
    TokenFieldOption,
    TokenFileOption,
    TokenHeaderOption,
    TokenUrlOption,
    source_of,
)
from keystile.cli.policy_checks import show_failed, tried
from keystile.cli.policy_sending import send
from keystile.cli.store import database
from keystile.cli.terminal import moment, say, say_json, show, table, visible
from keystile.config.identity import Publishing
from keystile.config.policy_folder import has_policy_tests, read_policy, read_policy_tests
from keystile.config.settings import Settings
from keystile.gate import publishing as policy_publishing
from keystile.gate.policy_versions import PolicyVersions, Replica, Version
from keystile.gate.publishing import Published, Wanted
from keystile.googlesql.inline import InlineRunner
from keystile.model.errors import InvalidRequestError, UnsafeConfigurationError
from keystile.policy.difference import Change, differences
from keystile.wire.publishing import PublishRequest

app = typer.Typer()

_FOLDER = Path("policy")
_DIFFERENT = 3
_DIGITS = 12

MessageOption = Annotated[
    str, typer.Option("--message", "-m", help="What it changes and why; it is recorded.")
]
AuthorOption = Annotated[
    str, typer.Option(help="Who publishes it.", show_default="the user of this machine")
]
ExpectOption = Annotated[
    int | None,
    typer.Option(
        metavar="VERSION", min=0, help="Refuse it unless this version holds; 0 is the folder."
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what changes, change nothing.")]


@app.command(epilog='Example: keystile policy apply policy --message "mask phone numbers"')
@reports_errors
def apply(  # noqa: PLR0913 - one for each option
    folder: Annotated[Path, typer.Argument(help="The folder of the policy.")] = _FOLDER,
    *,
    message: MessageOption,
    author: AuthorOption = "",
    expect: ExpectOption = None,
    dry_run: DryRunOption = False,
    gateway: Annotated[
        str, typer.Option(metavar="URL", help="Publish by this gateway, with a token.")
    ] = "",
    audience: Annotated[
        str, typer.Option(help="What that gateway has as `publishing.audience`.")
    ] = Publishing().audience,
    token_file: TokenFileOption = None,
    token_url: TokenUrlOption = "",
    token_header: TokenHeaderOption = None,
    token_command: TokenCommandOption = "",
    token_field: TokenFieldOption = "",
    json: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Check a policy, run the tests beside it, show what changes, and publish it.

    Every gateway on this store decides by it within 5 seconds. With --gateway it needs no store and
    no configuration, but a token that the gateway takes for this.
    """
    files = read_policy(folder)
    token = source_of(token_file, token_url, token_header, token_command, token_field)
    _test(folder, files, quiet=json)
    if gateway:
        if token is None or author:
            raise InvalidRequestError(
                "a gateway takes a policy with a token, which says who its author is",
                hint="give --token-file, --token-url or --token-command, and no --author",
            )
        asked = PublishRequest(dict(files), message, expect, dry_run)
        done = run(send(gateway, token, audience, asked))
    elif token is not None:
        raise InvalidRequestError("a token is for a gateway", hint="give --gateway")
    else:
        wanted = Wanted(files, author or getpass.getuser(), message, "cli")
        done = run(_publish(settings(config), wanted, expect=expect, dry_run=dry_run))
    _tell(done, dry_run=dry_run, json=json)


@app.command(epilog='Example: keystile policy rollback 3 --message "support could not work"')
@reports_errors
def rollback(  # noqa: PLR0913 - one for each option
    version: Annotated[int, typer.Argument(help="The version whose files are to hold again.")],
    message: MessageOption,
    author: AuthorOption = "",
    expect: ExpectOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    *,
    json: JsonOption = False,
) -> None:
    """Publish what an earlier version said, as a new version; the history stays as it is."""
    found = settings(config)
    wanted = Wanted(
        run(_files(found, version)), author or getpass.getuser(), message, "cli", version
    )
    _tell(run(_publish(found, wanted, expect=expect, dry_run=False)), dry_run=False, json=json)


@app.command(epilog="Example: keystile policy diff policy")
@reports_errors
def diff(
    before: Annotated[
        str, typer.Argument(help="A version or a folder; alone, a folder is the later one.")
    ] = "",
    after: Annotated[str, typer.Argument(help="A version or a folder.")] = "",
    config: ConfigOption = DEFAULT_CONFIG,
    *,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help=f"End with {_DIFFERENT} where anything differs.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show what changes in meaning, by name, with file and line.

    Without arguments from the policy that holds to the folder `policy`; with one from the policy
    that holds to it; with two from the first to the second. Two folders need no configuration.
    """
    old, new = (before, after) if after else ("", before or str(_FOLDER))
    changes = differences(_read(old, config), _read(new, config))
    if json:
        say_json(list(changes))
    else:
        _show(changes)
    if exit_code and changes:
        raise typer.Exit(_DIFFERENT)


@app.command(epilog="Example: keystile policy history --json")
@reports_errors
def history(config: ConfigOption = DEFAULT_CONFIG, *, json: JsonOption = False) -> None:
    """List published versions, the one that holds first, and what each gateway has."""
    known = run(_known(settings(config)))
    if json:
        active = known.versions[0].version if known.versions else 0
        say_json(
            {
                "active": active,
                "folder_differs": known.folder_differs,
                "versions": known.versions,
                "gateways": known.gateways,
            }
        )
        return
    if not known.versions:
        say("nothing is published: each gateway follows the folder of its settings")
        return
    _list(known.versions)
    for one in known.gateways:
        has = one.problem or f"has version {one.version}"
        say(f"gateway {visible(one.name)}: {visible(has)}")
    if known.folder_differs:
        say(
            "the folder of the settings says something else and does not count; see `keystile "
            "policy diff`, and publish it with `keystile policy apply`"
        )


class _Known(NamedTuple):
    versions: tuple[Version, ...]
    gateways: tuple[Replica, ...]
    folder_differs: bool


def _test(folder: Path, files: Mapping[str, str], *, quiet: bool) -> None:
    """Run the tests beside a policy. Raises `InvalidRequestError` where one fails."""
    if not has_policy_tests(folder):
        if not quiet:
            say(f"there are no tests in {folder}; see `keystile policy test`", "yellow")
        return
    found = run(tried(files, read_policy_tests(folder)))
    if failed := show_failed(found):
        raise InvalidRequestError(
            f"of {len(found)} tests of the policy {failed} failed, so it is not published",
            hint="see `keystile policy test`",
        )


def _tell(done: Published, *, dry_run: bool, json: bool) -> None:
    if json:
        say_json(done)
        return
    if done.unreadable:
        say(f"what held before cannot be compared: {visible(done.unreadable)}", "yellow")
    else:
        _show(done.changes)
    if dry_run:
        say("this was a dry run: nothing is published")
    elif done.published:
        say(f"version {done.version} holds on every gateway within 5 seconds")
        if not done.before:
            say("from now on the folder of the settings does not count any more; publish instead")
    else:
        say(f"version {done.version} holds and says the same already: nothing is published")


def _show(changes: Sequence[Change]) -> None:
    colours = {"added": "green", "removed": "red", "changed": "yellow"}
    for change in changes:
        say(visible(str(change)), colours[change.change])
    if not changes:
        say("no difference in meaning")


def _list(versions: Iterable[Version]) -> None:
    rows = table("VERSION", "PUBLISHED", "AUTHOR", "MESSAGE", "DIGEST")
    for number, one in enumerate(versions):
        mark = "" if number else " (holds)"
        restored = f" (as version {one.restores})" if one.restores else ""
        rows.add_row(
            f"{one.version}{mark}",
            moment(one.at),
            visible(one.author),
            visible(one.message) + restored,
            one.digest[:_DIGITS],
        )
    show(rows)


def _read(what: str, config: Path) -> Mapping[str, str]:
    """Give the files of a version, of a folder, or as an empty text those that hold."""
    if what and not what.isdecimal():
        return read_policy(Path(what))
    found = settings(config)
    return run(_files(found, int(what))) if what else run(_holding(found))


async def _files(found: Settings, version: int) -> Mapping[str, str]:
    async with database(found) as store:
        return await PolicyVersions(store).files(version)


async def _holding(found: Settings) -> Mapping[str, str]:
    async with database(found) as store:
        versions = PolicyVersions(store)
        newest = await versions.newest()
        return await versions.files(newest) if newest else read_policy(found.path(found.policy))


async def _publish(
    found: Settings, wanted: Wanted, *, expect: int | None, dry_run: bool
) -> Published:
    async with database(found) as store:
        publishing = policy_publishing.Publishing(
            PolicyVersions(store), InlineRunner(), found.masking_keys
        )
        return await publishing.publish(wanted, _folder(found), expect=expect, dry_run=dry_run)


async def _known(found: Settings) -> _Known:
    async with database(found) as store:
        versions = PolicyVersions(store)
        listed, folder = await versions.history(), _folder(found)
        differs = False
        if listed and folder is not None:
            differs = folder != await versions.files(listed[0].version)
        return _Known(listed, await versions.replicas(), differs)


def _folder(found: Settings) -> Mapping[str, str] | None:
    try:
        return read_policy(found.path(found.policy))
    except UnsafeConfigurationError:
        return None
