"""Fashion-MNIST: train for twenty minutes, draw a sheet, and have a classifier read a thousand drawn garments.

python examples/fashion.py FOLDER     # with the four *-ubyte.gz files of Fashion-MNIST
"""

import argparse
import logging
import time
from pathlib import Path

import numpy as np
import torch

from sfumato.data import open_source, prepare
from sfumato.evaluate.recognition import ClassIds, agreement, convolutions
from sfumato.library import load_system
from sfumato.media.image import sheet
from sfumato.train import train


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("data", type=Path, help="the folder of Fashion-MNIST")
    options.add_argument("--minutes", type=float, default=20.0, help="how long to train")
    options.add_argument(
        "--run",
        type=Path,
        default=Path("runs/fashion"),
        help="the folder of the run; drawn from as it is when it holds one already",
    )
    options.add_argument("--out", type=Path, default=Path("out"), help="the folder for the picture")
    given = options.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    if not (given.run / "system").exists():
        train(given.data, recipe="fashion", out=given.run, minutes=given.minutes)
    system = load_system(given.run)

    classes = list(open_source(given.data).classes)
    began = time.monotonic()
    drawn = system.generate(classes, seeds=range(1000, 1100))
    seconds = time.monotonic() - began
    by_class = drawn.images()
    given.out.mkdir(exist_ok=True)
    picture = given.out / "fashion.png"
    sheet([by_class[100 * k + i] for i in range(8) for k in range(10)], columns=10, scale=2).save(picture)

    read = convolutions(*pixels(given.data / "train-images-idx3-ubyte.gz"))
    on_real = agreement(read, *pixels(given.data / "t10k-images-idx3-ubyte.gz"))
    asked = np.arange(10).repeat(100)
    print(f"{picture}  a column a class: {', '.join(classes)}")
    print(f"1,000 garments drawn in {seconds:.0f} s ({system.settings.steps} steps each)")
    print(f"{agreement(read, drawn.data, asked):.1%} are read as asked")
    print(f"{on_real:.1%} of the 10,000 real test pictures are read rightly by the same classifier")
    for k, name in enumerate(classes):
        print(f"  {agreement(read, drawn.data[100 * k : 100 * k + 100], asked[100 * k : 100 * k + 100]):4.0%}  {name}")


def pixels(images: Path) -> tuple[torch.Tensor, ClassIds]:
    """The real pictures, in [−1, 1], and their classes."""
    real = prepare(open_source(images))
    assert real.labels is not None
    return torch.from_numpy(real.stored) / 127.5 - 1, real.labels


if __name__ == "__main__":
    main()
