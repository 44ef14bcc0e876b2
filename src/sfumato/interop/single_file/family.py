"""Which family of Stable Diffusion a single file holds, and how that was published, in diffusers' configurations."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfumato import files
from sfumato.condition.clip.single_file import Place
from sfumato.errors import FormatError, nearest, quoted
from sfumato.interop.diffusers.folder import Checkpoint, Component
from sfumato.store import MappedWeights

UNET_PREFIX, AUTOENCODER_PREFIX = "model.diffusion_model.", "first_stage_model."
PREDICTION_NAMES = {
    "eps": "epsilon",
    "epsilon": "epsilon",
    "v": "v_prediction",
    "v_prediction": "v_prediction",
}
"""Names of what a network predicts, ours, diffusers' and those of headers (modelspec.prediction_type), and diffusers'
for each."""
_BASE = 875_000
"""The steps after which Stable Diffusion 2 was published as a model of eps, and went on as one of v."""


_BETAS: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
_PNDM = {"_class_name": "PNDMScheduler", "skip_prk_steps": True, "set_alpha_to_one": False, **_BETAS}
_DDIM = {"_class_name": "DDIMScheduler", "clip_sample": False, "set_alpha_to_one": False, **_BETAS}
_EULER = {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "leading", **_BETAS}
_XL: dict[str, Any] = {
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "sample_size": 128,
}
_VAE: dict[str, Any] = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
}


@dataclass(frozen=True)
class PublishedFamily:
    """How a family was published, as diffusers' configurations say it."""

    pipeline: str
    scheduler: Mapping[str, Any]
    unet: Mapping[str, Any]
    scale: float = 0.18215
    """The scaling_factor of its latents."""


FAMILIES = {
    768: PublishedFamily("StableDiffusionPipeline", _PNDM, {"sample_size": 64, "attention_head_dim": 8}),
    1024: PublishedFamily(
        "StableDiffusionPipeline",
        _DDIM,
        {"sample_size": 64, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True},
    ),
    2048: PublishedFamily(
        "StableDiffusionXLPipeline",
        _EULER,
        {
            "block_out_channels": [320, 640, 1280],
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
            "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
            "transformer_layers_per_block": [1, 2, 10],
            "attention_head_dim": [5, 10, 20],
            "projection_class_embeddings_input_dim": 2816,
            **_XL,
        },
        0.13025,
    ),
    1280: PublishedFamily(
        "StableDiffusionXLImg2ImgPipeline",
        _EULER,
        {
            "block_out_channels": [384, 768, 1536, 1536],
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
            "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
            "transformer_layers_per_block": 4,
            "attention_head_dim": [6, 12, 24, 24],
            "projection_class_embeddings_input_dim": 2560,
            **_XL,
        },
        0.13025,
    ),
}
"""Stable Diffusion 1, 2, XL and its refiner, by the width of the tokens that they attend to."""
_LARGER = 96
"""The side of a sample of Stable Diffusion 2 that gives v, in latents."""


def published(file: MappedWeights, path: Path, towers: Mapping[str, Place], gives: str) -> Checkpoint:
    """The components as they were published."""
    width, channels = _width(file), _channels(file)
    if width not in FAMILIES:
        known = ", ".join(map(str, sorted(FAMILIES)))
        raise FormatError(
            f"{path} attends to tokens of width {width}, and those of Stable Diffusion are of {known}: give config, a"
            " folder in the layout of diffusers that describes it"
        )
    family = FAMILIES[width]
    pipeline = family.pipeline
    if channels == 9:
        pipeline = pipeline.replace("Img2Img", "").replace("Pipeline", "InpaintPipeline")
    unet = {"cross_attention_dim": width, "in_channels": channels, **family.unet}
    if width == 1024 and gives == "v_prediction":
        unet["sample_size"] = _LARGER
    scheduler = dict(family.scheduler)
    kind = scheduler.pop("_class_name")
    if "ztsnr" in file:  # an empty tensor that marks a schedule that ends in pure noise
        scheduler["rescale_betas_zero_snr"] = True
    components = {
        "vae": Component("vae", "AutoencoderKL", path, {**_VAE, "scaling_factor": family.scale}),
        "unet": Component("unet", "UNet2DConditionModel", path, unet),
        "scheduler": Component("scheduler", kind, path, scheduler),
    }
    components |= {
        name: Component(name, place.config["architectures"][0], path, place.config) for name, place in towers.items()
    }
    return Checkpoint(str(path), path, pipeline, components, {})


def _width(file: MappedWeights) -> int:
    """The width of the tokens that the network attends to."""
    for name, (_, shape) in file.shapes.items():
        if name.startswith(UNET_PREFIX) and name.endswith(".attn2.to_k.weight") and len(shape) == 2:
            return shape[1]
    return 0


def _channels(file: MappedWeights) -> int:
    """How many channels the network sees."""
    _, shape = file.shapes.get(f"{UNET_PREFIX}input_blocks.0.0.weight", ("", []))
    return shape[1] if len(shape) == 4 else 4


def prediction_of(file: MappedWeights, path: Path, given: str | None, config: Checkpoint | None) -> str:
    """What the network gives, in diffusers' words: as given, as in the header, or as a folder or the weights let one
    guess."""
    name = given or files.read_header(path).get("__metadata__", {}).get("modelspec.prediction_type")
    if name is not None:
        if name not in PREDICTION_NAMES:
            raise FormatError(f"{path}: the network gives {quoted(name)}; {nearest(name, PREDICTION_NAMES)}")
        return PREDICTION_NAMES[name]
    if config is not None:
        return config.component("scheduler").config.get("prediction_type", "epsilon")
    if "v_pred" in file:  # an empty tensor that marks it
        return "v_prediction"
    second = _width(file) == 1024 and _channels(file) == 4
    return "v_prediction" if second and _steps(file) != _BASE else "epsilon"


def _steps(file: MappedWeights) -> int | None:
    """The steps of training that a file remembers."""
    return int(file["global_step"]) if file.shapes.get("global_step") == ("I64", []) else None
