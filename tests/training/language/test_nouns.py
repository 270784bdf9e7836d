"""Articles and plurals."""

import pytest

from training.language.nouns import definite, plural, with_article


@pytest.mark.parametrize(
    ("one", "several"),
    [
        ("apple", "apples"),
        ("bus", "buses"),
        ("box", "boxes"),
        ("church", "churches"),
        ("paintbrush", "paintbrushes"),
        ("strawberry", "strawberries"),
        ("monkey", "monkeys"),
        ("knife", "knives"),
        ("goose", "geese"),
        ("goldfish", "goldfish"),
        ("dice", "dice"),
        ("cactus", "cacti"),
        ("octopus", "octopuses"),
        ("fire engine", "fire engines"),
        ("cup of tea", "cups of tea"),
        ("giraffe", "giraffes"),
        ("snowman", "snowmen"),
        ("pretzel", "pretzels"),
    ],
)
def test_plurals(one: str, several: str) -> None:
    assert plural(one) == several


@pytest.mark.parametrize(
    "name",
    ["an orange car", "an apple", "a red apple", "a unicorn", "an hourglass", "an umbrella", "a ukulele", "an owl"],
)
def test_articles(name: str) -> None:
    article, _, bare = name.partition(" ")
    assert with_article(bare) == f"{article} {bare}"


def test_a_name_without_an_article_gets_the_definite_one() -> None:
    assert definite("grass") == "the grass"
    assert definite("an orange wall") == "the orange wall"
