"""Scenes by their number: which kind, in which style, on which background, all of it from (seed, number) alone."""

from collections.abc import Mapping, Sequence
from random import Random

from scenes import ground
from scenes.kinds import HELD_OUT, KINDS
from scenes.pictures import SIDE, STYLES, Box
from scenes.place import Again
from scenes.scene import Ground, Placed, Scene, span
from scenes.things import Draft, Mention, Spot, Things
from scenes.wordings import WORDINGS

GROUNDED = 0.25  # of scenes, which have a background that is not white
NAMED = 0.85  # of scenes, whose caption names the style
STYLE_SHARES = {"fluent-3d": 0.23, "fluent-flat": 0.23, "fluent-high-contrast": 0.17, "fxemoji": 0.14, "noto": 0.23}
TRIES = 2000


def scene(things: Things, seed: int, number: int, kinds: Sequence[str] = (), held_out: bool = False) -> Scene:
    """Scene `number` of all that `seed` gives: a pure function of the two, and of what follows.

    Of `kinds` only, where given; with `held_out` one with a pair that training never shows, and else with none.
    """
    r = Random(f"{seed} {number}")
    kind = _kind(r, Random(f"{seed} {number} wording"), kinds)
    for _ in range(TRIES):
        try:
            style = _share(r, {style: STYLE_SHARES[style] for style, words in things.by_style.items() if words})
            draft = (KINDS | WORDINGS)[kind][1](r, things, style)
            deciding = {pair for pair in draft.pairs if not held_out or pair[0] in HELD_OUT[kind]}
            if _clear(draft) and bool(deciding & things.held) == held_out:
                return _finished(r, things, kind, draft)
        except Again:
            continue
    raise ValueError(f"no scene of the kind {kind} was found: the pictures show too few things")


def _kind(r: Random, other: Random, kinds: Sequence[str]) -> str:
    """The kind of a scene: one of `WORDINGS` by a generator of their own, so that they change no other scene."""
    few = {name: share for name, (share, _) in WORDINGS.items() if name in (kinds or WORDINGS)}
    many = {name: share for name, (share, _) in KINDS.items() if name in (kinds or KINDS)}
    kind = _share(r, many) if many else ""
    return _share(other, few) if few and (not many or other.random() < sum(few.values())) else kind


def _share(r: Random, shares: Mapping[str, float]) -> str:
    """A name, as often as its share of all."""
    at = r.random() * sum(shares.values())
    for name, share in shares.items():
        at -= share
        if at < 0:
            return name
    return next(iter(shares))


def _clear(draft: Draft) -> bool:
    """Whether no two things are one, or have a word in common, unless in two colours or a number was asked for."""
    if "number" in draft.facts:
        return True
    mentions = {id(item): item for item in draft.mentions}.values()  # of which each may stand for several
    words = [(word, item.colour) for item in mentions for word in item.thing.words]
    things = {item.thing.word: item.colour for item in mentions}
    apart = len(things) == len(mentions) or all(item.colour for item in mentions)
    return len(set(words)) == len(words) and apart


def _finished(r: Random, things: Things, kind: str, draft: Draft) -> Scene:
    """The scene of a draft, with its background and its style."""
    style = STYLES[things.pictures.styles[draft.mentions[0].picture]]
    text, background, names = draft.text, Ground(), []
    if kind != "plain" and r.random() < GROUNDED:
        edges = [things.pictures.edge(item.picture, item.colour) for item in draft.mentions]
        text, background, names = ground.drawn(r, draft.text, edges)
    placed = [_placed(item, spot) for item, spot in zip(draft.mentions, draft.places, strict=True)]
    facts = draft.facts | {
        "things": [_facts(things, *of) for of in zip(draft.mentions, placed, strict=True)],
        "ground": names,
    }
    return Scene(
        caption=f"{text}, {style}" if r.random() < NAMED else text,
        kind=kind,
        style=style,
        phrases=tuple(item.phrase for item in draft.mentions),
        placed=tuple(placed),
        ground=background,
        facts=facts,
        pairs=frozenset(draft.pairs),
        pictures=things.pictures,
    )


def _placed(item: Mention, spot: Spot) -> Placed:
    """A thing in its square, whose edges are on whole pixels at the size of the pictures."""
    x, y, side, depth = spot
    side = round(side * SIDE) / SIDE
    x, y = (round((at - side / 2) * SIDE) / SIDE + side / 2 for at in (x, y))
    return Placed(item.picture, item.colour, x, y, side, depth)


def _facts(things: Things, item: Mention, placed: Placed) -> dict[str, str | Box | None]:
    """What the reader of a picture is asked about a thing."""
    box = span(things.pictures.box(placed.picture), placed.x, placed.y, placed.side)
    return {"word": item.thing.word, "colour": item.colour, "box": box}
