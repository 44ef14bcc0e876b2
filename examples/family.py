"""The family on Fashion-MNIST: one recipe after another is trained, draws a sheet, and has a thousand pictures read.

python examples/family.py FOLDER                  # with the four *-ubyte.gz files of Fashion-MNIST
python examples/family.py FOLDER --only edm flow --minutes 10
"""

import argparse
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sfumato.core.grid import UniformSpacing, levels
from sfumato.core.noise import Noise
from sfumato.data import open_source, prepare
from sfumato.evaluate.recognition import ClassIds, agreement, convolutions
from sfumato.library import load_system
from sfumato.likelihood import bits_by_vlb
from sfumato.media.image import sheet, to_image
from sfumato.system.classifier import NoisyClassifier
from sfumato.system.samples import Samples
from sfumato.train import train

SEEDS = range(1000, 1100)
CLASSES = 10


@dataclass(frozen=True)
class Show:
    """One sheet: a recipe's system, drawn from with these settings in the place of its own.

    Without `prompted` the system draws unconditionally, and a `push` of the classifier leads to each class.
    """

    recipe: str
    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    prompted: bool = True
    push: float = 0.0


SHOWS = (
    Show("ncsn", "ncsn-langevin"),
    Show("ncsn", "ncsn-predictor-corrector", {"sampler": "predictor-corrector"}),
    Show("edm", "edm"),
    Show("flow", "flow"),
    Show("improved-ddpm", "improved-ddpm"),
    Show("improved-ddpm", "unguided", prompted=False),
    Show("improved-ddpm", "classifier-guided", prompted=False, push=4.0),
)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("data", type=Path, help="the folder of Fashion-MNIST")
    options.add_argument("--minutes", type=float, default=20.0, help="how long each recipe trains")
    options.add_argument("--runs", type=Path, default=Path("runs"), help="the folder of the runs; those there are kept")
    options.add_argument("--out", type=Path, default=Path("out"), help="the folder for the pictures")
    options.add_argument("--only", nargs="*", help="the sheets to draw, by name")
    options.add_argument("--each", type=int, default=100, help="pictures a class that are read")
    given = options.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    shows = [show for show in SHOWS if not given.only or show.name in given.only]

    needed = dict.fromkeys([show.recipe for show in shows] + ["classifier"] * any(show.push for show in shows))
    for recipe in needed:
        if not any((given.runs / recipe / kind).exists() for kind in ("system", "classifier")):
            train(given.data, recipe=recipe, out=given.runs / recipe, minutes=given.minutes)
    read = convolutions(*pixels(given.data / "train-images-idx3-ubyte.gz"))
    given.out.mkdir(exist_ok=True)
    for show in shows:
        began = time.monotonic()
        drawn = torch.cat([part.data for part in draw(show, given.runs, given.each)])
        asked = torch.arange(CLASSES).repeat_interleave(given.each).numpy()
        pictures = [to_image(picture) for picture in drawn]
        rows = min(4, given.each)
        chosen = [pictures[given.each * k + i] for i in range(rows) for k in range(CLASSES)]
        sheet(chosen, columns=CLASSES, scale=2).save(given.out / f"{show.name}.png")
        share = f"{agreement(read, drawn, asked):.1%} of {len(drawn):,} read as asked"
        print(f"{show.name}: {share}, {time.monotonic() - began:.0f} s: {given.out / show.name}.png", flush=True)
    if any(show.name == "improved-ddpm" for show in shows):
        print(bound(given.runs / "improved-ddpm", given.data))


def draw(show: Show, runs: Path, each: int) -> Iterator[Samples]:
    """The pictures of each class in turn."""
    system = load_system(runs / show.recipe)
    guidance = {} if show.prompted else {"guidance": 1.0}
    for k in range(CLASSES):
        guide = NoisyClassifier.load(runs / "classifier").guide(k, show.push) if show.push else None
        prompt = k if show.prompted else None
        yield system.generate(prompt, seeds=SEEDS[:each], guide=guide, **guidance, **show.settings)


def bound(run: Path, data: Path, count: int = 32, steps: int = 1000) -> str:
    """The bits a dimension of real test pictures, by the bound of a chain of `steps` steps."""
    system = load_system(run)
    x_0 = pixels(data / "t10k-images-idx3-ubyte.gz")[0][:count].to(system.device)
    path = levels(system.denoiser.schedule, UniformSpacing(), steps)
    condition = system.conditioner([None] * count).to(system.device)
    found = bits_by_vlb(system.denoiser, x_0, path, Noise(range(count)), "learned", condition)
    prior, chain, decoder = (float(part.mean()) for part in (found.prior, found.steps.sum(0), found.decoder))
    return (
        f"{found.mean:.3f} ± {found.standard_error:.3f} bits a dimension over {count} test pictures, {steps} steps:"
        f" L_T {prior:.4f}, steps {chain:.3f}, L_0 {decoder:.3f}"
    )


def pixels(images: Path) -> tuple[torch.Tensor, ClassIds]:
    """The real pictures, in [−1, 1], and their classes."""
    real = prepare(open_source(images))
    assert real.labels is not None
    return torch.from_numpy(real.stored) / 127.5 - 1, real.labels


if __name__ == "__main__":
    main()
