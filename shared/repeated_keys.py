"""Objects of JSON in which a key stands twice: the last value would win, and the others be lost in silence."""

from typing import Any

from shared.errors import InvalidInput


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object, for `object_pairs_hook` of a line's decoder. Raises InvalidInput for a key that comes twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(twice, f"The line has the field {twice!r} more than once.", "Send it once.")
    return found
