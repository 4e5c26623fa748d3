"""How a refusal names a table, and where the agent's text names it.

INVARIANT: what lies beneath a view is not named to the agent, which need not know the view's text:
the view stands for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from keystile.model.errors import RefusedError
from keystile.model.facts import ViewReads
from keystile.model.schema import ColumnRef, TableId


class Mention(msgspec.Struct, frozen=True):
    """A table that a statement uses, and the table or view that its text names for it, and where.

    `line` and `column` are those of the agent's text; zeros where they are not known.
    """

    table: TableId
    named: TableId
    line: int
    column: int


def mentions(named: Iterable[Mention], views: Iterable[ViewReads]) -> Iterator[Mention]:
    """Give the tables that a text names, and after them what lies beneath its views."""
    beneath = {view.view: view.reads for view in views}
    waiting = list(named)
    found: set[TableId] = set()
    for mention in waiting:
        if mention.table not in found:
            found.add(mention.table)
            yield mention
            hidden = beneath.get(mention.table, ())
            waiting.extend(msgspec.structs.replace(mention, table=table) for table in hidden)


def refused(
    known: Iterable[Mention], about: TableId | ColumnRef, sentence: str, *, hint: str
) -> RefusedError:
    """Refuse for a table or a column: `{}` in the sentence is how it is named."""
    table = about.table if isinstance(about, ColumnRef) else about
    mention = next((one for one in known if one.table == table), Mention(table, table, 0, 0))
    name = f"`{about}`"
    if mention.named != table:
        what = "column" if isinstance(about, ColumnRef) else "table"
        name = f"a {what} beneath the view `{mention.named}`"
    place = mention.line, mention.column
    return RefusedError(sentence.replace("{}", name), hint=hint, place=place)
