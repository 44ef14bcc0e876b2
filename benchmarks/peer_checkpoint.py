"""Writes a checkpoint of Stable Diffusion 1.5's shape with random weights, by diffusers' own classes.

Component by component, so that memory never holds more than the largest: 3.4 GB of 4.3 in full size. `model_index.json`
comes last: a folder that has one is whole.
"""

import argparse
import gzip
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_pndm import PNDMScheduler
from tokenizers import pre_tokenizers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from sfumato.files import write_json

BYTES = {False: 4.3e9, True: 20e6}
"""How large it is on the disk: in full size, and tiny."""
MERGES = 49152 - 256 - 2
"""How many of the published merges CLIP uses."""
START, END = "<|startoftext|>", "<|endoftext|>"
SCHEDULE: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.6.0",
    "feature_extractor": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def write(folder: Path, tiny: bool = False, merges: Path | None = None) -> None:
    """Write the checkpoint to `folder`; `merges` is CLIP's list of them, gzipped, or None for a made-up tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(folder).free) < BYTES[tiny]:
        sys.exit(f"error: {folder} has space for {free / 1e9:.1f} GB, and {BYTES[tiny] / 1e9:.1f} GB are needed")
    words = tokenizer(folder / "tokenizer", merges)
    parts: dict[str, Callable[[], Any]] = {
        "unet": lambda: unet(tiny),
        "vae": lambda: autoencoder(tiny),
        "text_encoder": lambda: text_encoder(tiny, words),
        "scheduler": lambda: PNDMScheduler(skip_prk_steps=True, steps_offset=1, **SCHEDULE),
    }
    for seed, (name, build) in enumerate(parts.items()):
        torch.manual_seed(seed)
        build().save_pretrained(folder / name)  # and is let go before the next
    write_json(folder / "model_index.json", INDEX)


def unet(tiny: bool) -> UNet2DConditionModel:
    """859.5 million numbers, or 1.3."""
    if tiny:
        return UNet2DConditionModel(
            64,
            cross_attention_dim=32,
            attention_head_dim=2,
            block_out_channels=(16, 32, 32, 32),
            layers_per_block=1,
            norm_num_groups=8,
        )
    return UNet2DConditionModel(64, cross_attention_dim=768)


def autoencoder(tiny: bool) -> AutoencoderKL:
    """83.7 million numbers, or 0.2."""
    settings: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "block_out_channels": (8, 16, 16, 16) if tiny else (128, 256, 512, 512),
        "layers_per_block": 1 if tiny else 2,
        "norm_num_groups": 8 if tiny else 32,
        "sample_size": 512,
    }
    return AutoencoderKL(**settings)


def text_encoder(tiny: bool, words: int) -> CLIPTextModel:
    """123 million numbers, or mostly the table of `words`."""
    width, layers, heads = (32, 2, 2) if tiny else (768, 12, 12)
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=words,
            hidden_size=width,
            intermediate_size=4 * width,
            projection_dim=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            bos_token_id=words - 2,
            eos_token_id=words - 1,
            pad_token_id=words - 1,
        )
    )


def tokenizer(folder: Path, merges: Path | None) -> int:
    """Write CLIP's tokenizer, or one of letters and a word; how many pieces it knows."""
    pairs = ["c a", "ca t</w>"]
    if merges is not None:
        pairs = gzip.decompress(merges.read_bytes()).decode().split("\n")[1 : MERGES + 1]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())  # by code point, which is their order there
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), *(pair.replace(" ", "") for pair in pairs)]
    pieces += [START, END]
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "vocab.json", {piece: number for number, piece in enumerate(pieces)})
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(pairs) + "\n", "utf-8")
    made = CLIPTokenizer.from_pretrained(folder, model_max_length=77, pad_token=END)
    made.save_pretrained(folder)
    config = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    write_json(folder / "tokenizer_config.json", {**config, "tokenizer_class": "CLIPTokenizer"})
    return len(pieces)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path)
    options.add_argument("--tiny", action="store_true", help="one that is made and drawn from in seconds")
    options.add_argument("--merges", type=Path, help="CLIP's bpe_simple_vocab_16e6.txt.gz; a made-up one without")
    given = options.parse_args()
    write(given.folder, given.tiny, given.merges)
