"""English nouns: articles, plurals and numbers."""

NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight")

_IRREGULAR = {
    "bison": "bison",
    "bookshelf": "bookshelves",
    "cactus": "cacti",
    "calf": "calves",
    "child": "children",
    "deer": "deer",
    "dice": "dice",
    "foot": "feet",
    "goose": "geese",
    "knife": "knives",
    "leaf": "leaves",
    "loaf": "loaves",
    "man": "men",
    "mango": "mangoes",
    "moose": "moose",
    "mouse": "mice",
    "ox": "oxen",
    "person": "people",
    "potato": "potatoes",
    "scarf": "scarves",
    "sheep": "sheep",
    "shelf": "shelves",
    "snowman": "snowmen",
    "tomato": "tomatoes",
    "tooth": "teeth",
    "wolf": "wolves",
    "woman": "women",
}
_HISSING = ("s", "x", "z", "ch", "sh")
_VOWELS = "aeiou"
# The letter misleads about the sound.
_CONSONANT_SOUND = ("euro", "one-", "ukulele", "uni", "use")
_VOWEL_SOUND = ("heir", "hour", "x-ray")


def plural(noun: str) -> str:
    """The plural of a countable noun, which may be of several words: "fire engine", "cup of tea"."""
    head, of, rest = noun.partition(" of ")
    before, space, last = head.rpartition(" ")
    return f"{before}{space}{_plural_word(last)}{of}{rest}"


def with_article(name: str) -> str:
    """ "a red apple", "an orange car": the name, without an article, behind the one that it sounds well with."""
    vowel = name.startswith(_VOWEL_SOUND) or (name[0] in _VOWELS and not name.startswith(_CONSONANT_SOUND))
    return f"an {name}" if vowel else f"a {name}"


def definite(phrase: str) -> str:
    """ "a brick wall" → "the brick wall", "grass" → "the grass"."""
    return f"the {without_article(phrase)}"


def without_article(phrase: str) -> str:
    first, space, rest = phrase.partition(" ")
    return rest if space and first in ("a", "an", "the") else phrase


def capitalised(text: str) -> str:
    return text[0].upper() + text[1:]


def sentence(text: str) -> str:
    return f"{capitalised(text)}."


def _plural_word(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("fish"):
        return word
    if word.endswith(_HISSING):
        return f"{word}es"
    if word.endswith("y") and word[-2:-1] not in _VOWELS:
        return f"{word[:-1]}ies"
    return f"{word}s"
