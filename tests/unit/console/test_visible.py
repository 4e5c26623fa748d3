import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.console.visible import has_hidden, hides, plain, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("SELECT 1\n\tFROM t", "SELECT 1\n\tFROM t"),
        ("naïve Ünïcode 東京 🙂", "naïve Ünïcode 東京 🙂"),
        ("a\r\nb", "a\nb"),
        ("<script>alert('x')</script>", "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"),
    ],
)
def test_honest_text_reads_as_it_is(text: str, shown: str) -> None:
    assert str(visible(text)) == shown
    assert not has_hidden(text)


@pytest.mark.parametrize(
    "character",
    [
        "\u202e", "\u2066", "\u200b", "\u200f", "\ufeff", "\x00", "\x1b", "\r", "\x85", "\u2028",
        "\u00ad", "\u3164", "\u2800", "\u00a0", "\ufe0f", "\U000e0041", "\ue000", "\ud800",
    ],
)  # fmt: skip
def test_a_hiding_character_is_drawn_as_its_code_point(character: str) -> None:
    text = f"a{character}b"
    code = f"U+{ord(character):04X}"
    assert has_hidden(text)
    assert character not in visible(text)
    assert f">{code}</span>b" in visible(text)
    assert plain(text) == f"a⟨{code}⟩b"


@given(st.text())
def test_markup_is_only_ours_and_no_hiding_character_is_left(text: str) -> None:
    shown = visible(text)
    assert not any(map(hides, shown))
    without_ours = shown.striptags()
    assert ("<" in without_ours) == ("<" in text)
