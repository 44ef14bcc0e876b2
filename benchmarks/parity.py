"""By how much pictures drawn here differ from those that diffusers draws from the same checkpoint with the same seeds.

Small checkpoints of every family, with random weights, are made by diffusers' and transformers' own classes, saved, and
opened on both sides, in float32. A figure is the largest absolute difference over two pictures in [0, 1].
"""

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.utils import logging
from rich.progress import track
from torch import Tensor

from sfumato.interop.diffusers.open import open_folder
from sfumato.interop.diffusers.schedulers.table import CLASS_OF_SAMPLER

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "interop"))

import pipelines  # pyright: ignore[reportMissingImports]

MARK = "<!-- the rest is written by benchmarks/parity.py -->"
FAMILIES: dict[str, Callable[[Path], Any]] = {
    "Stable Diffusion 1 (eps)": pipelines.stable_diffusion,
    "Stable Diffusion 2 (v)": pipelines.stable_diffusion_2,
    "Stable Diffusion XL": pipelines.xl,
    "DDPM (pixels)": lambda folder: pipelines.ddpm(),
    "latent diffusion (VQ)": lambda folder: pipelines.latent_unconditional("vq"),
    "latent diffusion (KL)": lambda folder: pipelines.latent_unconditional("kl"),
    "DiT (classes)": lambda folder: pipelines.dit(),
}
SAMPLERS = [kind for kind in CLASS_OF_SAMPLER if kind != "lcm"]
STEPS = 10
PROMPTS = ["a cat", "the cat in a hat"]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--markdown", type=Path, help=f"also write the table to this file, after its line {MARK}")
    given = options.parse_args()
    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    rows = []
    for family, make in track(FAMILIES.items(), "measuring", transient=True):
        with tempfile.TemporaryDirectory() as place:
            rows.append((family, differences(make, Path(place))))
    report = "\n\n".join((f"{STEPS} steps; torch {torch.__version__}, diffusers {diffusers.__version__}.", table(rows)))
    print(report)
    if given.markdown is not None:
        before, mark, _ = given.markdown.read_text(encoding="utf-8").partition(MARK)
        if not mark:
            raise SystemExit(f"{given.markdown} has no line {MARK}")
        given.markdown.write_text(f"{before}{MARK}\n\n{report}\n", encoding="utf-8")


def differences(make: Callable[[Path], Any], place: Path) -> dict[str, float]:
    """The largest difference by each sampler."""
    made = make(place)
    made.save_pretrained(place / "saved")
    pipe = type(made).from_pretrained(place / "saved")
    system = open_folder(place / "saved", "cpu", "float32")
    found = {}
    for sampler in SAMPLERS:
        more = {"skip_prk_steps": True} if sampler == "plms" else {}
        scheduler = getattr(diffusers, CLASS_OF_SAMPLER[sampler]).from_config(pipe.scheduler.config, **more)
        if type(pipe).__name__.startswith("StableDiffusion"):
            theirs, prompts, guidance = draw(type(pipe)(**{**pipe.components, "scheduler": scheduler})), PROMPTS, 4.0
        else:
            theirs, guidance = pipelines.by_hand(pipe, scheduler, STEPS, 7), 1.0
            prompts = [1 if hasattr(pipe, "transformer") else None]
        ours = system.generate(prompts, seeds=[7], sampler=sampler, steps=STEPS, guidance=guidance, size=(16, 16))
        found[sampler] = float((ours.data / 2 + 0.5 - theirs).abs().max())
    return found


def draw(pipe: Any) -> Tensor:
    """Two pictures, [2, c, h, w] in [0, 1]."""
    pipe.set_progress_bar_config(disable=True)
    seeds = [torch.Generator("cpu").manual_seed(7) for _ in range(2)]
    size = {"height": 16, "width": 16}
    return pipe(
        PROMPTS, num_inference_steps=STEPS, guidance_scale=4.0, generator=seeds, output_type="pt", **size
    ).images


def table(rows: list[tuple[str, dict[str, float]]]) -> str:
    head = f"| | {' | '.join(f'`{sampler}`' for sampler in SAMPLERS)} |"
    line = "|---" * (len(SAMPLERS) + 1) + "|"
    body = [
        f"| {family} | {' | '.join(f'{found[s]:.0e}' if s in found else '' for s in SAMPLERS)} |"
        for family, found in rows
    ]
    return "\n".join([head, line, *body])


if __name__ == "__main__":
    main()
