"""What a prompt asks of a picture, and whether a picture has it, by what a reader read in it.

A picture counts only if all of what was asked is read:

- one thing, two things, number: every word is read exactly as often as it is asked for, each at a place of its own;
- colour, and binding of two colours: the same, and each thing is read in the colour that is asked of it;
- place: the same, and the centres of the two lie as asked, in the direction asked by `APART` or more of the picture's
  side and further than across it, for "next to" to either side; "on": above, and the squares no more than `TOUCHING`
  apart; "in front of" and "behind": the squares overlap, the one behind is covered, and the one in front is not;
- worn: the same, and the worn thing's centre is within `NEAR` sides of the face of where a real one sits on that face.

Things of words that are not asked for do not count against a picture, as in GenEval (arXiv:2310.11513).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

from reader import Thing

APART, TOUCHING, NEAR = 0.05, 0.08, 0.3


@dataclass(frozen=True)
class Wanted:
    """A thing that is asked for: the words that name it, and its colour, if one is asked for."""

    words: frozenset[str]
    colour: str | None = None


@dataclass(frozen=True)
class Relation:
    """That thing `one` stands in a relation to thing `other`, by their places in the prompt: "left of", "right of",
    "above", "below", "on", "next to", "in front of" or "behind"."""

    kind: str
    one: int
    other: int


@dataclass(frozen=True)
class Worn:
    """That the thing at `face` wears the one at `worn`, whose centre belongs `x` and `y` sides of the face's square
    from that square's centre."""

    face: int
    worn: int
    x: float
    y: float


@dataclass(frozen=True)
class Asked:
    """All that a prompt asks for, its things in order of mention."""

    things: tuple[Wanted, ...]
    relations: tuple[Relation, ...] = ()
    wears: tuple[Worn, ...] = ()


def shown(asked: Asked, read: Sequence[Thing]) -> bool:
    """Whether all that is asked for is read."""
    named = frozenset().union(*(thing.words for thing in asked.things))
    among = [thing for thing in read if thing.word in named]
    return len(among) == len(asked.things) and any(_fits(asked, order) for order in permutations(among))


def _fits(asked: Asked, things: Sequence[Thing]) -> bool:
    """Whether these things, in this order, are those asked for."""
    return (
        all(
            thing.word in wanted.words and wanted.colour in (None, thing.colour)
            for wanted, thing in zip(asked.things, things, strict=True)
        )
        and all(holds(relation.kind, things[relation.one], things[relation.other]) for relation in asked.relations)
        and all(sits(worn, things[worn.face], things[worn.worn]) for worn in asked.wears)
    )


def holds(kind: str, one: Thing, other: Thing) -> bool:
    """Whether the one stands in the relation to the other."""
    across, down = (one.x - other.x) / 2, (one.y - other.y) / 2
    overlap = max(abs(across), abs(down)) < (one.side + other.side) / 2
    match kind:
        case "left of" | "right of":
            return (across if kind == "right of" else -across) >= max(APART, abs(down))
        case "above" | "below":
            return (down if kind == "below" else -down) >= max(APART, abs(across))
        case "on":
            return holds("above", one, other) and abs(down) <= (one.side + other.side) / 2 + TOUCHING
        case "next to":
            return abs(across) >= max(APART, abs(down))
        case "in front of":
            return overlap and other.covered and not one.covered
        case "behind":
            return holds("in front of", other, one)
    raise ValueError(f"no relation is called {kind}")


def sits(worn: Worn, face: Thing, thing: Thing) -> bool:
    """Whether the thing is where one that is worn belongs."""
    x, y = ((a - b) / 2 / face.side for a, b in ((thing.x, face.x), (thing.y, face.y)))
    return math.hypot(x - worn.x, y - worn.y) <= NEAR


def wilson(right: int, of: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of a share, `(p + z²/2n ± z·√(p(1 − p)/n + z²/4n²)) / (1 + z²/n)` (Wilson, 1927)."""
    if of == 0:
        return 0.0, 1.0
    share, extra = right / of, z**2 / of
    middle, half = share + extra / 2, math.sqrt(share * (1 - share) * extra + extra**2 / 4)
    return (middle - half) / (1 + extra), (middle + half) / (1 + extra)
