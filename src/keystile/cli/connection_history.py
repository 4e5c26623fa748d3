"""`keystile connection history`: what was done to connections, and which keys came when."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from keystile.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, run, settings
from keystile.cli.terminal import moment, say, say_json, show, table, visible
from keystile.recording.connection_changes import connection_changes
from keystile.recording.people_events import ConnectionChangedBody

_WORDS = {"add": "added", "rotate": "rotated", "remove": "removed", "replace": "key replaced"}


def history(
    config: ConfigOption = DEFAULT_CONFIG,
    *,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many to list.")] = 50,
    json: JsonOption = False,
) -> None:
    """List what was done to connections, newest first, as the recordings have it."""
    found = settings(config)
    events = run(connection_changes(found.path(found.recording.folder), limit))
    changes = [msgspec.convert(one.event.body, ConnectionChangedBody) for one in events]
    if json:
        say_json(changes)
        return
    if not changes:
        say("nothing is on record yet; a running gateway records what commands do within seconds")
        return
    rows = table("AT", "NAME", "WHAT", "KEY", "ACCOUNT", "BY OR FOUND IN")
    for one in changes:
        what = _WORDS.get(one.action, one.action)
        who = visible(one.person or one.source) or "-"
        key, account = visible(one.key) or "-", visible(one.account) or "-"
        rows.add_row(moment(one.at), visible(one.connection), visible(what), key, account, who)
    show(rows)
