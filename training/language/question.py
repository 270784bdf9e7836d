"""A question about a scene, as a client would put it, and its answer."""

from dataclasses import dataclass

from shared.masks import Box, Mask


@dataclass(frozen=True, eq=False)
class Question:
    """question: as a client would put it, with box: xyxy in pixels, where it asks about one (`<box1>` in its words).

    answer: with its markup; masks: (H, W) each, one a [SEG] of the answer. kind: which form of question it is.
    about: index of the one thing that it is about. seen: indices of all that the answer is read off, where it is more
    than that one.
    """

    question: str
    answer: str
    kind: str
    box: Box | None = None
    masks: tuple[Mask, ...] = ()
    about: int | None = None
    seen: tuple[int, ...] = ()
