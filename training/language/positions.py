"""The nine places of a picture, and which of them a thing may be said to be at."""

from training.scenes.scene import POSITIONS, Scene, SceneObject

COLUMNS = POSITIONS[1]

# What is at the top left is on the left, too: nobody is wrong to look for it there.
_WIDE = {
    "at the top": frozenset(POSITIONS[0]),
    "at the bottom": frozenset(POSITIONS[2]),
    "on the left": frozenset(row[0] for row in POSITIONS),
    "on the right": frozenset(row[2] for row in POSITIONS),
}
_COLUMN = {words: COLUMNS[index] for row in POSITIONS for index, words in enumerate(row)}
# A share of the picture's side. Nearer to a border of two places than this, a thing may be said to be at either.
_UNCLEAR = 0.03


def column(thing: SceneObject) -> str:
    """Which third of the picture's width it is in: "on the left", "in the middle" or "on the right"."""
    return _COLUMN[thing.position]


def surely_at(scene: Scene, thing: SceneObject, words: str) -> bool:
    """It is there and nobody would name another place."""
    return thing.position == words and is_clear(scene, thing)


def possibly_at(scene: Scene, thing: SceneObject, words: str) -> bool:
    """Somebody might say that it is there."""
    places = _WIDE.get(words, ())
    return any(place == words or place in places for place in _places(scene, thing))


def is_clear(scene: Scene, thing: SceneObject) -> bool:
    """Its centre is well inside the place that it is said to be at."""
    return _places(scene, thing) == {thing.position}


def _places(scene: Scene, thing: SceneObject) -> set[str]:
    height, width = scene.background_mask.shape
    x1, y1, x2, y2 = thing.box
    rows, columns = _thirds((y1 + y2) / (2 * height)), _thirds((x1 + x2) / (2 * width))
    return {thing.position, *(POSITIONS[row][column] for row in rows for column in columns)}


def _thirds(share: float) -> set[int]:
    return {min(2, int(3 * max(0.0, share + offset))) for offset in (-_UNCLEAR, _UNCLEAR)}
