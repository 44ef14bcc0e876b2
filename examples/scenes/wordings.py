"""Kinds of scenes that people ask for in few words: numbers of two things, plurals, and a thing in two colours."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from scenes import held_out
from scenes.place import Again, apart, pack
from scenes.things import Draft, Mention, Spot, Things, any_of, pairs, pick
from scenes.words import article

from sfumato.condition.english import is_plural

NUMBERS = dict(enumerate(held_out.NUMBERS, 2))


def numbers(r: Random, things: Things, style: str) -> Draft:
    """One to three each of two things, five at most: "three apples and two pears", "cats and dogs"."""
    counted = [word for word, (thing, _) in things.by_style[style].items() if thing.counted]
    counts = pick(r, ((2, 1), (1, 2), (3, 1), (1, 3), (2, 2), (2, 2), (3, 2), (2, 3)))
    groups = [(count, any_of(r, things, style, counted, count)) for count in counts]
    items = [item for count, item in groups for _ in range(count)]
    text = " and ".join(_counted(r, *group) for group in groups)
    asked = {("numbers", item.thing.word, NUMBERS[count]) for count, item in groups if count > 1}
    return Draft(text, items, _packed(r, things, items, (0.26, 0.38)), pairs(*items) | asked)


def shared(r: Random, things: Things, style: str) -> Draft:
    """A thing in two colours: "a red and a blue apple"; not in orange first, which would be one."""
    first = any_of(r, things, style, coloured=1)
    other = any_of(r, things, style, [first.thing.word], coloured=1).colour
    if not first.counted or first.colour in (None, "orange", other) or not other or first.thing.word == "orange":
        raise Again
    second = replace(first, words=first.words.replace(first.colour, other, 1), colour=other)
    text = f"{article(first.colour)} and {second.text}"
    return Draft(text, [first, second], _packed(r, things, [first, second], (0.38, 0.62)), pairs(first, second))


def _counted(r: Random, count: int, item: Mention) -> str:
    """A number of a thing in words; two are at times a plural alone."""
    if count == 1:
        return item.text
    if count == 2 and r.random() < 0.5 and is_plural(item.words.split()[-1]):
        return item.words
    return f"{NUMBERS[count] if r.random() < 0.7 else count} {item.words}"


def _packed(r: Random, things: Things, items: list[Mention], sides: tuple[float, float]) -> list[Spot]:
    boxes = [things.pictures.box(item.picture) for item in items]
    return [(*square, 0.0) for square in pack(r, boxes, [sides] * len(items), apart)]


WORDINGS: dict[str, tuple[float, Callable[[Random, Things, str], Draft]]] = {
    "numbers": (0.05, numbers),
    "shared": (0.03, shared),
}
"""How often a scene is of each of these kinds, and what draws it."""
