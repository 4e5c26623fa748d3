"""Colour SQL on the server, so that the page needs no script and shows every character.

The lexical rules are GoogleSQL's ("Lexical structure and syntax"): three kinds of comments, raw
and triple-quoted literals, back-quoted names. It only colours: where it is wrong nothing is lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from markupsafe import Markup

from keystile.console.visible import visible

_KEYWORD = re.compile(
    r"ALL|ALTER|AND|ANY|ARRAY|AS|ASC|ASSERT|BEGIN|BETWEEN|BY|CALL|CASE|CAST|COMMIT|CREATE|"
    r"CROSS|CUBE|CURRENT|DECLARE|DEFAULT|DELETE|DESC|DISTINCT|DROP|ELSE|ELSEIF|END|EXCEPT|"
    r"EXECUTE|EXISTS|EXPORT|EXTRACT|FALSE|FETCH|FOLLOWING|FOR|FROM|FULL|FUNCTION|GRANT|GROUP|"
    r"GROUPING|HAVING|IF|IGNORE|IMMEDIATE|IN|INNER|INSERT|INTERSECT|INTERVAL|INTO|IS|JOIN|"
    r"LATERAL|LEFT|LIKE|LIMIT|LOOP|MATCHED|MERGE|MODEL|NATURAL|NOT|NULL|NULLS|OF|OFFSET|ON|OR|"
    r"ORDER|OUTER|OVER|PARTITION|PIVOT|PRECEDING|PROCEDURE|QUALIFY|RANGE|RECURSIVE|REPLACE|"
    r"RESPECT|RETURN|REVOKE|RIGHT|ROLLBACK|ROLLUP|ROWS|SELECT|SET|SOME|STRUCT|TABLE|"
    r"TABLESAMPLE|TEMP|TEMPORARY|THEN|TO|TRANSACTION|TRUE|TRUNCATE|UNBOUNDED|UNION|UNNEST|"
    r"UNPIVOT|UPDATE|USING|VALUES|VIEW|WHEN|WHERE|WHILE|WINDOW|WITH",
    re.IGNORECASE,
)

_TOKEN = re.compile(
    r"""
      (?P<comment> --[^\r\n]* | \#[^\r\n]* | /\*.*?(?:\*/|\Z) )
    | (?P<string> (?i:rb|br|r|b)? (?:
          \"\"\"(?:\\.|(?!\"\"\").)*(?:\"\"\"|\Z)
        | '''(?:\\.|(?!''').)*(?:'''|\Z)
        | "(?:\\.|[^"\\\r\n])*"?
        | '(?:\\.|[^'\\\r\n])*'? ) )
    | (?P<name> `(?:\\.|[^`\\\r\n])*`? )
    | (?P<parameter> @@?[A-Za-z_][A-Za-z0-9_.]* | \? )
    | (?P<number> \b(?:0[xX][0-9a-fA-F]+ | [0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)\b )
    | (?P<word> [A-Za-z_][A-Za-z0-9_]* )
    | (?P<other> [^\w\"'`@?#/-]+ | . )
    """,
    re.VERBOSE | re.DOTALL,
)


def tokens(sql: str) -> Iterator[tuple[str, str]]:
    """Cut `sql` into (kind, text). INVARIANT: the texts joined give `sql` back, whole."""
    for match in _TOKEN.finditer(sql):
        kind = str(match.lastgroup)
        text = match.group()
        if kind == "word":
            kind = "keyword" if _KEYWORD.fullmatch(text) else "other"
        yield kind, text


def highlight(sql: str) -> Markup:
    """Give `sql` as HTML, one `<span class="line">` for each line, nothing cut or folded away."""
    lines: list[list[Markup]] = [[]]
    for kind, text in tokens(sql.replace("\r\n", "\n")):
        for index, piece in enumerate(text.split("\n")):
            if index:
                lines.append([])
            if piece:
                lines[-1].append(_coloured(kind, piece))
    # A real newline ends each line, so that copied text is the query and not one long line.
    return Markup("\n").join(
        Markup('<span class="line">{}</span>').format(Markup("").join(line)) for line in lines
    )


def _coloured(kind: str, text: str) -> Markup:
    """Wrap one token in its colour."""
    shown = visible(text)
    return (
        shown if kind == "other" else Markup('<span class="sql-{}">{}</span>').format(kind, shown)
    )
