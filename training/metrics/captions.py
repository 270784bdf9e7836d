"""Captions as the metrics read them: Penn Treebank tokens in lower case, punctuation left out.

The customary tokeniser is a Java program (Stanford's PTBTokenizer, then a list of punctuation marks that are dropped).
These rules give its tokens for the English of captions; how far that holds is in docs/evaluation.md.
"""

import re
from collections.abc import Iterator

_DROPPED = frozenset(("''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";", '"'))
"""Brackets are not among them: the Java program's list has `-LRB-`, but its tokens are `-lrb-`, and so they stay."""

_QUOTES = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"'})
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_SYMBOLS = {"…": "...", "—": "--", "–": "--", "€": "$", "£": "#", "¢": "cents", "½": "1/2", "¼": "1/4", "¾": "3/4"}
_REWRITTEN = _SYMBOLS | _BRACKETS

_TITLES = "mr|mrs|ms|dr|prof|rev|gen|sen|rep|gov|lt|col|sgt|capt|cpl|adm|maj|hon|messrs|pres|st|mt|ft|jr|sr"
_BUSINESS = "inc|corp|ltd|co|bros|cos|plc"
_CALENDAR = "jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|mon|tues?|wed|thurs|fri"
_OTHERS = "etc|vs|al|ave|blvd|rd|dept|est|ext|sq|tel|ph\\.d"
_ABBREVIATION = rf"(?:{_TITLES}|{_BUSINESS}|{_CALENDAR}|{_OTHERS}|[a-z](?:\.[a-z])+|(?-i:[A-Z]))\."

_SPLIT_WORDS = {
    "cannot": ("can", "not"),
    "gonna": ("gon", "na"),
    "gotta": ("got", "ta"),
    "wanna": ("wan", "na"),
    "gimme": ("gim", "me"),
    "lemme": ("lem", "me"),
    "y'all": ("y'", "all"),
    "'tis": ("'t", "is"),
    "'twas": ("'t", "was"),
}

_APOSTROPHE_WORDS = r"o'clock|ma'am|y'all|'tis|'twas|(?:o|d|l)'[a-z]{2,}"
_CLITIC = r"'(?:s|m|d|re|ve|ll)"
_WORD = r"[^\W_]+(?:[-_/&.@+#][^\W_]+)*"

_TOKEN = re.compile(
    rf"""
      (?:https?://|www\.)\S+
    | [\w.+-]+@[\w-]+(?:\.[\w-]+)+
    | </?[a-z][^<>\s]*>
    | {_ABBREVIATION}(?!\w)
    | (?<!\w)[a-z]\.(?=[.\s]*$)
    | (?:nos?|figs?|art|pp)\.(?=\s*\d)
    | (?:{_APOSTROPHE_WORDS})(?!\w)
    | '[nN]'
    | (?<!\w)'\d\ds?(?!\w)
    | [#@][a-z]\w*
    | (?<!\w)[-+]?(?:\d{{1,3}}(?:,\d{{3}})+|\d+)?[.:,/]?\d+(?:[.:,/]\d+)*(?!-?\w)
    | {_WORD}(?:{_CLITIC}|'t)?(?!\w)
    | {_CLITIC}(?!\w)
    | -{{2,}} | \.{{3,}} | [?!]+ | \*+ | '' | `` | [^\W_]+ | \S
    """,
    re.VERBOSE | re.IGNORECASE,
)
_WITH_CLITIC = re.compile(rf"(.+?)(n't|{_CLITIC})")


def tokens(caption: str) -> list[str]:
    return [token for token in _tokens(caption) if token not in _DROPPED]


def tokenized(caption: str) -> str:
    """The tokens with a space between: the form in which the scorers take a caption."""
    return " ".join(tokens(caption))


def _tokens(caption: str) -> Iterator[str]:
    for token in map(str.lower, _TOKEN.findall(caption.translate(_QUOTES))):
        if token in _SPLIT_WORDS:
            yield from _SPLIT_WORDS[token]
        elif clitic := _WITH_CLITIC.fullmatch(token):
            yield from clitic.groups()
        else:
            yield _REWRITTEN.get(token, token)
