"""The sentences of a scene. One plain template, so that a very small language model learns it soon."""

import re
from dataclasses import dataclass
from typing import NamedTuple

from numpy.random import Generator

from shared.masks import Box, Mask
from training.scenes.backgrounds import BACKGROUNDS
from training.scenes.compose import POSITIONS, Scene, SceneObject
from training.scenes.sprites import CATEGORIES

SIZE_WORDS = ("large", "small")
POSITION_WORDS = tuple(words for row in POSITIONS for words in row)
REFSEG_ANSWER = "Sure, it is [SEG]."
NUMBERS = ("One", "Two", "Three", "Four")
_BACKGROUND_SHARE = 0.15
_ABSENT_SHARE = 0.3
_MARKUP = re.compile(r"<p> | </p> \[SEG\]")


@dataclass(frozen=True, eq=False)
class Phrase:
    """A phrase of a caption: caption[start:end] == text. mask: (H, W), the pixels it names."""

    text: str
    start: int
    end: int
    mask: Mask


@dataclass(frozen=True, eq=False)
class GroundedCaption:
    """A caption without markup, and its phrases in the order they are said."""

    text: str
    phrases: tuple[Phrase, ...]


class GcgSample(NamedTuple):
    """answer: the caption with `<p> phrase </p> [SEG]`; masks: (H, W) each, the n-th for the n-th [SEG]."""

    answer: str
    masks: tuple[Mask, ...]


class RefsegSample(NamedTuple):
    """expression: what to segment, as in "the small apple".

    answer: with one [SEG] for mask: (H, W), or without any where the scene shows no such thing and mask is None.
    """

    expression: str
    answer: str
    mask: Mask | None


class RegionSample(NamedTuple):
    """box: xyxy in pixels; answer: a sentence about what it holds."""

    box: Box
    answer: str


class VqaSample(NamedTuple):
    """question: as a client would put it, with box: xyxy in pixels, where it asks about one; masks: one a [SEG]."""

    question: str
    box: Box | None
    answer: str
    masks: tuple[Mask, ...]


class GroundSample(NamedTuple):
    """caption: plain, as a client would give it; answer: the same with its phrases marked; masks: one a [SEG]."""

    caption: str
    answer: str
    masks: tuple[Mask, ...]


def grounded_caption(scene: Scene) -> GroundedCaption:
    """The scene's one caption: objects left to right with their places, then the background."""
    text, phrases = "", list[Phrase]()

    def say(phrase: str, mask: Mask) -> None:
        nonlocal text
        phrases.append(Phrase(phrase, len(text), len(text) + len(phrase), mask))
        text += phrase

    last = len(scene.objects) - 1
    for n, thing in enumerate(scene.objects):
        if n > 0:
            text += " and " if n == last else ", "
        phrase = _indefinite(thing)
        say(_capitalised(phrase) if n == 0 else phrase, thing.mask)
        text += f" {thing.position_word}"
    text += ", in front of "
    say(scene.background, scene.background_mask)
    return GroundedCaption(f"{text}.", tuple(phrases))


def caption(scene: Scene) -> str:
    """The caption without markup."""
    return grounded_caption(scene).text


def gcg(scene: Scene, rng: Generator | None = None) -> GcgSample:
    """The caption with its phrases marked. `rng` is there for the other tasks' sake: a scene has only one caption."""
    said = grounded_caption(scene)
    answer, done = "", 0
    for phrase in said.phrases:
        answer += f"{said.text[done : phrase.start]}<p> {phrase.text} </p> [SEG]"
        done = phrase.end
    return GcgSample(answer + said.text[done:], tuple(phrase.mask for phrase in said.phrases))


def refseg(scene: Scene, rng: Generator) -> RefsegSample:
    """A referring expression for one object, now and then for the background or for what is not there."""
    draw = rng.random()
    if draw < _BACKGROUND_SHARE:
        return RefsegSample(f"the {scene.background.removeprefix('a ')}", REFSEG_ANSWER, scene.background_mask)
    if draw < _BACKGROUND_SHARE + _ABSENT_SHARE:
        absent = _absent(scene, rng)
        return RefsegSample(f"the {absent}", f"There is no {absent} in the picture.", None)
    thing = _pick(scene, rng)
    name = f"the {thing.category}"
    sized = f"the {_sized(thing)}"
    expressions = (name, sized, f"{name} {thing.position_word}", f"{sized} {thing.position_word}")
    return RefsegSample(expressions[rng.integers(len(expressions))], REFSEG_ANSWER, thing.mask)


def region_caption(scene: Scene, rng: Generator) -> RegionSample:
    """One object's box and the sentence that describes it."""
    thing = _pick(scene, rng)
    return RegionSample(thing.box, f"{_capitalised(_indefinite(thing))} {thing.position_word}.")


def vqa(scene: Scene, rng: Generator) -> VqaSample:
    """A question and its answer: what, where, how many, whether, about a box, or one that is answered with a mask."""
    thing = _pick(scene, rng)
    there = f"{_capitalised(thing.position_word)}."
    match int(rng.integers(7)):
        case 0:
            same_place = [other for other in scene.objects if other.position_word == thing.position_word]
            named = " and ".join(_indefinite(other) for other in same_place)
            return VqaSample(f"What is {thing.position_word}?", None, f"{_capitalised(named)}.", ())
        case 1:
            return VqaSample(f"Where is the {thing.category}?", None, there, ())
        case 2:
            return VqaSample("How many objects are there?", None, f"{NUMBERS[len(scene.objects) - 1]}.", ())
        case 3:
            present = rng.random() < 0.5
            category = thing.category if present else _absent(scene, rng)
            name = f"{_article(category)} {category}"
            return VqaSample(f"Is there {name} in the picture?", None, "Yes." if present else "No.", ())
        case 4:
            return VqaSample("What is in the background?", None, f"{_capitalised(scene.background)}.", ())
        case 5:
            return VqaSample("What is this?", thing.box, f"{_capitalised(_indefinite(thing))}.", ())
    shown = f"<p> The {thing.category} </p> [SEG] is {thing.position_word}."
    return VqaSample(f"Show me the {thing.category}.", None, shown, (thing.mask,))


def ground(scene: Scene, rng: Generator) -> GroundSample:
    """A caption in somebody else's words: some of the scene's objects in any order, and maybe its background."""
    count = int(rng.integers(1, len(scene.objects) + 1))
    chosen = [scene.objects[index] for index in rng.permutation(len(scene.objects))[:count]]
    definite = rng.random() < 0.3
    said = []
    for thing in chosen:
        name = _sized(thing) if rng.random() < 0.5 else thing.category
        place = f" {thing.position_word}" if rng.random() < 0.5 else ""
        said.append((f"the {name}" if definite else f"{_article(name)} {name}", place))
    masks = [thing.mask for thing in chosen]
    joint = (" next to ", " and ")[int(rng.integers(2))] if count == 2 else " and "
    behind = ""
    if rng.random() < 0.4:
        behind = f", in front of <p> {scene.background} </p> [SEG]"
        masks.append(scene.background_mask)
    first = _capitalised(said[0][0])
    marked = [f"<p> {first if n == 0 else name} </p> [SEG]{place}" for n, (name, place) in enumerate(said)]
    listed = joint.join([", ".join(marked[:-1]), marked[-1]]) if count > 1 else marked[0]
    answer = f"{listed}{behind}."
    return GroundSample(_MARKUP.sub("", answer), answer, tuple(masks))


def vocabulary() -> tuple[str, ...]:
    """Every word that the sentences can hold, sorted, in lower case unless only ever capitalised."""
    sentences = (
        *CATEGORIES,
        *BACKGROUNDS,
        *SIZE_WORDS,
        *POSITION_WORDS,
        *NUMBERS,
        "a an and in front of the next to",
        "Sure it is There is no in the picture Yes No",
    )
    return tuple(sorted({word for sentence in sentences for word in sentence.split()}))


def _pick(scene: Scene, rng: Generator) -> SceneObject:
    return scene.objects[rng.integers(len(scene.objects))]


def _sized(thing: SceneObject) -> str:
    return f"{thing.size_word} {thing.category}".lstrip()


def _absent(scene: Scene, rng: Generator) -> str:
    """A category that the scene does not show."""
    shown = {thing.category for thing in scene.objects}
    return str(rng.choice([name for name in CATEGORIES if name not in shown]))


def _indefinite(thing: SceneObject) -> str:
    name = _sized(thing)
    return f"{_article(name)} {name}"


def _article(name: str) -> str:
    return "an" if name[0] in "aeiou" else "a"


def _capitalised(text: str) -> str:
    return text[0].upper() + text[1:]
