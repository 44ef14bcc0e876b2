"""A picture of the system `emoji` stage by stage: its layout, and itself.

    python examples/emoji_stages.py "a cat in a top hat" [--seed 0] [--layout FILE.json] [--out out/stages]

The folder gets layout.json, its boxes in layout.png, and picture.png, what `sfumato generate` draws.
With --layout, such a file that was changed by hand, say, all that comes after it is drawn of that.
"""

import argparse
from pathlib import Path

import torch

from sfumato import Cascade, load
from sfumato.core.noise import Noise
from sfumato.disk import check_writable, replacing
from sfumato.media import Layout
from sfumato.system import Samples
from sfumato.system.cascade_draw import derived_seed

NAMES = ("layout", "picture")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("prompt")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--layout", type=Path, help="go on from this layout")
    options.add_argument("--model", default="emoji", help="the name or the folder of such a cascade")
    options.add_argument("--out", type=Path, default=Path("out/stages"), help="the folder for what is drawn")
    given = options.parse_args()

    check_writable(given.out)
    system = load(given.model)
    assert isinstance(system, Cascade)
    layout = None if given.layout is None else read(system, given.layout, given.prompt)
    drawn = stages(system, given.prompt, given.seed, layout)
    for name, samples in zip(NAMES, drawn, strict=True):
        print(*samples.save(given.out, name=name))
    with replacing(given.out / "layout.png") as beside:
        drawn[0].preview().save(beside, "PNG")


def stages(system: Cascade, prompt: str, seed: int, layout: Samples | None = None) -> list[Samples]:
    """What each stage draws, the first one of the prompt, unless its layout is given."""
    drawn = [layout or system.stages[0].generate(prompt, seeds=[seed])]
    for number, link in enumerate(system.links, 1):
        before, stage = system.stages[number - 1 : number + 1]
        noise = Noise([derived_seed(seed, number, "link")])
        condition = link(drawn[-1], {}, stage, noise, before)
        own = prompt if stage.conditioner.widths else None  # the sprites read no prompt
        drawn.append(stage.generate(own, seeds=[derived_seed(seed, number)], condition=condition))
    return drawn


def read(system: Cascade, file: Path, prompt: str) -> Samples:
    """The layout in a file: its things are those that the prompt names, in order of mention."""
    medium = system.stages[0].medium
    assert isinstance(medium, Layout)
    numbers = torch.from_numpy(medium.decode(file.read_bytes(), file.name))
    return Samples(numbers[None], medium, ({"prompt": prompt},))


if __name__ == "__main__":
    main()
