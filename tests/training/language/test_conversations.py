"""Conversations: given captions, every task's turn, follow-up questions, seeds, and what a split may not say."""

import itertools
import re
from collections import Counter

import numpy as np
import pytest

from shared.model import conversation, grounding
from shared.tasks import Task
from tests.training.language.reading import ANY_RELATION, PLACES, PLURALS, RELATIONS, USAGE, holds, read, relation_of
from training import tokenizer
from training.data import templates
from training.language.conversations import Turn, dialogue, turn
from training.language.grounding import ground
from training.language.usage import Usage
from training.language.vocabulary import corpus, vocabulary
from training.scenes.scene import Scene

COMPOSITIONAL = Usage(
    USAGE.categories,
    USAGE.colours,
    USAGE.backgrounds,
    USAGE.held_out_relations,
    USAGE.held_out_colours,
    compositional=True,
)
MARKUP = re.compile(r"<[^<>]*>|\[SEG\]")
# What the corpus of so few categories has words for, parts of words included.
TOKENS = 950
RELATING = (Task.GCG, Task.REFSEG, Task.REGION_CAPTION, Task.VQA, Task.GROUND)


def test_a_given_caption_is_repeated_with_marks(scenes: list[Scene]) -> None:
    related = 0
    for number, scene in enumerate(scenes):
        said = ground(scene, USAGE, np.random.default_rng([number, 19]))
        parsed = grounding.align(said.answer, said.text)
        assert grounding.parse(said.answer).text == said.text
        assert [mention.span for mention in parsed.mentions] == [(one.start, one.end) for one in said.phrases]
        members: list[list[int]] = []
        for phrase in said.phrases:
            if phrase.mask is scene.background_mask:
                assert re.sub("^(the|an?) ", "", phrase.text) == re.sub("^an? ", "", scene.background)
                continue
            things = [index for index, thing in enumerate(scene.objects) if (thing.mask & phrase.mask).any()]
            wanted = read(phrase.text)
            assert (wanted.number or 1) == len(things)
            assert all(scene.objects[index].category == wanted.category for index in things)
            assert all(wanted.colour in ("", scene.objects[index].colour) for index in things)
            assert all(wanted.size in ("", scene.objects[index].size) for index in things)
            members.append(things)
        pair = re.search(
            rf"> \[SEG\] (?:is )?({ANY_RELATION}) <p> (?:the|an?) [^<]*(?:{'|'.join(USAGE.categories)}) <", said.answer
        )
        if pair:
            assert holds(scene, relation_of(pair[1]), members[0][0], members[1][0]), said.text
            related += 1
    assert related > 20


def test_every_turn_has_a_mask_a_mark_and_a_box_a_mark(scenes: list[Scene]) -> None:
    for number, scene in enumerate(scenes):
        for task in Task:
            said = turn(scene, task, USAGE, np.random.default_rng([number, 23]))
            check_marks(said)
            assert said.task is task


def check_marks(said: Turn) -> None:
    assert said.answer.count("[SEG]") == len(said.masks)
    assert said.question.count(conversation.BBOX) == len(said.boxes)
    assert len(grounding.parse(said.answer).mentions) == len(said.masks)
    assert "{" not in said.question + said.answer


def test_the_services_own_instruction_is_the_most_frequent(scenes: list[Scene]) -> None:
    own = {
        Task.GCG: conversation.GCG,
        Task.CAPTION: conversation.CAPTION,
        Task.REGION_CAPTION: conversation.REGION_CAPTION,
    }
    for task, instruction in own.items():
        turns = [turn(scene, task, USAGE, np.random.default_rng([number, 29])) for number, scene in enumerate(scenes)]
        assert 0.4 < np.mean([said.question == instruction for said in turns]) < 0.6
        assert len({said.question for said in turns}) > 5


def test_dialogues_go_on_about_what_was_spoken_of(scenes: list[Scene]) -> None:
    answers = Counter[str]()
    for number, scene in enumerate(scenes):
        turns = dialogue(scene, USAGE, np.random.default_rng([number, 31]), turns=2 + number % 4)
        assert len(turns) == 2 + number % 4
        for before, said in itertools.pairwise(turns):
            check_marks(said)
            if not re.search(r"\bit\b", said.question) or said.task is not Task.VQA:
                continue
            assert before.about is not None
            thing = scene.objects[before.about]
            match said.question:
                case "Where is it?":
                    assert said.answer.lower() == f"{thing.position}."
                case "What colour is it?" | "What color is it?" | "Which colour is it?":
                    assert said.answer.lower() == f"{thing.colour}."
                case "What is it?":
                    assert said.answer.endswith(f"{thing.colour} {thing.category}.".lstrip())
                case "Show it to me." | "Segment it." | "Where is it? Answer with a mask.":
                    assert said.masks == (thing.mask,)
                case _:
                    continue
            answers[said.question] += 1
    assert answers.total() > 50


def test_a_seed_always_gives_the_same_words(scenes: list[Scene]) -> None:
    for number, scene in enumerate(scenes[:30]):
        one, other = (dialogue(scene, USAGE, np.random.default_rng(number), 4) for _ in range(2))
        assert [(said.question, said.answer) for said in one] == [(said.question, said.answer) for said in other]


def held_out_said(said: Turn, category: str, relation: str) -> bool:
    """Whether the turn puts the category into its held-out relation to another thing, true or not."""
    words, noun = RELATIONS[relation], f"(?:{'|'.join(name for name in (category, *_plurals(category)))})"
    things = f"(?:it\\b|(?:the|an?) [\\w ]*(?:{'|'.join(USAGE.categories)})\\b)"
    place = f"(?: (?:{PLACES}))?"
    text = f"{grounding.parse(said.question).text} {grounding.parse(said.answer).text}"
    patterns = [
        rf"\b{noun}{place}(?: is| here,)? (?:{words}) {things}",
        rf"\b(?:{words}) {things}{place}(?:, there is| is) (?:the|an?) (?:(?:small|large) )?(?:\w+ )?{noun}\b",
        rf"What (?:thing )?is (?:{words}) {things}\? An? (?:\w+ )?{noun}\.",
    ]
    return any(re.search(pattern, text, re.IGNORECASE) for pattern in patterns)


def _plurals(category: str) -> list[str]:
    return [several for several, one in PLURALS.items() if one == category]


@pytest.mark.parametrize("task", RELATING)
def test_held_out_relations_are_said_in_the_compositional_split_alone(scenes: list[Scene], task: Task) -> None:
    counts = Counter[bool]()
    for usage in (USAGE, COMPOSITIONAL):
        for number, scene in enumerate(scenes):
            for draw in range(3):
                said = turn(scene, task, usage, np.random.default_rng([number, draw, 37]))
                counts[usage.compositional] += any(
                    held_out_said(said, category, relation) for category, relation in USAGE.held_out_relations.items()
                )
    assert counts[False] == 0
    assert counts[True] > 100


def test_held_out_colours_are_said_in_the_compositional_split_alone(scenes: list[Scene]) -> None:
    for number, scene in enumerate(scenes):
        for said in dialogue(scene, USAGE, np.random.default_rng([number, 41]), 4):
            text = f"{said.question} {said.answer}"
            assert not re.search(r"orange dogs?\b|gray (?:scarf|scarves)\b|(?<!\w)the dog orange", text), text


@pytest.fixture(scope="module")
def words() -> tuple[str, ...]:
    return vocabulary(USAGE)


def test_every_word_is_one_token(words: tuple[str, ...]) -> None:
    made = tokenizer.train((MARKUP.sub("", text) for text in corpus(USAGE)), TOKENS)
    split = [word for word in words if len(made.encode(f"a {word}", add_special_tokens=False).tokens) != 2]
    assert not split


def test_the_vocabulary_holds_all_that_is_said(scenes: list[Scene], words: tuple[str, ...]) -> None:
    for number, scene in enumerate(scenes):
        for said in dialogue(scene, USAGE, np.random.default_rng([number, 43]), 4):
            text = MARKUP.sub(" ", f"{said.question} {said.answer}")
            assert set(re.findall(r"[A-Za-z]+", text)) <= set(words)


def test_answers_are_worded_as_the_readers_word_them(scenes: list[Scene]) -> None:
    answers = {turn(scene, Task.REFSEG, USAGE, np.random.default_rng(7)).answer for scene in scenes}
    assert {answer for answer in answers if "[SEG]" in answer} <= set(templates.SEGMENTED)
