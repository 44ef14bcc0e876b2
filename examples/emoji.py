"""Draw a sheet of a dozen prompts with the system `emoji`, or another that its recipe trained: `make demo`.

    python examples/emoji.py [--model runs/emoji] [--out out/emoji.png]

Three pictures of each, from the same three seeds, with what was asked beneath them.
"""

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from sfumato import load
from sfumato.files import replacing

PROMPTS = (
    "a cat face, flat style",
    "a cat in a hat, 3D style",
    "a red apple, 3D style",
    "a rocket, flat style",
    "a pizza, Noto style",
    "a smiling face with sunglasses, 3D style",
    "a house with a garden, flat style",
    "an owl, black and white",
    "a purple heart, 3D style",
    "a dog face, Noto style",
    "a bicycle, black and white",
    "a birthday cake, 3D style",
)
SEEDS = range(3)
COLUMNS, GAP, LINE = 3, 16, 26


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default="emoji", help="a system that ships, or the folder of one or of a run")
    options.add_argument("--out", type=Path, default=Path("out/emoji.png"))
    given = options.parse_args()

    images = load(given.model).generate(list(PROMPTS), seeds=SEEDS).images()
    page = sheet(images)
    with replacing(given.out) as beside:
        page.save(beside, "PNG")
    print(given.out)


def sheet(images: list[Image.Image]) -> Image.Image:
    """A block for each prompt: its pictures side by side, and the prompt below."""
    each, side = len(SEEDS), images[0].width
    width, height = each * side + GAP, images[0].height + LINE + GAP
    rows = -(-len(PROMPTS) // COLUMNS)
    page = Image.new("RGB", (COLUMNS * width + GAP, rows * height + GAP), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(size=15)
    for place, prompt in enumerate(PROMPTS):
        x, y = GAP + place % COLUMNS * width, GAP + place // COLUMNS * height
        for seed, image in enumerate(images[place * each : (place + 1) * each]):
            page.paste(image, (x + seed * side, y))
        pen.text((x + each * side / 2, y + side + 4), prompt, fill=(60, 60, 60), font=font, anchor="ma")
    return page


if __name__ == "__main__":
    main()
