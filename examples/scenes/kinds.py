"""The kinds of scenes: what each draws, from a generator of random numbers, the things there are and a style."""

from collections.abc import Callable, Sequence
from random import Random

from scenes import held_out, worn
from scenes.pictures import Box
from scenes.place import RELATIONS, Again, Sides, apart, middle, pack
from scenes.things import Draft, Mention, Spot, Things, any_of, mention, pairs, pick
from scenes.words import Thing, article

SIZE_WORDS = {"small": ("small", "little", "tiny"), "large": ("large", "big", "huge")}
SIZES = {"": (0.72, 1.0), "small": (0.28, 0.42), "large": (0.85, 1.0)}
CORNERS = {
    "top left": (-1, -1), "top": (0, -1), "top right": (1, -1), "left": (-1, 0),
    "right": (1, 0), "bottom left": (-1, 1), "bottom": (0, 1), "bottom right": (1, 1),
}  # fmt: skip
CORNER_WORDINGS = {1: ("at the {}", "on the {}"), 2: ("at the {}", "in the {} corner", "in the {}")}
RELATION_WORDINGS = {
    "left of": ("{a} left of {b}", "{a} to the left of {b}", "{a} on the left of {b}", "to the left of {b} is {a}"),
    "right of": (
        "{a} right of {b}", "{a} to the right of {b}", "{a} on the right of {b}", "to the right of {b} is {a}",
    ),
    "above": ("{a} above {b}", "{a} over {b}", "above {b} is {a}"),
    "below": ("{a} below {b}", "{a} under {b}", "{a} beneath {b}", "below {b} is {a}", "under {b} is {a}"),
    "on": ("{a} on {b}", "{a} on top of {b}", "{a} on {b}"),
    "next to": ("{a} next to {b}", "{a} beside {b}", "next to {b} is {a}"),
    "in front of": ("{a} in front of {b}", "in front of {b} is {a}"),
    "behind": ("{a} behind {b}", "behind {b} is {a}"),
}  # fmt: skip
BOTH = ("{} and {}", "{} and {}", "{} with {}", "{}, {}")
BESIDE = ("{} and {}", "{} next to {}", "{}, {}")
ALL = ("{}, {} and {}", "{}, {}, and {}", "{} and {} and {}", "{}, {}, {}")
NUMBERS = dict(enumerate(held_out.NUMBERS, 2))


def plain(r: Random, things: Things, style: str) -> Draft:
    """A picture as it is, of any style, with its own caption."""
    name = pick(r, things.pictures.names)
    caption = things.pictures.captions[name]
    item = Mention(Thing(caption, (caption,), (), (caption,)), name, caption)
    return Draft(caption, [item], [(0.5, 0.5, 1.0, 0.0)])


def single(r: Random, things: Things, style: str) -> Draft:
    """A thing, large in the middle, or of a size or at a place that the caption names."""
    item = any_of(r, things, style)
    corner = pick(r, tuple(CORNERS)) if r.random() < 0.3 else ""
    size = pick(r, ("small", "") if corner else ("small", "large")) if r.random() < 0.4 else ""
    words = f"{pick(r, SIZE_WORDS[size])} {item.words}" if size else item.words
    text = article(words) if item.counted else words
    if corner:
        text += " " + pick(r, CORNER_WORDINGS[len(corner.split())]).format(corner)
    sides = (0.36, 0.52) if corner and not size else SIZES[size]
    places = _packed(r, things, [item], [sides], lambda spans: _in_corner(spans[0], *CORNERS.get(corner, (0, 0))))
    return Draft(text, [item], places, pairs(item), {"size": size or None, "corner": corner or None})


def two(r: Random, things: Things, style: str) -> Draft:
    """Two things apart from each other."""
    items = [any_of(r, things, style) for _ in range(2)]
    return Draft(_both(r, items), items, _packed(r, things, items, [(0.38, 0.62)] * 2, apart), pairs(*items))


def three(r: Random, things: Things, style: str) -> Draft:
    """Three things apart from one another."""
    items = [any_of(r, things, style) for _ in range(3)]
    text = pick(r, ALL).format(*(item.text for item in items))
    return Draft(text, items, _packed(r, things, items, [(0.32, 0.5)] * 3, apart), pairs(*items))


def place(r: Random, things: Things, style: str) -> Draft:
    """Two things that stand in a relation, in the order of mention."""
    relation = pick(r, tuple(RELATIONS))
    wording = pick(r, RELATION_WORDINGS[relation])
    items = [any_of(r, things, style) for _ in range(2)]
    a, b = (0, 1) if wording.index("{a}") < wording.index("{b}") else (1, 0)
    front = {"in front of": a, "behind": b}.get(relation)
    sides = [(0.34, 0.6) if front is None else (0.36, 0.5) if place == front else (0.6, 0.85) for place in range(2)]
    fits = RELATIONS[relation]
    places = _packed(r, things, items, sides, lambda spans: len(spans) < 2 or fits(spans[a], spans[b]))
    if front is not None:
        places = [(x, y, side, 0.5 if place == front else -0.5) for place, (x, y, side, _) in enumerate(places)]
    the = r.random() < 0.15
    texts = [f"the {item.words}" if the and item.counted else item.text for item in items]
    text = wording.format(a=texts[a], b=texts[b])
    return Draft(text, items, places, pairs(*items), {"relations": [[a, relation, b]]})


def number(r: Random, things: Things, style: str) -> Draft:
    """Two to five of a thing, nearly as large as one another."""
    many = pick(r, tuple(NUMBERS))
    words = [word for word, (thing, _) in things.by_style[style].items() if thing.counted]
    item = any_of(r, things, style, words, many)
    side = 0.25 + ({2: 0.46, 3: 0.42, 4: 0.38, 5: 0.34}[many] - 0.25) * r.random()
    places = sorted(_packed(r, things, [item] * many, [(0.93 * side, 1.07 * side)] * many, apart))  # left to right
    text = f"{NUMBERS[many] if r.random() < 0.7 else many} {item.words}"
    asked = pairs(item) | {("numbers", item.thing.word, NUMBERS[many])}
    return Draft(text, [item] * many, places, asked, {"number": many})


def colour(r: Random, things: Things, style: str) -> Draft:
    """A thing in a colour, mostly another than its own."""
    item = _coloured(r, things, style)
    places = _packed(r, things, [item], [(0.66, 1.0)], lambda spans: _in_corner(spans[0], 0, 0))
    return Draft(item.text, [item], places, pairs(item))


def two_colours(r: Random, things: Things, style: str) -> Draft:
    """Two things in two colours, or the same thing in both."""
    first, second = (_coloured(r, things, style) for _ in range(2))
    if r.random() < 0.3:
        second = mention(r, things, style, first.thing.word, colour=second.colour)
    if first.colour == second.colour:
        raise Again
    items = [first, second]
    return Draft(_both(r, items), items, _packed(r, things, items, [(0.38, 0.62)] * 2, apart), pairs(*items))


def wearing(r: Random, things: Things, style: str) -> Draft:
    """A face that wears something, or two things at different places of it; seldom with another thing beside it."""
    there = things.by_style[style]
    faces = [word for word in worn.FACES if word in there and _is_face(things, *there[word])]
    wearables = [word for word in worn.WEARABLES if word in there]
    items = [any_of(r, things, style, faces, coloured=0.1)]
    items += [any_of(r, things, style, wearables) for _ in range(2 if r.random() < 0.15 else 1)]
    fits = [worn.WEARABLES[item.thing.word] for item in items[1:]]
    if len({fit.at for fit in fits}) < len(fits):
        raise Again
    wording = pick(r, worn.WORDINGS[fits[0].at])
    text = wording.format(a=items[0].text, b=" and ".join(item.text for item in items[1:]))
    others = [word for word in there if word not in worn.WEARABLES]  # which would be read as worn too
    beside = [any_of(r, things, style, others)] if r.random() < 0.15 else []
    text = pick(r, BESIDE).format(text, beside[0].text) if beside else text
    places = _dressed(r, things, items, beside, [-0.5, *(fit.depth for fit in fits)])
    wears = [[0, place] for place in range(1, len(items))]
    return Draft(text, items + beside, places, pairs(*items, *beside), {"wears": wears})


def _dressed(r: Random, things: Things, items: list[Mention], beside: list[Mention], depths: list[float]) -> list[Spot]:
    """Places for a face with what it wears, which are put where one thing would be, and for what is beside it."""
    pictures = things.pictures
    boxes = [pictures.box(item.picture) for item in items]
    face, *clothes = [(item.picture, item.thing.word) for item in items]
    box, inside = worn.group(boxes, worn.squares(pictures, face, clothes))
    if beside:
        frame, other = pack(r, [box, pictures.box(beside[0].picture)], [(0.5, 0.68), (0.32, 0.45)], apart)
    else:
        (frame,), other = pack(r, [box], [(0.72, 0.96)], lambda spans: _in_corner(spans[0], 0, 0)), None
    dressed = [(*square, depth) for square, depth in zip(worn.within(frame, inside), depths, strict=True)]
    return [*dressed, (*other, 0.0)] if other else dressed


KINDS: dict[str, tuple[float, Callable[[Random, Things, str], Draft]]] = {
    "plain": (0.25, plain),
    "one": (0.1, single),
    "two": (0.14, two),
    "three": (0.05, three),
    "place": (0.15, place),
    "number": (0.09, number),
    "colour": (0.06, colour),
    "two colours": (0.06, two_colours),
    "worn": (0.1, wearing),
}
"""How often a scene is of each kind, and what draws it."""
HELD_OUT = {
    "two": ("things", "worn"), "three": ("things", "worn"), "place": ("things", "worn"), "number": ("numbers",),
    "colour": ("colours",), "two colours": ("colours",), "worn": ("worn",),
}  # fmt: skip
"""The kinds of pairs of which a held-out scene of each kind has one at least."""


def _both(r: Random, items: Sequence[Mention]) -> str:
    """Two things in words; a cat with a hat would be one that wears it."""
    worn_pair = held_out.together(*(item.thing.word for item in items))[0] == "worn"
    wording = pick(r, [wording for wording in BOTH if not (worn_pair and "with" in wording)])
    return wording.format(*(item.text for item in items))


def _coloured(r: Random, things: Things, style: str) -> Mention:
    item = any_of(r, things, style, coloured=1)
    if not item.colour:
        raise Again
    return item


def _is_face(things: Things, thing: Thing, name: str) -> bool:
    """Whether a picture shows a thing as the first of its captions does, the face and not the whole animal."""
    return things.pictures.captions[name] == thing.captions[0] and name not in worn.ASIDE


def _packed(
    r: Random, things: Things, items: Sequence[Mention], sides: Sides, fits: Callable[[Sequence[Box]], bool]
) -> list[Spot]:
    """Places for things, none in front of another."""
    boxes = [things.pictures.box(item.picture) for item in items]
    return [(*square, 0.0) for square in pack(r, boxes, sides, fits)]


def _in_corner(box: Box, across: int, down: int) -> bool:
    """Whether the middle is left (−1), at the centre (0) or right (1), and likewise from the top to the bottom."""
    edges = {-1: (0.0, 0.4), 0: (0.42, 0.58), 1: (0.6, 1.0)}
    return all(edges[side][0] <= at <= edges[side][1] for at, side in zip(middle(box), (across, down), strict=True))
