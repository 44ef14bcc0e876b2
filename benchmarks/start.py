"""From an empty process to saved pictures: a system by `sfumato generate`, beside a pipeline of diffusers.

The other side is a StableDiffusionPipeline about as large as the system `emoji`, with random weights: a U-Net of 96 and
192 channels on 16×16 latents, a text encoder of 6 layers of 384, a decoder to 128×128, each from diffusers' and
transformers' own classes. It is written once. Each side draws by its own defaults, in a process of its
own, timed from outside, imports included; the two take turns, and a figure is the median of the rounds after the first,
which fills the page cache.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from peer_checkpoint import INDEX, SCHEDULE, tokenizer
from peers import CACHE, MERGES, SIDES, table
from report import place, put, stages

from sfumato import load
from sfumato.files import write_json

MARK = "<!-- the rest is written by benchmarks/start.py -->"
PROMPT = "a cat in a hat, 3D style"
THEIRS = """
import sys
from diffusers import StableDiffusionPipeline
folder, prompt, number, out = sys.argv[1:]
pipe = StableDiffusionPipeline.from_pretrained(folder)
for nth, image in enumerate(pipe(prompt, num_images_per_prompt=int(number)).images):
    image.save(f"{out}/{nth}.png")
"""
Row = tuple[str, str, str, str]


def main() -> None:
    given = options().parse_args()
    folder = CACHE / "emoji-shaped"
    if not (folder / "model_index.json").is_file():
        print(f"writing a checkpoint to {folder}", file=sys.stderr)
        write(folder, given.merges if given.merges.is_file() else None)
    system = load(given.model)
    own, drawn = stages(system), [stage.settings for stage in stages(system)]
    about = [
        ("parameters of the networks, M", " + ".join(million(one.denoiser.network) for one in own), theirs(folder), ""),
        ("steps", " + ".join(str(one.steps) for one in drawn), "50", ""),
        ("guidance", ", ".join(f"{one.guidance:g}" for one in drawn), "7.5", ""),
    ]
    heads = "empty process → saved pictures, s", *SIDES, "diffusers ÷ Sfumato"
    head, rows, report = f"{place(system.device)}; rounds: {given.rounds}.", list[Row](), ""
    for number in given.numbers:
        rows.append(row(number, given.model, folder, given.rounds))
        print(*rows[-1], file=sys.stderr)
        report = f"{head}\n\n{table([*rows, *about], heads)}"
        put(given.markdown, MARK, report)
    print(report)


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="emoji", help="a system that ships, or a run that its recipe trained")
    parser.add_argument("--numbers", type=int, nargs="+", default=[1, 4], help="how many pictures a process draws")
    parser.add_argument("--rounds", type=int, default=5, help="turns that each side takes, after one that is left out")
    parser.add_argument("--merges", type=Path, default=MERGES, help="CLIP's list of merges, gzipped, if there is one")
    parser.add_argument("--markdown", type=Path, help=f"also write the table to this file, after its line {MARK}")
    return parser


def row(number: int, model: str, folder: Path, rounds: int) -> Row:
    """What so many pictures take each side."""
    commands = {
        SIDES[0]: lambda out: ["-m", "sfumato", "generate", PROMPT, "-m", model, "-n", str(number), "--out", out],
        SIDES[1]: lambda out: ["-c", THEIRS, str(folder), PROMPT, str(number), out],
    }
    took: dict[str, list[float]] = {side: [] for side in SIDES}
    for nth in range(rounds + 1):
        for side in SIDES if nth % 2 == 0 else SIDES[::-1]:
            with tempfile.TemporaryDirectory() as out:
                took[side].append(seconds([sys.executable, *commands[side](out)]))
                if (found := len(list(Path(out).glob("*.png")))) != number:
                    sys.exit(f"error: {side} saved {found} pictures of {number}")
    ours, theirs = (median(took[side][1:] or took[side]) for side in SIDES)
    return f"{number} of 128×128", f"{ours:.2f}", f"{theirs:.2f}", f"{theirs / ours:.2f}"


def seconds(command: list[str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: {command} failed:\n{done.stderr[-2000:]}")
    return time.perf_counter() - began


# The other side -------------------------------------------------------------------------------------------------------


def write(folder: Path, merges: Path | None) -> None:
    """The pipeline with random weights; `model_index.json` comes last: a folder that has one is whole."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from diffusers.schedulers.scheduling_pndm import PNDMScheduler
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    words = tokenizer(folder / "tokenizer", merges)
    decoder: dict[str, Any] = {
        "block_out_channels": (32, 64, 64, 128),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
    }
    text: dict[str, Any] = {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6}
    parts: dict[str, Any] = {
        "unet": UNet2DConditionModel(
            sample_size=16,
            in_channels=6,
            out_channels=6,
            block_out_channels=(96, 192),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=6,
            cross_attention_dim=384,
        ),
        "vae": AutoencoderKL(latent_channels=6, layers_per_block=1, sample_size=128, **decoder),
        "text_encoder": CLIPTextModel(
            CLIPTextConfig(vocab_size=words, num_attention_heads=12, projection_dim=384, eos_token_id=words - 1, **text)
        ),
        "scheduler": PNDMScheduler(skip_prk_steps=True, steps_offset=1, **SCHEDULE),
    }
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    write_json(folder / "model_index.json", INDEX)


def theirs(folder: Path) -> str:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    return million(UNet2DConditionModel.from_pretrained(folder / "unet"))


def million(module: Any) -> str:
    return f"{sum(weight.numel() for weight in module.parameters()) / 1e6:.1f}"


if __name__ == "__main__":
    main()
