"""The recipe of a training for which none is named: by the data, the machine and the time.

What is known of it is measured (docs/how-to/recipes.md has the trials): small pictures are denoised as they are; of
larger ones, the latents of the codec that ships, by a network that begins as its own did, show something a great deal
sooner. Larger pictures and wider networks are better where there is time for enough samples, and worse where there is
not.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sfumato.arguments import listed
from sfumato.parts import value_of
from sfumato.train.asked import Asked
from sfumato.train.base_recipe import Recipe
from sfumato.train.compute import Compute
from sfumato.train.denoise_recipe import DenoiseRecipe
from sfumato.train.plan import MOST_TRAINING_STEPS, duration
from sfumato.train.recipe import load_recipe
from sfumato.train.speed import seconds_a_sample
from sfumato.train.survey import Survey, survey

MINUTES = 60.0
"""How long a training is that nobody gives an end."""
FEWEST_CODEC_STEPS = 50
"""With fewer steps of fitting, the codec that ships is taken as it is. Its PSNR of photographs at 64×64 was 16.8 dB,
and 15.8 dB after ten steps, 20.2 after 50, 20.9 after 100, 21.6 after 240.
"""


@dataclass(frozen=True)
class Kind:
    """A way to train: the shipped `recipe` with `settings`, on noise of `shape`, for which `least` samples must be
    seen to be worth it. `share` of the time goes to its steps: the rest is for what is made before, and for sheets."""

    recipe: str
    settings: tuple[str, ...]
    shape: tuple[int, ...]
    least: int
    share: float
    rate: float
    fits_codec: bool = False


def kinds(found: Survey, size: Sequence[int] | None = None) -> list[Kind]:
    """The ways to train on such data, from the one that learns the fastest to the best; at the `size` given alone."""
    if found.sounds:
        return [Kind("sound", (), (1, 11_264), 0, 0.9, 1e-3)]
    side = found.side if size is None else min(size)
    if side < 64:
        return [_pixels(found, size, width, least) for width, least in ((48, 0), (64, 100_000), (128, 2_000_000))]
    sides = [(64, 0), (96, 50_000), (128, 100_000)]
    if size is not None:
        return [_latents(found, size, 0)]
    return [_latents(found, (one, one), least) for one, least in sides if one <= side]


def _pixels(found: Survey, size: Sequence[int] | None, width: int, least: int) -> Kind:
    side = found.side // 4 * 4 if 8 <= found.side <= 40 else 32
    w, h = size or (side, side)
    patch = 2 if w % 2 == h % 2 == 0 and width < 128 else 1
    settings = (f"data.size=[{w},{h}]", f"network.width={width}", f"network.patch={patch}", *_flip(found))
    return Kind("edm", (*settings, *_condition(found)), (3, h, w), least, 0.9, 1e-3 if width < 128 else 4e-4)


def _latents(found: Survey, size: Sequence[int], least: int) -> Kind:
    w, h = size
    name = "text-to-image" if found.captioned else "latent"
    layout = max(min(w, h) // 8, 1)
    settings = (f"data.size=[{w},{h}]", f"condition.layout={layout}", *_flip(found))
    return Kind(name, settings, (6, max(h // 8, 1), max(w // 8, 1)), least, 0.7, 5e-4, fits_codec=True)


def _flip(found: Survey) -> tuple[str, ...]:
    """Grey pictures may be letters, which have a left and a right."""
    return () if found.grey else ("data.flip=true",)


def _condition(found: Survey) -> tuple[str, ...]:
    return ("condition.kind=text",) if found.captioned else ()


def best_kind(kinds: Sequence[Kind], seen: Sequence[int]) -> int:
    """Which of the kinds to take, each of which would see so many samples: the best that sees its `least`."""
    return max(i for i, (kind, samples) in enumerate(zip(kinds, seen, strict=True)) if samples >= kind.least or i == 0)


def loop(kind: Kind, samples: int, minutes: float | None, batch: int | None = None) -> tuple[str, ...]:
    """The settings of the loop that follow from how many samples will be seen: some two thousand steps if batches of
    32 to 1,024 allow it, or batches as given; the rate rises with the fourth root of the batch, and falls over the
    second half."""
    if batch is None:
        batch = min(max(int(2 ** round(math.log2(max(samples, 1) / 2000))), 32), 1024)
    steps = max(samples // batch, 1)
    rate = kind.rate * (batch / 32) ** 0.25
    show = min(max((minutes or MINUTES) / 6, 1.0), 10.0)
    return (
        f"train.batch={batch}",
        f"train.steps={steps}",
        f"train.show_minutes={show:.3g}",
        f"optimizer.learning_rate={rate:.3g}",
        f"optimizer.decay={max(steps // 2, 1)}",
        "optimizer.warmup=null",
        *(_codec(samples // 80) if kind.fits_codec else ()),  # a fifth of the time, in batches of 16
    )


def _codec(steps: int) -> tuple[str, ...]:
    """A codec that is fitted in so many steps, beginning with the one that ships; or that one as it is."""
    if steps < FEWEST_CODEC_STEPS:
        return ("codec.path=emoji-single", "codec.init_from=null")
    return ("codec.settings=" + json.dumps(["optimizer.warmup=null", f"train.steps={steps}"]),)


def choose(where: str, settings: Iterable[str], asked: Asked, compute: Compute) -> Recipe:
    """The recipe for the data at `where`, with `settings` laid over it, which are kept; what it says of itself is what
    was chosen, and why."""
    given = [settings] if isinstance(settings, str) else listed("settings", settings)
    found = survey(where)
    options = kinds(found, _size(given))
    if asked.nothing and (own := _count(given, "train.steps")) is not None:
        asked = Asked(steps=own)
    minutes = MINUTES if asked.nothing else asked.minutes
    batch = _count(given, "train.batch") or (None if asked.steps is None else 32)
    seen: list[int] = []
    for kind in options:
        if seen and seen[-1] < kind.least:
            break  # a slower one sees fewer still
        seen.append(asked.samples(batch or 32, found.count) or _samples(kind, given, minutes or MINUTES, compute))
    seen = compute.agreed(seen)
    place = best_kind(options[: len(seen)], seen)
    kind, samples = options[place], seen[place]
    recipe = load_recipe(kind.recipe, [*kind.settings, *loop(kind, samples, minutes, batch), *given])
    return recipe.model_copy(update={"about": _words(kind, recipe, samples / found.count, minutes)})


def _samples(kind: Kind, given: list[str], minutes: float, compute: Compute) -> int:
    """How many samples the kind would see in so many minutes."""
    recipe = load_recipe(kind.recipe, [*kind.settings, *given])
    assert isinstance(recipe, DenoiseRecipe)
    return int(60 * minutes * kind.share / seconds_a_sample(recipe, kind.shape, compute))


def _size(given: list[str]) -> Sequence[int] | None:
    """The size of pictures that the settings ask for."""
    size = _given(given, "data.size")
    return size if isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) for side in size) else None


def _count(given: list[str], key: str) -> int | None:
    """The number above 0 that the settings give a key; what else they give it is refused when they are laid over."""
    value = _given(given, key)
    return value if type(value) is int and 0 < value <= MOST_TRAINING_STEPS else None


def _given(given: list[str], key: str) -> Any:
    """What the settings give a key; None if it is not among them."""
    pairs = [setting.partition("=") for setting in given if isinstance(setting, str)]
    return next((value_of(value.strip()) for name, _, value in reversed(pairs) if name.strip() == key), None)


def _words(kind: Kind, recipe: Recipe, passes: float, minutes: float | None) -> str:
    size = recipe.data.wanted_size
    what = f" at {'×'.join(map(str, size))}" if size else ""
    within = "" if minutes is None else f" in {duration(60 * minutes)}"
    return (
        f"{kind.recipe}{what}, chosen for about {f'{passes:,.0f}' if passes >= 10 else f'{passes:.2g}'} passes{within}"
    )
