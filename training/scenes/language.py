"""The sentences of a scene. One plain template, so that a very small language model learns it soon."""

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
_BACKGROUND_SHARE = 0.15


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
    """expression: what to segment, as in "the small apple"; answer holds one [SEG]; mask: (H, W)."""

    expression: str
    answer: str
    mask: Mask


class RegionSample(NamedTuple):
    """box: xyxy in pixels; answer: a sentence about what it holds."""

    box: Box
    answer: str


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
    """A referring expression for one object, or now and then for the background, and the answer."""
    if rng.random() < _BACKGROUND_SHARE:
        return RefsegSample(f"the {scene.background.removeprefix('a ')}", REFSEG_ANSWER, scene.background_mask)
    thing = _pick(scene, rng)
    name = f"the {thing.category}"
    sized = f"the {_sized(thing)}"
    expressions = (name, sized, f"{name} {thing.position_word}", f"{sized} {thing.position_word}")
    return RefsegSample(expressions[rng.integers(len(expressions))], REFSEG_ANSWER, thing.mask)


def region_caption(scene: Scene, rng: Generator) -> RegionSample:
    """One object's box and the sentence that describes it."""
    thing = _pick(scene, rng)
    return RegionSample(thing.box, f"{_capitalised(_indefinite(thing))} {thing.position_word}.")


def vocabulary() -> tuple[str, ...]:
    """Every word that the sentences can hold, sorted, in lower case unless only ever capitalised."""
    sentences = (*CATEGORIES, *BACKGROUNDS, *SIZE_WORDS, *POSITION_WORDS, "a an and in front of the", "Sure it is")
    return tuple(sorted({word for sentence in sentences for word in sentence.split()}))


def _pick(scene: Scene, rng: Generator) -> SceneObject:
    return scene.objects[rng.integers(len(scene.objects))]


def _sized(thing: SceneObject) -> str:
    return f"{thing.size_word} {thing.category}".lstrip()


def _indefinite(thing: SceneObject) -> str:
    name = _sized(thing)
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _capitalised(text: str) -> str:
    return text[0].upper() + text[1:]
