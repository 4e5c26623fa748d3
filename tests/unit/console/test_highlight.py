import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.console.highlight import highlight, tokens

WORDS = r"""SELECT r x é @p ? 1.5 -- # /* */ ' " ''' `  \ < & / -"""
SQLISH = st.lists(st.sampled_from([*WORDS.split(), '"""', " ", "\n", "\r", "\r\n", "\u202e"])).map(
    "".join
)


@given(SQLISH | st.text())
def test_every_character_is_kept(sql: str) -> None:
    assert "".join(text for _, text in tokens(sql)) == sql


@given(SQLISH)
def test_the_page_shows_every_line(sql: str) -> None:
    assert highlight(sql).count('<span class="line">') == sql.count("\n") + 1


@given(SQLISH | st.text())
def test_nothing_of_the_query_becomes_markup(sql: str) -> None:
    ours = re.compile(
        r'<span class="(line|sql-[a-z]+)">|<span class="hidden-char" title="[^"<>]*">|</span>'
    )
    assert "<" not in ours.sub("", highlight(sql))


@pytest.mark.parametrize(
    ("sql", "kind", "text"),
    [
        ("select 1", "keyword", "select"),
        ("SELECT 'it''s'", "string", "'it'"),
        (r"SELECT 'a\'b'", "string", r"'a\'b'"),
        ('SELECT """a\n"b""" x', "string", '"""a\n"b"""'),
        ("SELECT r'\\d'", "string", "r'\\d'"),
        ("SELECT 1 -- drop\nFROM t", "comment", "-- drop"),
        ("SELECT 1 # drop\rFROM t", "comment", "# drop"),
        ("SELECT /* a\nb */ 1", "comment", "/* a\nb */"),
        ("SELECT `select`", "name", "`select`"),
        ("SELECT @ssn", "parameter", "@ssn"),
        ("SELECT 1.5e3", "number", "1.5e3"),
        ("SELECT 0x1F", "number", "0x1F"),
    ],
)
def test_tokens_follow_googlesql(sql: str, kind: str, text: str) -> None:
    assert (kind, text) in list(tokens(sql))


def test_what_follows_a_bare_carriage_return_is_no_comment() -> None:
    # GoogleSQL ends a comment at a carriage return; a page that did not would hide the rest.
    assert ("keyword", "DROP") in list(tokens("-- nothing\rDROP TABLE t"))
