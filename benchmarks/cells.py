"""The prompts of each cell of `composition.py`, and the real scenes of them."""

import copy
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import count, islice
from pathlib import Path

import torch
from asked import Asked, Relation, Wanted, Worn
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from emoji_scenes import Scene, Things, picture, scene
from scenes import words
from scenes.pictures import STYLES, Box
from scenes.place import area, overlap

SEEN, HELD_OUT = SPLITS = ("seen", "held-out pairs")
CELLS = {
    "one thing": "one",
    "two things": "two",
    "number": "number",
    "colour": "colour",
    "place": "place",
    "two colours": "two colours",
    "worn": "worn",
}
"""The cells, with the kind of scenes that each has."""
SEED = 1_000_000
"""Of the scenes; no training is given it."""


@dataclass(frozen=True)
class Prompt:
    """A prompt, its number in its cell, what it asks for, a real scene of it, and the things that scene is made of."""

    text: str
    number: int
    asked: Asked
    scene: Scene
    things: Things


@dataclass(frozen=True)
class Square:
    """What a reader says of where a thing is: see `reader.Thing`."""

    x: float
    y: float
    side: float

    @classmethod
    def of(cls, box: Box) -> "Square":
        """Around the middle of a box on the canvas, as large as its longer side."""
        left, top, right, bottom = box
        return cls(left + right - 1, top + bottom - 1, max(right - left, bottom - top))


def prompts(data: Path, cell: str, split: str, number: int) -> list[Prompt]:
    """The first prompts of a cell."""
    held_out = split == HELD_OUT and cell != "one thing"
    file = "held_out_pairs" if split == HELD_OUT and cell == "one thing" else "train"
    there = things(data / f"{file}.parquet")
    every = (scene(there, SEED, place, [CELLS[cell]], held_out) for place in count())
    chosen = enumerate(islice(filter(_plain, every), number))
    return [Prompt(one.caption, place, asked(one), one, there) for place, one in chosen]


@cache
def things(file: Path) -> Things:
    return Things(file)


def real(prompts: Sequence[Prompt]) -> Tensor:
    """The pictures of the scenes of prompts, [n, 3, 128, 128] in [−1, 1]."""
    pictures = [torch.tensor(picture(prompt.scene)) for prompt in prompts]
    return torch.stack(pictures).permute(0, 3, 1, 2) / 127.5 - 1


def is_found_again(prompt: Prompt) -> bool:
    """Whether other real scenes of it are found soon: it asks for no relation, and for one colour at most."""
    return not prompt.asked.relations and sum(thing.colour is not None for thing in prompt.asked.things) < 2


def again(prompt: Prompt) -> Iterator[Prompt]:
    """The prompt with other real scenes of what it asks for, in its style."""
    one, few = prompt.scene, copy.copy(prompt.things)
    style = next(style for style, name in STYLES.items() if name == one.style)
    names = sorted({thing["word"] for thing in one.facts["things"]})
    few.by_style = {style: {word: few.by_style[style][word] for word in names}}
    for place in count():
        other = scene(few, SEED + 1, place, [one.kind], bool(one.pairs & few.held))
        if _plain(other) and _same(asked(other), prompt.asked):
            yield replace(prompt, scene=other)


def asked(scene: Scene) -> Asked:
    """What the caption of a scene asks for."""
    facts = scene.facts
    squares = [Square.of(thing["box"]) for thing in facts["things"]]
    return Asked(
        tuple(
            Wanted(named(thing["word"], phrase, thing["colour"]), thing["colour"])
            for thing, phrase in zip(facts["things"], scene.phrases, strict=True)
        ),
        tuple(Relation(kind, one, other) for one, kind, other in facts.get("relations", ())),
        tuple(Worn(face, worn, *_apart(squares[worn], squares[face])) for face, worn in facts.get("wears", ())),
    )


def named(word: str, phrase: str, colour: str | None = None) -> frozenset[str]:
    """The things that a phrase may mean: that of `word`, and others that are called so too."""
    name = phrase.removeprefix(f"{colour} ") if colour else phrase
    return frozenset(
        thing.word
        for thing in words.things().values()
        if thing.word == word or name in {one.lower() for one in (*thing.words, *thing.plurals)}
    )


def covered(scene: Scene, place: int) -> bool:
    """Whether a thing in front covers a part of the one at `place`."""
    boxes, depths = [thing["box"] for thing in scene.facts["things"]], [one.depth for one in scene.placed]
    return any(
        depth > depths[place] and overlap(box, boxes[place]) > 0.1 * min(area(box), area(boxes[place]))
        for box, depth in zip(boxes, depths, strict=True)
    )


def _plain(scene: Scene) -> bool:
    """Whether a caption says nothing of a background, a size or a corner."""
    return not (scene.facts["ground"] or scene.facts.get("size") or scene.facts.get("corner"))


def _same(one: Asked, other: Asked) -> bool:
    """Whether the same is asked, but for the wording."""
    things = ([(sorted(thing.words), thing.colour or "") for thing in asked.things] for asked in (one, other))
    first, second = things
    return first == second and one.relations == other.relations


def _apart(one: Square, face: Square) -> tuple[float, float]:
    """How far one is right of and below the middle of a face, in sides of the face."""
    return (one.x - face.x) / 2 / face.side, (one.y - face.y) / 2 / face.side
