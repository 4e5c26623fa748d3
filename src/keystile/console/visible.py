"""Show an agent's own text as plain text in which nothing can hide.

Agents choose their SQL, comments, names and values, and a person decides by what they read. A
bidirectional override (CVE-2021-42574), a zero-width character or a bare carriage return can make
the text read differently from what runs, so each such character is drawn as its code point.
"""

from __future__ import annotations

import re
import unicodedata

from markupsafe import Markup, escape

# Unicode general categories that draw nothing or reorder what stands around them: control, format,
# private use, surrogate, unassigned, line and paragraph separators.
_HIDING_CATEGORIES = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
# Letters and symbols by category that draw as a blank: Hangul fillers, the empty Braille pattern,
# the combining grapheme joiner, Khmer inherent vowels, Mongolian and other variation selectors.
_BLANKS = frozenset(
    {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0}
    | set(range(0x180B, 0x1810))
    | set(range(0xFE00, 0xFE10))
    | set(range(0xE0100, 0xE01F0))
)
_LINE_BREAK = re.compile("\r\n|\n")


def hides(character: str) -> bool:
    """Tell whether `character` could hide or reorder text. Newline, tab and space do not."""
    if character in "\n\t" or " " <= character <= "~":
        return False
    category = unicodedata.category(character)
    return category in _HIDING_CATEGORIES or category == "Zs" or ord(character) in _BLANKS


def visible(text: object) -> Markup:
    """Give `text` as escaped HTML with every hiding character drawn as `U+202E`, named on hover."""
    return Markup("").join(
        _drawn(character) if hides(character) else escape(character)
        for character in _LINE_BREAK.sub("\n", str(text))
    )


def has_hidden(text: str) -> bool:
    """Tell whether `text` holds a hiding character, so that a page can warn of it in words."""
    return any(map(hides, _LINE_BREAK.sub("\n", text)))


def plain(text: object) -> str:
    """Give `text` with hiding characters as `⟨U+202E⟩`, for places that take no markup: titles."""
    return "".join(
        f"⟨U+{ord(character):04X}⟩" if hides(character) else character
        for character in _LINE_BREAK.sub("\n", str(text))
    )


def _drawn(character: str) -> Markup:
    """Draw one hiding character as its code point."""
    code = f"U+{ord(character):04X}"
    name = unicodedata.name(character, "control character")
    return Markup('<span class="hidden-char" title="{} {}">{}</span>').format(
        code, name.lower(), code
    )
