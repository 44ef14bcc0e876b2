"""Draw a sheet of a dozen prompts with the system `emoji`, or another of text to image: `make demo`.

    python examples/emoji.py [--model runs/emoji] [--out out/emoji.png]

Three pictures of each, from the same three seeds, with what was asked beneath them.
"""

import argparse
from pathlib import Path

from scenes.sheet import sheet

from sfumato import load
from sfumato.disk import check_writable
from sfumato.files import replacing

PROMPTS = (
    "a cat in a top hat, 3D style",
    "an owl with headphones, Noto style",
    "a dog wearing sunglasses, flat style",
    "a rocket and an apple, 3D style",
    "a mouse in front of a mountain",
    "a star above a tree, flat style",
    "three apples, 3D style",
    "a blue apple and a red car",
    "five balloons on a blue background, flat style",
    "a panda with a bow, 3D style",
    "a ghost wearing glasses, black and white",
    "a rocket on a pink background, 3D style",
)
SEEDS = range(3)
COLUMNS = 3


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default="emoji", help="a system that ships, or the folder of one or of a run")
    options.add_argument("--out", type=Path, default=Path("out/emoji.png"))
    given = options.parse_args()

    check_writable(given.out.parent)
    images = load(given.model).generate(list(PROMPTS), seeds=SEEDS).images()
    with replacing(given.out) as beside:
        sheet(images, PROMPTS, COLUMNS, letters=16, lines=1).save(beside, "PNG", optimize=True)
    print(given.out)


if __name__ == "__main__":
    main()
