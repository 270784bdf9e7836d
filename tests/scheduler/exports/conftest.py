"""Two images with jobs of every task: masks with holes and in parts, empty ones, words twice, none and of all kinds."""

import pytest
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from services.scheduler.exports import ExportedImage, ExportedJob
from shared.jobs import Answer
from shared.tasks import Ask, Task
from tests.scheduler.exports.files import block, job, phrase

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12), elements=st.booleans())

FIRST = ExportedImage("a1" * 32, "image/jpeg", 60, 40)
SECOND = ExportedImage("b2" * 32, "image/png", 31, 20)


@pytest.fixture
def jobs() -> list[ExportedJob]:
    dog, ring = block(40, 60, (0, 0, 20, 30)), block(40, 60, (25, 5, 55, 35), (30, 10, 50, 30))
    parts = block(20, 31, (0, 0, 5, 5), (10, 2, 20, 18), (31 - 4, 16, 31, 20))
    text = '"A dog sees a dog <&> ein Fußball.'
    grounded = Answer(
        text,
        "…",
        (
            phrase(dog, "A dog", (1, 6), 0.9),
            phrase(ring, "a dog", (12, 17)),
            phrase(block(40, 60), "ein Fußball", (22, 33)),
            phrase(block(40, 60, (59, 39, 60, 40)), None),
        ),
    )
    said = "A ball in the corner.\x07"
    ball = phrase(parts, "the  Ball")
    grass = phrase(block(20, 31, (0, 10, 31, 20)), "grass", (7, 12))
    return [
        job(FIRST, 1, Ask(Task.GCG), grounded, custom_id="photos/dögs, 1.jpg"),
        job(FIRST, 2, Ask(Task.CAPTION), Answer("Two dogs.", "Two dogs.")),
        job(FIRST, 5, Ask(Task.VQA, "How many?", ((0.0, 0.0, 20.0, 30.0),)), Answer("Two.", "Two.")),
        job(
            SECOND,
            3,
            Ask(Task.REFSEG, expressions=("the  Ball", "a cat")),
            Answer("Sure.", "Sure, [SEG].", (ball,)),
            Answer("No.", "No."),
        ),
        job(
            SECOND,
            4,
            Ask(Task.REGION_CAPTION, boxes=((1.0, 2.0, 11.0, 12.0), (0.0, 0.0, 31.0, 20.0))),
            Answer(said, said),
            Answer("All of it.", "All of it."),
        ),
        job(SECOND, 6, Ask(Task.GROUND, "Mostly grass"), Answer("Mostly grass", "…", (grass,))),
    ]
