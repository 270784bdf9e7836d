"""Captions name every thing once, from left to right, and what they say is so."""

import re

import numpy as np
import pytest

from shared.model import grounding
from tests.training.language.reading import (
    ANY_RELATION,
    NOUN,
    NUMBERS,
    PLACES,
    PLURALS,
    USAGE,
    holds,
    read,
    relation_of,
)
from training.language import plans
from training.language.captions import caption, gcg
from training.language.grounded import GroundedCaption, compose
from training.language.mentions import mentions
from training.language.plans import Told
from training.scenes.scene import Scene


@pytest.fixture(scope="module")
def told(scenes: list[Scene]) -> list[tuple[Scene, GroundedCaption]]:
    return [(scene, gcg(scene, USAGE, np.random.default_rng([number, 5]))) for number, scene in enumerate(scenes)]


def named(scene: Scene, said: GroundedCaption) -> list[tuple[str, list[int]]]:
    """Each phrase but the background's, and the things whose masks together are its mask."""
    found = []
    for phrase in said.phrases:
        if phrase.mask is scene.background_mask:
            continue
        members = [index for index, thing in enumerate(scene.objects) if (thing.mask & phrase.mask).any()]
        union = np.logical_or.reduce([scene.objects[index].mask for index in members])
        assert np.array_equal(union, phrase.mask), phrase.text
        found.append((phrase.text, members))
    return found


def test_every_thing_is_named_once_by_what_it_is(told: list[tuple[Scene, GroundedCaption]]) -> None:
    for scene, said in told:
        phrases = named(scene, said)
        assert sorted(index for _, members in phrases for index in members) == list(range(len(scene.objects)))
        for text, members in phrases:
            wanted = read(text)
            assert (wanted.number or 1) == len(members), text
            for index in members:
                thing = scene.objects[index]
                assert thing.category == wanted.category
                assert wanted.colour == thing.colour
                assert wanted.size in ("", thing.size)
            sizes = {scene.objects[index].size for index in members}
            assert wanted.size == (sizes.pop() if len(sizes) == 1 else "")


def test_things_are_named_from_left_to_right(told: list[tuple[Scene, GroundedCaption]]) -> None:
    for scene, said in told:
        first = [members[0] for _, members in named(scene, said)]
        assert first == sorted(first)


def test_no_two_phrases_are_alike(told: list[tuple[Scene, GroundedCaption]]) -> None:
    for _, said in told:
        texts = [phrase.text.lower() for phrase in said.phrases]
        assert len(set(texts)) == len(texts)


def test_spans_and_markup_give_the_phrases_back(told: list[tuple[Scene, GroundedCaption]]) -> None:
    for _, said in told:
        parsed = grounding.parse(said.answer)
        assert parsed.text == said.text
        assert [mention.span for mention in parsed.mentions] == [(one.start, one.end) for one in said.phrases]
        assert [mention.phrase for mention in parsed.mentions] == [one.text for one in said.phrases]
        assert all(said.text[one.start : one.end] == one.text for one in said.phrases)


def test_sentences_are_well_formed(told: list[tuple[Scene, GroundedCaption]]) -> None:
    for _, said in told:
        for sentence in re.split(r"(?<=\.) ", said.text):
            assert re.fullmatch(r"[A-Z][a-z ,:;]*(?:[A-Z][a-z ,:;]*)*\.", sentence), sentence
            assert "  " not in sentence
        assert not re.search(r"\ba [aeio]", said.text), said.text
        assert not re.search(r"\ban [^aeiou]", said.text), said.text
        for verb, number in re.findall(r"there (is|are) (?:also )?(\w+)", said.text, re.IGNORECASE):
            assert (verb == "are") == (number in NUMBERS), said.text


def test_places_that_are_said_are_right(told: list[tuple[Scene, GroundedCaption]]) -> None:
    checked = 0
    for scene, said in told:
        members = dict(named(scene, said))
        for phrase in said.phrases:
            behind = said.text[phrase.end :]
            place = re.match(rf"(?: is| are)? ({PLACES})(?=,|\.| and | is | (?:{ANY_RELATION}) )", behind)
            if place and phrase.text in members:
                # "Two dogs at the top left": all of them are.
                assert {scene.objects[index].position for index in members[phrase.text]} == {place[1]}, said.text
                checked += 1
    assert checked > 100


def test_relations_that_are_said_hold(told: list[tuple[Scene, GroundedCaption]]) -> None:
    checked = 0
    for scene, said in told:
        members = dict(named(scene, said))
        for one, two in zip(said.phrases, said.phrases[1:], strict=False):
            if one.text not in members or two.text not in members:
                continue
            between = said.text[one.end : two.start]
            forward = re.fullmatch(rf" (?:(?:{PLACES}) )?(?:is )?({ANY_RELATION}) ", between)
            backward = re.search(rf"({ANY_RELATION}) $", said.text[: one.start], re.IGNORECASE)
            if forward:
                assert holds(scene, relation_of(forward[1]), members[one.text][0], members[two.text][0]), said.text
            elif backward and re.fullmatch(rf"(?: (?:{PLACES}))?, there is ", between):
                assert holds(scene, relation_of(backward[1]), members[two.text][0], members[one.text][0]), said.text
            checked += bool(forward or backward)
    assert checked > 50


def test_the_background_is_named(told: list[tuple[Scene, GroundedCaption]]) -> None:
    for scene, said in told:
        (text,) = [phrase.text for phrase in said.phrases if phrase.mask is scene.background_mask]
        assert text.lower() == scene.background


def test_a_count_at_the_start_is_of_all_things(told: list[tuple[Scene, GroundedCaption]]) -> None:
    counts = [(scene, re.search(r"here are (\w+) things", said.text)) for scene, said in told]
    found = [(len(scene.objects), NUMBERS.index(count[1])) for scene, count in counts if count]
    assert found
    assert all(there == said for there, said in found)


def test_every_plan_tells_all_that_there_is(scenes: list[Scene]) -> None:
    for plan in plans.ALL:
        told = 0
        for number, scene in enumerate(scenes[:100]):
            rng = np.random.default_rng([number, 8])
            parts = plan.tell(Told(scene, mentions(scene), True, USAGE, rng))
            if parts is not None:
                members = [index for _, some in named(scene, compose(parts)) for index in some]
                assert sorted(members) == list(range(len(scene.objects)))
                told += 1
        assert told, plan.tell.__name__


def test_a_short_caption_has_no_markup_and_names_every_category(scenes: list[Scene]) -> None:
    for number, scene in enumerate(scenes):
        said = caption(scene, USAGE, np.random.default_rng(number)).lower()
        assert "<" not in said
        names = {PLURALS.get(noun, noun) for noun in re.findall(rf"\b(?:{NOUN})\b", said)}
        assert {thing.category for thing in scene.objects} <= names
