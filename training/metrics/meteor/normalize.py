"""How METEOR cuts a line into words (its `-norm`): symbols, dashes, clitics and full stops set apart, lower case."""

import re
from collections.abc import Mapping
from itertools import pairwise

_LETTER = "A-Za-zŠŽšžŸÀ-ÖØ-öø-žЀ-ӿԀ-ԧꙀ-ꙮ꙾-ꚗᴀ-ᵿ"
_WORD = "0-9" + _LETTER

_SYMBOL = re.compile(rf"([^{_WORD}\s.'`,\-‘’])")
_DOTS = re.compile(r"\.{2,}")
_COMMAS = (re.compile(r"([^0-9]),([^0-9])"), re.compile(r"([0-9]),([^0-9])"), re.compile(r"([^0-9]),([0-9])"))
_SINGLE_QUOTE = re.compile(r"[`‘’]")
_DOUBLE_QUOTE = re.compile(r"[“”]|''")
_DASH = re.compile(rf"([{_WORD}.])-([{_WORD}])")
_LONE_APOSTROPHES = (
    re.compile(rf"([^{_LETTER}])'([^{_LETTER}])"),
    re.compile(rf"([^{_LETTER}0-9])'([{_LETTER}])"),
    re.compile(rf"([{_LETTER}])'([^{_LETTER}])"),
)
_CLITICS = (re.compile(rf"([{_LETTER}])'([{_LETTER}])"), re.compile(r"([0-9])'(s)"))
_HAS_LETTER = re.compile(f"[{_LETTER}]")

ALWAYS, BEFORE_NUMBERS = "always", "before numbers"
"""When a full stop belongs to the abbreviation before it."""


def words(line: str, abbreviations: Mapping[str, str]) -> list[str]:
    """One line → its words, punctuation kept. abbreviations: a word less its full stop → ALWAYS or BEFORE_NUMBERS."""
    line = _SYMBOL.sub(r" \1 ", f" {line} ")
    line = _DOTS.sub(r" \g<0> ", line)
    for comma in _COMMAS:
        line = comma.sub(r"\1 , \2", line)
    line = _SINGLE_QUOTE.sub("'", line)
    line = _DOUBLE_QUOTE.sub(' " ', line)
    line = _DASH.sub(r"\1 \2", line.replace("–", "-").replace("--", "-"))
    for apostrophe in _LONE_APOSTROPHES:
        line = apostrophe.sub(r"\1 ' \2", line)
    for clitic in _CLITICS:
        line = clitic.sub(r"\1 '\2", line)
    return _full_stops(line.split(), abbreviations)


def _full_stops(tokens: list[str], abbreviations: Mapping[str, str]) -> list[str]:
    """Set the full stop at a word's end apart, unless it is part of an abbreviation or the sentence goes on."""
    found = []
    for token, following in pairwise([*tokens, ""]):
        stem = token[:-1]
        if len(token) == 1 or not token.endswith(".") or not token.strip("."):
            found.append(token)
        elif "." in stem and _HAS_LETTER.search(stem):
            found.append(token.replace(".", ""))
        elif (
            abbreviations.get(stem) == ALWAYS
            or "a" <= following[:1] <= "z"
            or (abbreviations.get(stem) == BEFORE_NUMBERS and "0" <= following[:1] <= "9")
        ):
            found.append(token)
        else:
            found += [stem, "."]
    return [word.lower() for word in found]
