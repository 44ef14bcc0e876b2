"""Captions taken apart into the things that they name."""

import time

import pytest

from sfumato.condition.phrases import indivisible, phrases, without_white_background

NAMES = ("cat with tears of joy", "family: man, woman", "large blue diamond", "two hearts", "two o’clock", "left arrow")
STYLES = ("3D style", "flat style", "black and white", "Noto style")

CAPTIONS = {
    "cat": ["cat"],
    "Santa Claus": ["santa claus"],
    "a cat in a top hat": ["cat", "top hat"],
    "a kitty wearing a red baseball cap": ["kitty", "red baseball cap"],
    "an owl with a crown, a bow, headphones and a mask": ["owl", "crown", "bow", "headphones", "mask"],
    "a dog to the right of the house": ["dog", "house"],
    "to the left of the house is a dog": ["house", "dog"],
    "a dog on the left of a house": ["dog", "house"],
    "a cat next to a dog in front of a mountain": ["cat", "dog", "mountain"],
    "a cat on the left and a dog on the right": ["cat", "dog"],
    "a cat sitting on a box": ["cat", "box"],
    "there is a tree with three apples beneath it": ["tree", "apples", "apples", "apples"],
    "A dog.  A tree; behind them, a HOUSE!": ["dog", "tree", "house"],
    "a cat\nand a dog": ["cat", "dog"],
    "draw me a picture of a cat": ["cat"],
    "🐱 in a 🎩": ["cat face", "top hat"],
    "कुत्ता": ["कुत्ता"],
    # numbers
    "2 cats": ["cats", "cats"],
    "a pair of cats": ["cats", "cats"],
    "a pair of sunglasses": ["sunglasses"],
    "three apples and two bananas": ["apples", "apples", "apples", "bananas", "bananas"],
    "12 dogs and a cat": ["dogs"] * 4 + ["cat"],
    "three red balloons": ["red balloons"] * 3,
    "apple x3": ["apple"] * 3,
    "3 x red apple, a pear × 2": ["red apple"] * 3 + ["pear"] * 2,
    # sizes, places and colours
    "a small red apple at the top left": ["red apple"],
    "a big, blue apple in the bottom right corner": ["blue apple"],
    "a blue house and a red car": ["blue house", "red car"],
    "a red and blue balloon": ["red and blue balloon"],
    "a red and a blue apple": ["red apple", "blue apple"],
    "three red and two green apples": ["red apples"] * 3 + ["green apples"] * 2,
    "red, yellow and blue balloons": ["red balloons", "yellow balloons", "blue balloons"],
    "four red and blue balloons": ["red balloons"] * 2 + ["blue balloons"] * 2,
    "a red apple and a blue one": ["red apple", "blue apple"],
    "the apple is blue": ["blue apple"],
    "an apple, green; a blue orange and an orange": ["green apple", "blue orange", "orange"],
    "an orange and a red apple": ["orange", "red apple"],
    "a blue-colored apple": ["blue apple"],
    # plurals, and groups
    "cats and dogs": ["cats", "cats", "dogs", "dogs"],
    "a dozen eggs in a basket": ["eggs"] * 4 + ["basket"],
    "a bunch of flowers": ["flowers"] * 3,
    "two pairs of glasses and a glass": ["glasses", "glasses", "glass"],
    # what things do, what is asked, and what is not there
    "a horse jumping over a fence": ["horse", "fence"],
    "two cats playing guitar": ["cats", "cats", "guitar"],
    "a dog chasing a flying pig": ["dog", "flying pig"],
    "a clown juggling three balls": ["clown", "balls", "balls", "balls"],
    "the cat is sleeping": ["cat"],
    "the cat is happy": ["happy cat"],
    "the red cats are very happy, and this is a dog": ["red happy cats"] * 2 + ["dog"],
    "the cat is in a hat": ["cat", "hat"],
    "behind the moon is cheese": ["moon", "cheese"],
    "a dragon breathing fire": ["dragon", "fire"],
    "a red playing card": ["red playing card"],
    "Can you draw me a dragon with a crown, please?": ["dragon", "crown"],
    "on the left a cat, on the right a dog": ["cat", "dog"],
    "a cat without a hat": ["cat"],
    "a cat not wearing a hat or a scarf, and a dog": ["cat", "dog"],
    "a 'cat'": ["cat"],
    "1. cat 2. dog": ["cat", "dog"],
    "🐱🎩": ["cat face", "top hat"],
    # names
    "a cat with tears of joy in a hat": ["cat with tears of joy", "hat"],
    "two cats with tears of joy": ["cats with tears of joy"] * 2,
    "a cat with tears": ["cat", "tears", "tears"],
    "A large blue diamond and a large blue apple": ["large blue diamond", "blue apple"],
    "Family: man, woman and a dog": ["family: man, woman", "dog"],
    "two hearts and two stars": ["two hearts", "stars", "stars"],
    "two o'clock": ["two o'clock"],
    "a left arrow left of a right arrow": ["left arrow", "right arrow"],
    # what says nothing else
    "small": ["small"],
    "on the left": ["on the left"],
    "": [],
    " ,.-!\n": [],
}


@pytest.mark.parametrize("caption", CAPTIONS)
def test_each_thing_has_its_phrase_in_order_of_mention(caption: str) -> None:
    assert [*phrases(caption, NAMES, STYLES).things] == CAPTIONS[caption]


@pytest.mark.parametrize("caption", [caption for caption in CAPTIONS if CAPTIONS[caption]])
def test_neither_style_nor_background_is_a_thing(caption: str) -> None:
    for style, spelled in zip(STYLES, ("in 3d", "Flat style", "in black and white", "in the Noto style"), strict=True):
        parsed = phrases(f"{caption} on a soft background from light blue to white, {spelled}", NAMES, STYLES)
        same = caption in ("small", "on the left")  # which alone are better than nothing
        assert [*parsed.things] == ([] if same else CAPTIONS[caption])
        assert (parsed.style, parsed.background) == (style, "soft background light blue white")


@pytest.mark.parametrize(
    ("caption", "background"),
    [
        ("a star on a green background", "green background"),
        ("an orange and an apple on white", "white"),
        ("a star on a gradient from green to light blue", "gradient green light blue"),
        ("a star with an orange background", "orange background"),
        ("a star on an orange", None),
        ("a star on a blue to pink gradient", "blue pink gradient"),
        ("a star on an orange and blue gradient", "orange blue gradient"),
    ],
)
def test_a_background_is_called_one_or_is_a_colour_that_things_are_on(caption: str, background: str | None) -> None:
    assert phrases(caption).background == background


def test_a_style_or_a_background_alone_is_no_thing() -> None:
    assert phrases("flat style", styles=STYLES).things == phrases("on a green background").things == ()


def test_a_style_is_within_a_phrase_where_it_is_about_one_thing() -> None:
    parsed = phrases("a black and white cat, flat style", styles=STYLES)
    assert (parsed.things, parsed.style) == (("black and white cat",), "flat style")


def test_the_first_things_are_read_as_many_as_are_asked_for() -> None:
    assert phrases("a cat, a dog, two birds", most=3).things == ("cat", "dog", "birds")


def test_names_that_would_be_taken_apart_are_found_and_then_kept_whole() -> None:
    captions = [
        "cat",
        "top hat",
        "Cat with tears of joy",
        "small airplane",
        "three o’clock",
        "O button (blood type)",
        "red heart",
    ]
    names = indivisible(captions)
    assert names == ("cat with tears of joy", "o button (blood type)", "red heart", "small airplane", "three o'clock")
    for name in names:
        assert phrases(f"a {name} and two apples, flat style", names, STYLES).things == (name, "apples", "apples")


@pytest.mark.parametrize(
    "part",
    [
        "a cat and ",
        "a ",
        "family: man, ",
        "x",
        ",",
        ". ",
        "three ",
        "small ",
        "-",
        "left of ",
        "is happy ",
        "😀",
        "of ",
        "a\u0301",
    ],
)
def test_a_hostile_text_is_read_in_linear_time(part: str) -> None:
    started = time.process_time()
    assert len(phrases(part * (100_000 // len(part)), NAMES, STYLES).things) <= 5
    assert time.process_time() - started < 20  # a second or two on a slow machine; by the square of its length, minutes


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("a cat on a white background, flat style", "a cat, flat style"),
        ("three apples, white background", "three apples"),
        ("A dog with a plain  WHITE backdrop", "A dog"),
        ("on a white background", ""),
        ("two cats on a white and grey background", "two cats on a white and grey background"),
        ("a cat before a white house", "a cat before a white house"),
        *[(text, text) for text in ("a cat on a pink and white background", "a cat, blue to white background")],
        ("a cat on an off-white background", "a cat on an off-white background"),
        ("a green background", "a green background"),
    ],
)
def test_a_white_background_is_left_out(text: str, rest: str) -> None:
    assert without_white_background(text) == rest


def test_long_texts_are_looked_through_quickly() -> None:
    begun = time.perf_counter()
    for text in (" " * 60_000, "on a " * 12_000, "on" + " " * 60_000, ", " * 30_000):
        without_white_background(text)
    assert time.perf_counter() - begun < 5
