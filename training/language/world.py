"""What each split of the composed scenes may say."""

from training.language.usage import Usage
from training.scenes.backgrounds import BACKGROUNDS
from training.scenes.categories import CATEGORIES
from training.scenes.colours import COLOURS
from training.scenes.held_out import HELD_OUT_COLOURS, HELD_OUT_RELATIONS
from training.scenes.scene import Split


def usage(split: Split) -> Usage:
    return Usage(
        tuple(CATEGORIES),
        COLOURS,
        BACKGROUNDS,
        HELD_OUT_RELATIONS,
        HELD_OUT_COLOURS,
        compositional=split == "compositional",
        practice=split == "train",
    )
