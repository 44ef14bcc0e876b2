"""The sheets that show the system `emoji`, all of them, in a minute or two.

    python examples/emoji_gallery.py DATA/train.parquet [--model emoji] [--out docs/gallery]

train.parquet is what emoji_data.py writes: the captions of held-out pairs are made of it, as by `emoji_scenes.py
DATA/train.parquet --held-out`, whose first 64 they are; caption i is drawn with seed i. The other prompts are chosen;
their seeds count up from 0, and all that were drawn are shown.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import emoji
import emoji_stages
import torch
from PIL import Image
from scenes.draw import scene
from scenes.kinds import HELD_OUT
from scenes.sheet import sheet
from scenes.things import Things

from sfumato import Cascade, load
from sfumato.disk import check_writable, replacing
from sfumato.media import Layout
from sfumato.system import Samples

VARIED = (
    "a cat in a top hat",
    "an owl with headphones",
    "a rocket and an apple",
    "a dog in front of a house",
    "three apples",
    "a blue apple and a red car",
    "a star above a tree",
    "a mouse wearing a crown on a green background",
)
FAILED = (
    "seven apples",
    "an axolotl",
    "a cat upside down",
    "a sad dog",
    "a red car with blue wheels",
    "a horse in a suit",
    "a dog eating a pizza",
    "a house made of cheese",
)
STAGED = "a cat in a top hat and two apples on a green background, 3D style"
CHANGED = "the layout changed by hand"
CORNER = (0.66, 0.04, 0.96, 0.34)
"""Where the last apple goes: left, top, right and bottom."""
EVENING = ("#27306b", "#f2a65a")
SHOWN, SEED = 64, 0
STAGED_SEED = 1  # in which the hat sits well
SIDE = 192  # of a layout's boxes


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("data", type=Path, help="train.parquet of emoji_data.py")
    options.add_argument("--model", default="emoji", help="the name or the folder of such a cascade")
    options.add_argument("--out", type=Path, default=Path("docs/gallery"))
    given = options.parse_args()

    check_writable(given.out)
    system, things = load(given.model), Things(given.data)
    assert isinstance(system, Cascade)
    for name, page in sheets(system, things):
        with replacing(given.out / name) as beside:
            page.save(beside, "PNG" if name.endswith("png") else "WEBP", quality=90, method=6, optimize=True)
        print(given.out / name)


def sheets(system: Cascade, things: Things) -> Iterator[tuple[str, Image.Image]]:
    """The name of each file, and its sheet."""
    asked = several(system, emoji.PROMPTS, 3)
    yield "emoji.png", sheet(asked, emoji.PROMPTS, emoji.COLUMNS, letters=16, lines=1)
    yield "emoji-stages.webp", staged(system)
    yield "emoji-variety.webp", sheet(several(system, VARIED, 4), VARIED, 2, letters=16, lines=1)
    yield "emoji-failures.webp", sheet(several(system, FAILED, 2), FAILED, 4, letters=15, lines=1)
    captions = [scene(things, SEED, number, list(HELD_OUT), held_out=True).caption for number in range(SHOWN)]
    drawn = system.generate(captions, seeds=[[number] for number in range(SHOWN)])
    yield "emoji-held-out.webp", sheet(drawn.images(), captions, 8, lines=4)


def several(system: Cascade, prompts: tuple[str, ...], number: int) -> list[Image.Image]:
    """So many pictures of each prompt, of the seeds from 0."""
    return system.generate(list(prompts), seeds=range(number)).images()


def staged(system: Cascade) -> Image.Image:
    """What each stage drew of a prompt, and what comes of its layout when that is changed by hand."""
    drawn = emoji_stages.stages(system, STAGED, STAGED_SEED)
    changed = emoji_stages.stages(system, STAGED, STAGED_SEED, edited(drawn[0]))
    return sheet([panel(one) for one in (*drawn, *changed)], (STAGED, CHANGED), 2, letters=16, lines=1)


def edited(layout: Samples) -> Samples:
    """The layout in another style, before an evening sky, and with its last thing in the corner, in front."""
    medium = layout.medium
    assert isinstance(medium, Layout)
    table = medium.table(layout.data[0])
    things = [*table["things"][:-1], {"box": CORNER, "depth": 1.0}]
    table |= {"style": "Noto style", "background": EVENING, "things": things}
    return replace(layout, data=torch.from_numpy(medium.from_table(table))[None])


def panel(drawn: Samples) -> Image.Image:
    """What was drawn, the boxes of a layout or a picture, without a margin and as large as the others."""
    if isinstance(drawn.medium, Layout):
        shown = drawn.preview()
        margin = (shown.width - SIDE) // 2
        return shown.crop((margin, margin, margin + SIDE, margin + SIDE))  # without the style in words below it
    return drawn.images()[0].resize((SIDE, SIDE), Image.Resampling.BICUBIC)


if __name__ == "__main__":
    main()
