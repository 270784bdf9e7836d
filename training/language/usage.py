"""What a split of the data may say: its words, and which pairs of them are held back for the compositional split."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Usage:
    """categories, colours, backgrounds: all that the world knows, for what a scene does not show.

    held_out_relations: category → the relation that is held out for it: nothing is said of the two where the category
    is the subject. held_out_colours: category → the colour that is held out for it: not even its absence is spoken of.
    compositional: the split that says, and prefers, what the others may not. practice: what is hardest to learn comes
    more often than it would be asked.
    """

    categories: tuple[str, ...]
    colours: tuple[str, ...]
    backgrounds: tuple[str, ...]
    held_out_relations: Mapping[str, str] = field(default_factory=dict)
    held_out_colours: Mapping[str, str] = field(default_factory=dict)
    compositional: bool = False
    practice: bool = False

    def allowed(self, category: str, relation: str) -> bool:
        return self.compositional or self.held_out_relations.get(category) != relation

    def prefers(self, category: str, relation: str) -> bool:
        return self.compositional and self.held_out_relations.get(category) == relation

    def allowed_colour(self, category: str, colour: str) -> bool:
        return self.compositional or self.held_out_colours.get(category) != colour
