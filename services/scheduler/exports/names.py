"""The names of categories and their numbers, in the order in which they are met."""

import re
from collections.abc import Iterator

from services.scheduler.exports.scratch import Scratch

UNNAMED = "object"
"""Of a mask that belongs to no words."""

_ARTICLE = re.compile(r"^(a|an|the)\s+(?=\S)")


def category(text: str | None) -> str:
    """A phrase as the name of a category: lower case, single blanks, no article in front."""
    words = " ".join((text or "").lower().split())
    return _ARTICLE.sub("", words) or UNNAMED


class Names:
    """Numbers names from 0. They stand in a database on disk, since a batch may have as many names as phrases."""

    def __init__(self, scratch: Scratch) -> None:
        self._database = scratch.database()
        self._database.execute("CREATE TABLE names (number INTEGER PRIMARY KEY, name TEXT UNIQUE)")
        self._count = 0

    def number(self, name: str) -> int:
        """The name's number; a new one for a name that was not met before."""
        found = self._database.execute("SELECT number FROM names WHERE name = ?", (name,)).fetchone()
        if found is not None:
            return int(found[0])
        self._database.execute("INSERT INTO names VALUES (?, ?)", (self._count, name))
        self._count += 1
        return self._count - 1

    def __iter__(self) -> Iterator[tuple[int, str]]:
        yield from self._database.execute("SELECT number, name FROM names ORDER BY number")
