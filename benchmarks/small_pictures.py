"""Sfumato beside denoising-diffusion-pytorch, each at its defaults, for the same minutes on the same small pictures.

Sfumato: `sfumato train PICTURES --minutes M`. The other, by the Python of an environment that it is installed in: the
U-Net (dim 64, multipliers 1, 2, 4, 8), the diffusion and the loop of its README, on the pictures without their classes,
stopped at the minute; what it draws with is the average of its weights. Both are then asked for as many pictures, by
DDIM in 25 steps there and as it comes here, and these are compared with all that were trained on: Fréchet distance in
the features of a MobileNet. With few pictures it is biased upwards, for both alike.

    python benchmarks/small_pictures.py PICTURES --peer ENV/bin/python --features MOBILENET.npz
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sfumato import load, machine, train
from sfumato.data import open_source, prepare
from sfumato.evaluate import features, frechet
from sfumato.nn import MobileNet
from sfumato.system import System

PEER = """
import sys, time, torch
from denoising_diffusion_pytorch import GaussianDiffusion, Trainer, Unet
folder, out, side, minutes, n = sys.argv[1], sys.argv[2], *map(float, sys.argv[3:])
model = Unet(dim=64, dim_mults=(1, 2, 4, 8))
diffusion = GaussianDiffusion(model, image_size=int(side), timesteps=1000, sampling_timesteps=25)
loop = Trainer(diffusion, folder, train_batch_size=32, train_lr=8e-5, train_num_steps=10**9,
               gradient_accumulate_every=2, ema_decay=0.995, save_and_sample_every=10**9, calculate_fid=False,
               results_folder=out + "/results")
update, end = loop.ema.update, time.monotonic() + 60 * minutes
def timed():
    update()
    if time.monotonic() > end:
        raise TimeoutError
loop.ema.update = timed
try:
    loop.train()
except TimeoutError:
    pass
loop.ema.ema_model.eval()
with torch.inference_mode():
    drawn = torch.cat([loop.ema.ema_model.sample(batch_size=50) for _ in range(int(n) // 50)])
torch.save(drawn.mul(2).sub(1).cpu(), out + "/drawn.pt")
print((loop.step + 1) * 64)
"""


def main(arguments: Sequence[str] | None = None) -> None:
    given = options().parse_args(arguments)
    dataset = prepare(open_source(given.pictures), size=(given.side, given.side), channels=3)
    network = MobileNet.read(given.features).eval()
    real = torch.cat([features(part, network) for part in _floats(dataset.stored[:]).split(256)])
    print(f"{len(dataset):,} pictures of {given.side}×{given.side}, {given.minutes:g} minutes each, {given.n} drawn")
    print(f"{machine.name(torch.device('cpu'))}, torch {torch.__version__}\n")
    print("| | pictures seen | Fréchet distance |\n| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for name, side in (("Sfumato", ours), ("denoising-diffusion-pytorch", theirs)):
            seen, drawn = side(given, Path(folder))
            print(f"| {name} | {seen:,} | {frechet(features(drawn, network), real):.0f} |", flush=True)


def ours(given: argparse.Namespace, folder: Path) -> tuple[int, Tensor]:
    """How many pictures were trained on, and n drawn, of all classes alike."""
    train(given.pictures, out=folder / "run", minutes=given.minutes)
    system = load(folder / "run")
    assert isinstance(system, System)
    prompts = [*getattr(system.conditioner, "classes", ())] or [None]
    samples = system.generate(prompts, seeds=range(given.n // len(prompts)))
    pictures = np.stack([np.asarray(picture.convert("RGB")) for picture in samples.images()])
    return system.about["pictures seen"], _floats(pictures.transpose(0, 3, 1, 2))


def theirs(given: argparse.Namespace, folder: Path) -> tuple[int, Tensor]:
    """The same of the other, by its own Python."""
    numbers = [str(number) for number in (given.side, given.minutes, given.n)]
    asked = [given.peer, "-c", PEER, given.pictures, str(folder), *numbers]
    done = subprocess.run(asked, stdout=subprocess.PIPE, stderr=sys.stderr, text=True, check=True)
    return int(done.stdout.split()[-1]), torch.load(folder / "drawn.pt", weights_only=True)


def _floats(pictures: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(pictures)).float() / 127.5 - 1


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("pictures", help="a folder of pictures, all of one square size")
    parser.add_argument("--peer", required=True, help="the Python that has denoising-diffusion-pytorch")
    parser.add_argument("--features", required=True, type=Path, help="the .npz of a MobileNet")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("-n", type=int, default=200)
    return parser


if __name__ == "__main__":
    main()
