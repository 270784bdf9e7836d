"""The strip under an overlay: the caption, wrapped, with each phrase on a tint of its colour behind its number."""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from PIL import Image, ImageDraw, ImageFont

from shared import palette

Span = tuple[int, int]

_FONT_SIZE = 20
_TEXT = (28, 30, 34)


class _Font(Protocol):
    def getlength(self, text: str) -> float: ...


@dataclass(frozen=True)
class Piece:
    """A stretch of the caption that belongs to one phrase, or to none."""

    text: str
    phrase: int | None


@dataclass(frozen=True)
class _Word:
    """What is set without a break. glued: no space before it; opens: it begins its phrase, whose number it carries."""

    text: str
    phrase: int | None
    glued: bool
    opens: bool


@dataclass(frozen=True)
class _Placed:
    word: _Word
    line: int
    x: float
    width: float


def pieces(caption: str, phrases: Sequence[tuple[str | None, Span | None]]) -> tuple[list[Piece], list[int]]:
    """The caption cut at its phrases, and the phrases that stand nowhere in it.

    A phrase without a span is looked up by its text, in reading order; one that overlaps an earlier phrase is left out
    of the caption. Pieces joined give the caption.
    """
    taken: list[tuple[int, int, int]] = []
    outside: list[int] = []
    cursor = 0
    for n, (text, span) in enumerate(phrases):
        if span is None and text:
            start = caption.find(text, cursor)
            span = (start, start + len(text)) if start >= 0 else None
        free = span is not None and all(span[1] <= start or span[0] >= end for start, end, _ in taken)
        if span is None or not free or not 0 <= span[0] < span[1] <= len(caption):
            outside.append(n)
            continue
        taken.append((*span, n))
        cursor = span[1]
    found: list[Piece] = []
    cursor = 0
    for start, end, n in sorted(taken):
        if cursor < start:
            found.append(Piece(caption[cursor:start], None))
        found.append(Piece(caption[start:end], n))
        cursor = end
    if cursor < len(caption):
        found.append(Piece(caption[cursor:], None))
    return found, outside


def unfound(expressions: Iterable[tuple[str | None, bool]]) -> str:
    """The sentence that names what was asked for and found nowhere; empty when there is no such thing.

    expressions: what each answer is about, None for one that is about the whole image or a region, and whether any
    pixel was found. The model's own words need not say what they refuse.
    """
    named = ", ".join(f"“{text}”" for text, found in expressions if text is not None and not found)
    return f"Nothing found for {named}." if named else ""


def render(
    caption: str, phrases: Sequence[tuple[str | None, Span | None]], width: int, unit: float, note: str = ""
) -> Image.Image | None:
    """The strip, RGB and `width` px wide, or None when there is nothing to say. unit: px of a hairline.

    note: stands behind the caption and its phrases, none of which is looked up in it.
    """
    inside, outside = pieces(caption, phrases)
    words = [*_words(inside), *_words([Piece(phrases[n][0] or "", n) for n in outside]), *_words([Piece(note, None)])]
    if not words:
        return None
    font = _font(round(_FONT_SIZE * unit))
    margin = round(20 * unit)
    line_height = round(_FONT_SIZE * 1.75 * unit)
    placed = list(_wrap(words, font, width - 2 * margin, unit))
    lines = placed[-1].line + 1
    strip = Image.new("RGB", (width, lines * line_height + 2 * round(14 * unit)), "white")
    draw = ImageDraw.Draw(strip)
    top = round(14 * unit)

    def y(line: int) -> float:
        return top + (line + 0.5) * line_height

    for line, n, left, right in _runs(placed):
        half = 0.72 * _FONT_SIZE * unit
        box = (margin + left - 5 * unit, y(line) - half, margin + right + 5 * unit, y(line) + half)
        draw.rounded_rectangle(box, radius=5 * unit, fill=palette.tint(n))
    for item in placed:
        word = item.word
        x = margin + item.x
        if word.opens and word.phrase is not None:
            mark = badge(word.phrase, 0.8 * unit)
            strip.paste(mark, (round(x), round(y(item.line) - mark.height / 2)), mark)
            x += mark.width + 4 * unit
        fill = _TEXT if word.phrase is None else palette.ink(word.phrase)
        draw.text((x, y(item.line)), word.text, fill=fill, font=font, anchor="lm")
    return strip


@lru_cache(maxsize=64)
def badge(n: int, unit: float) -> Image.Image:
    """The number n + 1, white on a disc of phrase n's colour; RGBA, about 26 · unit px across."""
    fine = 4
    side = round(26 * unit) * fine
    disc = Image.new("RGBA", (side, side), (*palette.ink(n), 0))
    draw = ImageDraw.Draw(disc)
    draw.ellipse((0, 0, side - 1, side - 1), fill=(255, 255, 255, 255))
    ring = 0.07 * side
    draw.ellipse((ring, ring, side - 1 - ring, side - 1 - ring), fill=(*palette.ink(n), 255))
    number = str(n + 1)
    font = _font(round(side * {1: 0.62, 2: 0.5}.get(len(number), 0.38)))
    # Weighted by a stroke, for the built-in font has no bold; centred on its ink, not on its line.
    weight = round(0.012 * side)
    left, top, right, bottom = draw.textbbox((0, 0), number, font=font, stroke_width=weight)
    origin = ((side - left - right) / 2, (side - top - bottom) / 2)
    draw.text(origin, number, fill="white", font=font, stroke_width=weight, stroke_fill="white")
    return disc.resize((side // fine, side // fine), Image.Resampling.LANCZOS)


def _words(cut: Sequence[Piece]) -> Iterator[_Word]:
    spaced = True
    for piece in cut:
        text = _drawable(piece.text)
        spaced = spaced or text[:1].isspace()
        for i, part in enumerate(text.split()):
            yield _Word(part, piece.phrase, glued=i == 0 and not spaced, opens=i == 0 and piece.phrase is not None)
        if not text.strip() and piece.phrase is not None:
            yield _Word("", piece.phrase, glued=False, opens=True)
        spaced = text[-1:].isspace() or (not text and spaced)


def _wrap(words: Sequence[_Word], font: _Font, width: float, unit: float) -> Iterator[_Placed]:
    """Greedy lines. A glued word stays with the one before it; a word wider than a line is cut."""
    space = font.getlength(" ")
    room_for_badge = badge(0, 0.8 * unit).width + 4 * unit

    def width_of(word: _Word) -> float:
        return font.getlength(word.text) + (room_for_badge if word.opens else 0)

    line, x, last = 0, 0.0, None
    for group in _groups(words, font, width - room_for_badge):
        gap = 0.0 if x == 0 else space
        # A tint reaches beyond its words: two of them side by side need room not to touch.
        if x and (last is not None or group[0].phrase is not None) and last != group[0].phrase:
            gap += 5 * unit
        if x and group[0].opens and last is not None:
            gap += 5 * unit
        total = sum(map(width_of, group))
        if x and x + gap + total > width:
            line, x, gap = line + 1, 0.0, 0.0
        x += gap
        for i, word in enumerate(group):
            if i and word.phrase != group[i - 1].phrase:
                x += 5 * unit
            yield _Placed(word, line, x, width_of(word))
            x += width_of(word)
            last = word.phrase


def _groups(words: Sequence[_Word], font: _Font, width: float) -> Iterator[list[_Word]]:
    """Words that no line break may part, cut where they alone exceed a line."""
    group: list[_Word] = []
    for word in words:
        if group and (not word.glued or sum(font.getlength(w.text) for w in [*group, word]) > width):
            yield group
            group = []
        rest = word
        while font.getlength(rest.text) > width:
            keep = max(1, int(len(rest.text) * width / font.getlength(rest.text)) - 1)
            yield [_Word(rest.text[:keep], rest.phrase, rest.glued, rest.opens)]
            rest = _Word(rest.text[keep:], rest.phrase, glued=True, opens=False)
        group.append(rest)
    if group:
        yield group


def _runs(placed: Sequence[_Placed]) -> Iterator[tuple[int, int, float, float]]:
    """Neighbouring words of one phrase on one line, as (line, phrase, left, right)."""
    run: tuple[int, int, float, float] | None = None
    for item in placed:
        n = item.word.phrase
        if run and n is not None and (item.line, n) == run[:2] and not item.word.opens:
            run = (*run[:3], item.x + item.width)
            continue
        if run:
            yield run
        run = None if n is None else (item.line, n, item.x, item.x + item.width)
    if run:
        yield run


def _drawable(text: str) -> str:
    """The text in characters that the built-in font has: accents fall off, what is unknown becomes a question mark."""
    plain = text.translate({0x2013: "-", 0x2014: "-", 0x2018: "'", 0x2019: "'", 0x2212: "-"})
    decomposed = unicodedata.normalize("NFKD", plain)
    kept = (c for c in decomposed if not unicodedata.combining(c))
    return "".join(c if c.isascii() or c in "“”…" else "?" for c in kept)


@lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType; install a wheel of it")
    return font
