"""Every question has one right answer, and it is the one that is given."""

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from shared.model import conversation, grounding
from tests.training.language.reading import (
    ANY_RELATION,
    DESCRIPTION,
    NUMBERS,
    PLACES,
    USAGE,
    fitting,
    holds,
    relation_of,
    the_one,
)
from training.language.nouns import with_article
from training.language.question import Question
from training.language.questions import vqa
from training.language.regions import region_caption
from training.scenes.scene import Scene, SceneObject


@pytest.fixture(scope="module")
def asked(scenes: list[Scene]) -> list[tuple[Scene, Question]]:
    pairs = []
    for number, scene in enumerate(scenes):
        rng = np.random.default_rng([number, 13])
        pairs += [(scene, vqa(scene, USAGE, rng)) for _ in range(8)]
    return pairs


def of_kind(pairs: list[tuple[Scene, Question]], kind: str) -> list[tuple[Scene, Question]]:
    found = [(scene, one) for scene, one in pairs if one.kind == kind]
    assert len(found) > 30
    return found


def name_of(thing: SceneObject) -> str:
    return with_article(f"{thing.colour} {thing.category}".lstrip())


def words_of(answer: str) -> str:
    return answer[0].lower() + answer[1:].removesuffix(".")


def test_what_is_there_or_beside_something_is_one_thing(asked: list[tuple[Scene, Question]]) -> None:
    forms = Counter[str]()
    for scene, one in of_kind(asked, "what"):
        if one.box is not None:
            (index,) = (index for index, thing in enumerate(scene.objects) if thing.box == one.box)
            forms["box"] += 1
        else:
            where = re.fullmatch(r"What (?:is|can you see|thing is) (.*)\?", one.question)
            assert where
            index = the_one(scene, f"the thing {where[1]}")
            forms["relation" if re.match(ANY_RELATION, where[1]) else "place"] += 1
        assert words_of(one.answer) == name_of(scene.objects[index])
        assert one.about == index
    assert min(forms.values()) > 20
    assert len(forms) == 3


def test_where_something_is(asked: list[tuple[Scene, Question]]) -> None:
    for scene, one in of_kind(asked, "where"):
        index = the_one(
            scene,
            one.question[one.question.index("the ", 10 if "in the" in one.question else 0) :][:-1].removeprefix(
                "the picture is "
            ),
        )
        assert words_of(one.answer) == scene.objects[index].position


def test_how_many_there_are(asked: list[tuple[Scene, Question]]) -> None:
    answers = Counter[str]()
    for scene, one in of_kind(asked, "how_many"):
        names = re.fullmatch(r"How many (.*?) (?:are there|are in the picture)\?", one.question)
        assert names
        members = fitting(scene, names[1])
        assert members == fitting(scene, names[1], generous=True)
        assert words_of(one.answer) == NUMBERS[len(members)]
        answers[one.answer] += 1
    assert {"None.", "One.", "Two.", "Three."} <= answers.keys()
    assert answers["One."] < 0.5 * answers.total()


def test_which_colour_and_size_something_has(asked: list[tuple[Scene, Question]]) -> None:
    for scene, one in of_kind(asked, "colour"):
        name = re.search(r"(?:is|are) (the .*)\?", one.question)
        assert name
        members = fitting(scene, name[1])
        assert {scene.objects[index].colour for index in members} == {words_of(one.answer)}
    for scene, one in of_kind(asked, "size"):
        name = re.fullmatch(r"Is (the .*) large or small\?", one.question)
        assert name
        assert words_of(one.answer) == scene.objects[the_one(scene, name[1])].size


def test_yes_and_no(asked: list[tuple[Scene, Question]]) -> None:
    answers = Counter[str]()
    for scene, one in of_kind(asked, "yes_no"):
        truth, doubt = truth_of(scene, one.question)
        assert one.answer == ("Yes." if truth else "No."), one.question
        assert truth or not doubt, one.question
        answers[one.answer] += 1
    assert 0.4 < answers["Yes."] / answers.total() < 0.6


def truth_of(scene: Scene, question: str) -> tuple[bool, bool]:
    """Whether the answer is yes, and whether somebody might say so."""
    there = re.fullmatch(r"(?:Is there|Can you see|Is) (an? .*?)(?: in the picture)?\?", question)
    if there:
        return bool(fitting(scene, there[1])), bool(fitting(scene, there[1], generous=True))
    words = re.fullmatch(r"Is (the .*)\?", question)
    assert words
    related = re.fullmatch(rf"(the .*?) ({ANY_RELATION}) (the .*)", words[1])
    if related and DESCRIPTION.fullmatch(related[1]):
        pair = the_one(scene, related[1]), the_one(scene, related[3])
        name = relation_of(related[2])
        return holds(scene, name, *pair), holds(scene, name, *pair, generous=True)
    attribute = re.fullmatch(rf"(the .*?) (large|small|{'|'.join(USAGE.colours)}|{PLACES})", words[1])
    assert attribute, question
    thing = scene.objects[the_one(scene, attribute[1])]
    if re.fullmatch(PLACES, attribute[2]):
        place = f"the {thing.category} {attribute[2]}"
        return bool(fitting(scene, place)), bool(fitting(scene, place, generous=True))
    return attribute[2] in (thing.colour, thing.size), False


def test_in_practice_yes_and_no_come_more_often_and_as_often_as_each_other(
    scenes: list[Scene], asked: list[tuple[Scene, Question]]
) -> None:
    practice = replace(USAGE, practice=True)
    drawn = [vqa(scene, practice, np.random.default_rng([number, 5])) for number, scene in enumerate(scenes)]
    answers = Counter(one.answer for one in drawn if one.kind == "yes_no")
    usually = sum(one.kind == "yes_no" for _, one in asked) / len(asked)
    assert answers.total() / len(drawn) > 1.4 * usually
    assert 0.4 < answers["Yes."] / answers.total() < 0.6


def test_what_is_shown_with_masks(asked: list[tuple[Scene, Question]]) -> None:
    for scene, one in of_kind(asked, "mask"):
        (mention,) = grounding.parse(one.answer).mentions
        assert mention.phrase
        members = fitting(scene, mention.phrase)
        assert members == fitting(scene, mention.phrase, generous=True)
        (mask,) = one.masks
        assert np.array_equal(mask, np.logical_or.reduce([scene.objects[index].mask for index in members]))


def test_the_background_is_asked_for(asked: list[tuple[Scene, Question]]) -> None:
    assert all(words_of(one.answer) == scene.background for scene, one in of_kind(asked, "background"))


def test_questions_name_the_boxes_that_they_have(asked: list[tuple[Scene, Question]]) -> None:
    for _, one in asked:
        marked, order = conversation.question(one.question, int(one.box is not None))
        assert marked.count(conversation.BBOX) == len(order) == int(one.box is not None)


def test_a_region_is_described_with_all_that_is_known(scenes: list[Scene]) -> None:
    by_relation = 0
    for number, scene in enumerate(scenes):
        one = region_caption(scene, USAGE, np.random.default_rng([number, 17]))
        thing = scene.objects[one.about]
        assert one.box == thing.box
        assert one.category == thing.category
        said = re.fullmatch(
            r"(?:(?:There is|This is|The region shows) )?(an? .*?)(?: here,)? "
            rf"(?:({PLACES})|({ANY_RELATION}) (an? .*))\.",
            one.answer,
            re.IGNORECASE,
        )
        assert said, one.answer
        words = " ".join(word for word in (thing.size, thing.colour, thing.category) if word)
        assert said[1].lower() == with_article(words)
        assert said[2] in (None, thing.position)
        if said[3]:
            assert any(holds(scene, relation_of(said[3]), one.about, other) for other in fitting(scene, said[4]))
            by_relation += 1
    assert by_relation > 30


def test_what_a_number_and_a_presence_are_read_off_is_what_they_count(asked: list[tuple[Scene, Question]]) -> None:
    for _, one in of_kind(asked, "how_many"):
        assert words_of(one.answer) == NUMBERS[len(one.seen)]
    presence = [(scene, one) for scene, one in of_kind(asked, "yes_no") if one.about is None]
    assert presence
    for scene, one in presence:
        assert (one.answer == "Yes.") == bool(one.seen)
        assert all(scene.objects[index].category in one.question or "thing" in one.question for index in one.seen)
