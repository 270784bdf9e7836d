"""Descriptions: what is said of a thing to tell it from the others, and which things of a scene they fit."""

from dataclasses import dataclass

from training.language import relations
from training.language.naming import named
from training.language.nouns import plural
from training.language.positions import possibly_at, surely_at
from training.language.relations import Relation
from training.scenes.scene import Scene

ANYTHING = "thing"


@dataclass(frozen=True)
class Description:
    """Every field that is not empty has to hold. position: one of the nine places.

    relation: a relation's name, to the object of index `other`, which `other_name` ("dog") tells apart; `words` is how
    the relation is put.
    """

    category: str = ""
    colour: str = ""
    size: str = ""
    position: str = ""
    relation: str = ""
    other: int = -1
    other_name: str = ""
    words: str = ""

    @classmethod
    def related(cls, relation: Relation, other_name: str, words: str, category: str, colour: str) -> "Description":
        return cls(category, colour, "", "", relation.name, relation.other, other_name, words)

    @property
    def name(self) -> str:
        """ "small red apple to the left of the dog", without an article."""
        return self._placed(named(self.category or ANYTHING, self.colour, self.size))

    @property
    def names(self) -> str:
        """The same in the plural."""
        return self._placed(named(plural(self.category or ANYTHING), self.colour, self.size))

    def fitting(self, scene: Scene) -> tuple[int, ...] | None:
        """Indices of the things that it fits, () for none; None where people could disagree on any of them."""
        found = []
        for index in range(len(scene.objects)):
            if self._possibly(scene, index):
                if not self._surely(scene, index):
                    return None
                found.append(index)
        return tuple(found)

    def _placed(self, name: str) -> str:
        if self.position:
            name = f"{name} {self.position}"
        return f"{name} {self.words} the {self.other_name}" if self.relation else name

    def _surely(self, scene: Scene, index: int) -> bool:
        """It is possible, and nothing speaks against it."""
        thing = scene.objects[index]
        return (
            (not self.colour or thing.colour == self.colour)
            and (not self.size or thing.size == self.size)
            and (not self.position or surely_at(scene, thing, self.position))
            and (not self.relation or relations.surely(scene, self.relation, index, self.other))
        )

    def _possibly(self, scene: Scene, index: int) -> bool:
        """A drawing of several colours may have the one, and one of middling size may be called either."""
        thing = scene.objects[index]
        return (
            self.category in ("", thing.category)
            and (not self.colour or thing.colour in (self.colour, ""))
            and (not self.size or thing.size in (self.size, ""))
            and (not self.position or possibly_at(scene, thing, self.position))
            and (
                not self.relation
                or (index != self.other and relations.possibly(scene, self.relation, index, self.other))
            )
        )


def of_category(scene: Scene, category: str) -> tuple[int, ...]:
    """Indices of all things of the category, () for none."""
    return tuple(index for index, thing in enumerate(scene.objects) if thing.category == category)
