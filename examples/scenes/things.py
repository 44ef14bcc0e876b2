"""What scenes are made of: pictures, the words for them, and the pairs held out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from scenes import held_out
from scenes.pictures import COLOURS, STYLES, Pictures
from scenes.place import Again
from scenes.words import Thing, article, things

COLOURED = 0.15  # of things in scenes that are not about colours
Spot = tuple[float, float, float, float]
"""x, y, side and depth of a thing: fractions of the canvas, and from −1 to 1 in front."""
T = TypeVar("T")


class Things:
    """The things that each style has pictures of, from a file of emoji_data.py; and the pairs `held` out."""

    def __init__(self, file: Path, held: frozenset[held_out.Pair] | None = None):
        self.pictures = Pictures(file)
        self.held = held_out.read() if held is None else held
        words = things()
        self.by_style = {
            style: {
                word: (thing, name)
                for word, thing in words.items()
                if (name := self.pictures.named(thing.captions, style))
            }
            for style in STYLES
        }


@dataclass
class Mention:
    """A thing as a caption mentions it: `words` without an article, and the picture of it."""

    thing: Thing
    picture: str
    words: str
    colour: str | None = None
    counted: bool = True

    @property
    def text(self) -> str:
        """With an article, if it has one."""
        return article(self.words) if self.counted else self.words

    @property
    def phrase(self) -> str:
        """As `sfumato.condition.phrases` reads it."""
        return self.words.lower().replace("’", "'")


@dataclass
class Draft:
    """A scene in the making: its caption without style and background, its things, and x, y, side and depth of each."""

    text: str
    mentions: list[Mention]
    places: list[Spot]
    pairs: set[held_out.Pair] = field(default_factory=set)
    facts: dict[str, Any] = field(default_factory=dict)


def pick(r: Random, among: Sequence[T]) -> T:
    """One of them, each as likely; by `random()` alone, which is the same in every version of Python."""
    if not among:
        raise Again
    return among[int(r.random() * len(among))]


def mention(r: Random, things: Things, style: str, word: str, number: int = 1, colour: str | None = None) -> Mention:
    """A thing by its word, mostly, or by another word for it; with its colour."""
    thing, name = things.by_style[style][word]
    place = 0 if r.random() < 0.6 else int(r.random() * len(thing.words))
    words = thing.plurals[place] if number > 1 else thing.words[place]
    return Mention(thing, name, f"{colour} {words}" if colour else words, colour, thing.counted and number == 1)


def any_of(
    r: Random, things: Things, style: str, among: Sequence[str] = (), number: int = 1, coloured: float = COLOURED
) -> Mention:
    """A thing drawn from the words `among`, or from all; in a colour as often as `coloured`, if it can be turned."""
    there = things.by_style[style]
    word = pick(r, among or tuple(there))
    turns = r.random() < coloured and things.pictures.hue(there[word][1])
    return mention(r, things, style, word, number, pick(r, tuple(COLOURS)) if turns else None)


def pairs(*items: Mention) -> set[held_out.Pair]:
    """All that is together in a scene of these things."""
    words = sorted({item.thing.word for item in items})
    found = {held_out.together(*two) for two in combinations(words, 2)}
    return found | {("colours", item.thing.word, item.colour) for item in items if item.colour}
