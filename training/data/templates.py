"""How questions and short answers are worded in training: the service's own instruction and several ways around it.

The service asks with the wording of `shared.model.conversation`; a model that met only that would answer nothing else.
"""

from collections.abc import Sequence

from numpy.random import Generator

from shared.model import conversation

_MASKS = (
    "Please respond with interleaved segmentation masks for the corresponding parts of the answer.",
    "Interleave segmentation masks with the parts of the answer that they belong to.",
    "Mark every phrase about something visible with its segmentation mask.",
    "Give a segmentation mask for each thing that the answer names.",
)
CAPTION = (
    conversation.CAPTION,
    "Please describe the image in detail.",
    "What does this picture show?",
    "Can you tell me what there is to see in this image?",
    "Write a description of this photo.",
    "Say in a few sentences what is going on here.",
    "How would you describe this scene to someone who cannot see it?",
    "Describe the image.",
    "What can you see?",
    "Tell me what is in this picture.",
)
GCG = (
    conversation.GCG,
    *(f"{question} {request}" for question in CAPTION for request in _MASKS if question != conversation.CAPTION),
)
REGION = (
    conversation.REGION_CAPTION,
    "What is in the region <bbox>?",
    "Describe the part of the image inside <bbox>.",
    "Please tell me about the thing at <bbox>.",
    "How would you refer to the object in <bbox>?",
    "What can you say of the area that <bbox> marks?",
    "Describe this region. <bbox>",
    "Describe the object in the region in detail. <bbox>",
    "Please tell me what this is. <bbox>",
)
REFERRING = (
    conversation.REFSEG,
    "Please segment {expression} in this image.",
    "Where is {expression} in the picture? Answer with a mask.",
    "Give me the segmentation mask of {expression}.",
    "Find {expression} and outline it.",
    "Which pixels belong to {expression}?",
    "Segment {expression}.",
    "Can you find {expression}? Answer with its segmentation mask.",
    "Show me where {expression} is with a mask.",
)
GROUND = (
    conversation.GROUND,
    "Mark the phrases of this caption with segmentation masks: {caption}",
    "Repeat this description of the image with a segmentation mask for each thing that it names: {caption}",
    "Which parts of the image does this sentence speak of? Answer with masks: {caption}",
    "Ground this caption in the picture: {caption}",
)
SEGMENTED = (
    "Sure, it is [SEG].",
    "It is [SEG].",
    "Sure, [SEG].",
    "Here it is: [SEG].",
    "Here is the mask: [SEG].",
    "[SEG].",
)
USUAL = 0.5
ABSENT = "There is no {expression} in the picture."


def choose(wordings: Sequence[str], rng: Generator) -> str:
    return wordings[int(rng.integers(len(wordings)))]


def usual(wordings: Sequence[str], rng: Generator) -> str:
    """The first wording, the service's own, half the time, else one of the others."""
    return wordings[0] if rng.random() < USUAL else choose(wordings[1:], rng)


def referring(expression: str, rng: Generator) -> str:
    """A request to segment what the expression names. The service's own question stands without an article."""
    template = usual(REFERRING, rng)
    if template == conversation.REFSEG:
        return conversation.refseg(expression)
    return template.format(expression=expression)
