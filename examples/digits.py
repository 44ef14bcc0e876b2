"""Noise to handwritten digits, by a model trained here and now: `make demo-train`.

Trains on the 1,797 digits that ship with scikit-learn, draws two sheets, and has a classifier that was fitted on real
digits read a thousand drawn ones.
"""

import argparse
import logging
import shutil
import time
from pathlib import Path

import torch
from PIL import Image

from sfumato.data import open_source, prepare
from sfumato.evaluate.recognition import agreement, support_vectors
from sfumato.library import load_system
from sfumato.media.image import sheet, to_image
from sfumato.system import System
from sfumato.train import train

DIGITS = [str(digit) for digit in range(10)]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=1.7, help="how long to train")
    options.add_argument("--run", type=Path, default=Path("runs/digits"), help="the folder of the run; begun afresh")
    options.add_argument("--out", type=Path, default=Path("out"), help="the folder for the pictures")
    given = options.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    began = time.monotonic()
    if (given.run / "run.json").exists():
        shutil.rmtree(given.run)

    train("digits", recipe="digits", out=given.run, minutes=given.minutes)
    system = load_system(given.run)
    given.out.mkdir(exist_ok=True)
    draw_digits(system).save(given.out / "digits.png")
    draw_denoising(system).save(given.out / "denoising.png")
    share, on_real = read_digits(system)

    print(f"{given.out / 'digits.png'}     ten classes by eight seeds")
    print(f"{given.out / 'denoising.png'}  noise to digit in ten frames")
    print(f"{share:.1%} of 1,000 drawn digits are read as asked (held-out real digits: {on_real:.1%})")
    print(f"{time.monotonic() - began:.0f} s in all")


def draw_digits(system: System) -> Image.Image:
    """Ten classes, a column each, by eight seeds."""
    pictures = system.generate(DIGITS, seeds=range(8)).images()
    return sheet([enlarged(pictures[8 * digit + seed]) for seed in range(8) for digit in range(10)], columns=10)


def draw_denoising(system: System) -> Image.Image:
    """Each digit on its way from noise, in ten frames from left to right."""
    frames = [frame.x for frame in system.stream(DIGITS, seeds=[1])]
    chosen = [frames[round(i * (len(frames) - 1) / 9)] for i in range(10)]
    return sheet([enlarged(to_image(x[digit])) for digit in range(10) for x in chosen], columns=10)


def enlarged(picture: Image.Image) -> Image.Image:
    """Eight times the size, smoothly: eight pixels across are hard to read as squares."""
    return picture.resize((64, 64), Image.Resampling.BICUBIC)


def read_digits(system: System) -> tuple[float, float]:
    """The share of a thousand drawn digits that is read as asked; and of real digits held out from the reader."""
    real = prepare(open_source("digits"))
    pixels = torch.from_numpy(real.stored) / 127.5 - 1
    labels = real.labels
    assert labels is not None
    held_out = torch.arange(len(pixels)) % 5 == 0
    half = support_vectors(pixels[~held_out], labels[~held_out.numpy()])
    on_real = agreement(half, pixels[held_out], labels[held_out.numpy()])
    drawn = system.generate(DIGITS, seeds=range(1000, 1100))
    asked = torch.arange(10).repeat_interleave(100).numpy()
    return agreement(support_vectors(pixels, labels), drawn.data, asked), on_real


if __name__ == "__main__":
    main()
