"""Single files of Stable Diffusion 1, 2 and XL, its refiner, and their forms that paint within a picture: weights in
the original layout, as a checkpoint.

Which of them it is, the widths say; how the networks are built, the configurations that were published. A file of other
sizes is opened by a `config`: a folder in the layout of diffusers, of which all but the weights is read.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sfumato import files
from sfumato.condition.clip_file import Place, layout
from sfumato.condition.clip_source import TOWERS
from sfumato.errors import DataError, FormatError, InputError, nearest, quoted
from sfumato.interop.diffusers import folder
from sfumato.interop.diffusers.folder import Checkpoint, Component
from sfumato.interop.diffusers.networks.unet_options import Condition
from sfumato.interop.options import options
from sfumato.interop.single_file import layout as original
from sfumato.keys import Entry, renamed, some
from sfumato.store import Weights

UNET, AUTOENCODER = "model.diffusion_model.", "first_stage_model."
IDLE = (
    "model_ema.",
    "loss.",
    "denoiser.",
    "embedding_manager.",
    "first_stage_model.loss.",
    "first_stage_model.model_ema.",
)
"""What training leaves behind, beside its tables, whose names have no dot."""
IDLE_CLIP = re.compile(
    r"(cond_stage_model|conditioner\.embedders\.\d+)\.([\w.]+\.)?(logit_scale|text_projection(\.weight)?|position_ids)"
)
"""What is left of a CLIP beside the text encoder that is read, by the names that several tools give it."""
OTHERS = {"edm_mean": "a model of EDM's parameterization", "edm_vpred.sigma_max": "a model of EDM's schedule"}
"""Marks of models that no configuration here describes."""

PREDICTIONS = {
    "eps": "epsilon",
    "epsilon": "epsilon",
    "v": "v_prediction",
    "v_prediction": "v_prediction",
}
"""What a network gives, in our words, those of diffusers, and those of headers (modelspec.prediction_type)."""
BASE = 875_000
"""The steps after which Stable Diffusion 2 was published as a model of eps, and went on as one of v."""


# What was published ---------------------------------------------------------------------------------------------------

BETAS: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
PNDM = {"_class_name": "PNDMScheduler", "skip_prk_steps": True, "set_alpha_to_one": False, **BETAS}
DDIM = {"_class_name": "DDIMScheduler", "clip_sample": False, "set_alpha_to_one": False, **BETAS}
EULER = {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "leading", **BETAS}
XL: dict[str, Any] = {
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "sample_size": 128,
}
VAE: dict[str, Any] = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
}


@dataclass(frozen=True)
class Family:
    """How a family was published, as diffusers' configurations say it."""

    pipeline: str
    scheduler: Mapping[str, Any]
    unet: Mapping[str, Any]
    scale: float = 0.18215
    """The scaling_factor of its latents."""


FAMILIES = {
    768: Family("StableDiffusionPipeline", PNDM, {"sample_size": 64, "attention_head_dim": 8}),
    1024: Family(
        "StableDiffusionPipeline",
        DDIM,
        {"sample_size": 64, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True},
    ),
    2048: Family(
        "StableDiffusionXLPipeline",
        EULER,
        {
            "block_out_channels": [320, 640, 1280],
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
            "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
            "transformer_layers_per_block": [1, 2, 10],
            "attention_head_dim": [5, 10, 20],
            "projection_class_embeddings_input_dim": 2816,
            **XL,
        },
        0.13025,
    ),
    1280: Family(
        "StableDiffusionXLImg2ImgPipeline",
        EULER,
        {
            "block_out_channels": [384, 768, 1536, 1536],
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
            "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
            "transformer_layers_per_block": 4,
            "attention_head_dim": [6, 12, 24, 24],
            "projection_class_embeddings_input_dim": 2560,
            **XL,
        },
        0.13025,
    ),
}
"""Stable Diffusion 1, 2, XL and its refiner, by the width of the tokens that they are told by."""
LARGER = 96
"""The side of a sample of Stable Diffusion 2 that gives v, in latents."""


# Reading --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Part(Component):
    """A component whose weights are those in `file` whose names begin with `prefix`; after it comes what `rename` makes
    of diffusers' name."""

    file: Weights
    prefix: str
    rename: Callable[[str], str] = lambda name: name

    def weights(self) -> Weights:
        return self.file

    def entries(self, entries: list[Entry]) -> list[Entry]:
        return renamed(entries, lambda name: self.prefix + self.rename(name))

    def ignored(self, key: str) -> bool:
        return not key.startswith(self.prefix) or key.startswith(IDLE)


def read(where: str | Path, config: str | Path | None = None, prediction: str | None = None) -> Checkpoint:
    """The checkpoint in the file `where`; of its weights only names and shapes are read yet.

    `config` is a folder in the layout of diffusers, for files of sizes that were not published. `prediction` is what
    the network gives, "eps" or "v". Where it is not told, the file's header (modelspec.prediction_type) or the folder
    says so; a file that says nothing gives v if it is Stable Diffusion 2, unless it stopped at the steps of its base or
    paints within a picture, and eps otherwise.

    Raises `DataError` where there is no such file or folder, and `FormatError` for what is damaged or not known here.
    """
    path = Path(where).absolute()
    if not path.is_file():
        raise DataError(f"there is no file {where}; give one of Stable Diffusion, or a folder")
    if prediction not in (None, *PREDICTIONS):
        raise InputError(f"prediction is what the network gives: {', '.join(PREDICTIONS)}, not {quoted(prediction)}")
    if config is not None and not Path(config).is_dir():
        raise DataError(f"config should be a folder in the layout of diffusers, and {config} is none")
    file = Weights([path])
    _check_kind(file, path)
    family, places = layout(file, str(path))
    _check_names(file, (UNET, AUTOENCODER, *(place.prefix for place in places)), path)
    towers = dict(zip(TOWERS[family], places, strict=True))
    told = folder.read(config) if config is not None else None
    gives = _prediction(file, path, prediction, told)
    found = told or _published(file, path, towers, gives)
    parts = {name: _part(one, file, path, towers, gives) for name, one in found.components.items()}
    beside = str(Path(config).absolute()) if config is not None else ""
    return replace(found, where=str(where), folder=path, components=parts, config=beside)


def _check_kind(file: Weights, path: Path) -> None:
    """Raise a `FormatError` unless a network of Stable Diffusion is in the file."""
    if not any(name.startswith(f"{UNET}input_blocks.") for name in file):
        raise FormatError(
            f"{path} holds {some(sorted(file)) or 'nothing'}, and no '{UNET}input_blocks…': it is no Stable Diffusion"
            " in the original layout; what diffusers saved is opened by its folder"
        )
    for mark, what in OTHERS.items():
        if mark in file:
            raise FormatError(f"{path} holds '{mark}': it is {what}, which is not read from a single file here")


def _check_names(file: Weights, prefixes: tuple[str, ...], path: Path) -> None:
    """Raise a `FormatError` for weights that belong to no component and are not left over from training."""
    known = (*prefixes, *IDLE)
    if odd := sorted(n for n in file if "." in n and not n.startswith(known) and not IDLE_CLIP.fullmatch(n)):
        raise FormatError(f"{path} holds {some(odd)}, which no Stable Diffusion has")


def _part(component: Component, file: Weights, path: Path, towers: Mapping[str, Place], gives: str) -> Component:
    """The component with its weights in the file."""
    name, kind, config = component.name, component.kind, component.config
    if name == "scheduler":
        return replace(component, config={**config, "prediction_type": gives})
    if name == "unet":
        said = options(Condition, config, f"{path} (its U-Net)")
        blocks = said.layers_per_block if isinstance(said.layers_per_block, int) else said.layers_per_block[0]
        attended = tuple(up.startswith("CrossAttn") for up in said.up_block_types)
        return Part(
            name, kind, path, config, file=file, prefix=UNET, rename=lambda key: original.unet(key, blocks, attended)
        )
    if name == "vae":
        levels = len(config.get("block_out_channels", [0]))
        return Part(
            name,
            kind,
            path,
            config,
            file=file,
            prefix=AUTOENCODER,
            rename=lambda key: original.autoencoder(key, levels),
        )
    return Part(name, kind, path, config, file=file, prefix=towers[name].prefix) if name in towers else component


def _published(file: Weights, path: Path, towers: Mapping[str, Place], gives: str) -> Checkpoint:
    """The components as they were published."""
    width, channels = _width(file), _channels(file)
    if width not in FAMILIES:
        known = ", ".join(map(str, sorted(FAMILIES)))
        raise FormatError(
            f"{path} is told by tokens of width {width}, and those of Stable Diffusion are of {known}: give config, a"
            " folder in the layout of diffusers that describes it"
        )
    family = FAMILIES[width]
    pipeline = family.pipeline
    if channels == 9:
        pipeline = pipeline.replace("Img2Img", "").replace("Pipeline", "InpaintPipeline")
    unet = {"cross_attention_dim": width, "in_channels": channels, **family.unet}
    if width == 1024 and gives == "v_prediction":
        unet["sample_size"] = LARGER
    scheduler = dict(family.scheduler)
    kind = scheduler.pop("_class_name")
    if "ztsnr" in file:  # an empty tensor that says that the schedule ends in pure noise
        scheduler["rescale_betas_zero_snr"] = True
    components = {
        "vae": Component("vae", "AutoencoderKL", path, {**VAE, "scaling_factor": family.scale}),
        "unet": Component("unet", "UNet2DConditionModel", path, unet),
        "scheduler": Component("scheduler", kind, path, scheduler),
    }
    components |= {
        name: Component(name, place.config["architectures"][0], path, place.config) for name, place in towers.items()
    }
    return Checkpoint(str(path), path, pipeline, components, {})


def _width(file: Weights) -> int:
    """The width of the tokens that the network attends to."""
    for name, (_, shape) in file.shapes.items():
        if name.startswith(UNET) and name.endswith(".attn2.to_k.weight") and len(shape) == 2:
            return shape[1]
    return 0


def _channels(file: Weights) -> int:
    """How many channels the network sees."""
    _, shape = file.shapes.get(f"{UNET}input_blocks.0.0.weight", ("", []))
    return shape[1] if len(shape) == 4 else 4


def _prediction(file: Weights, path: Path, told: str | None, config: Checkpoint | None) -> str:
    """What the network gives, in diffusers' words: as it was told, as the header says, or as a folder or the weights
    let one guess."""
    said = told or files.read_header(path).get("__metadata__", {}).get("modelspec.prediction_type")
    if said is not None:
        if said not in PREDICTIONS:
            raise FormatError(f"{path}: the network gives {quoted(said)}; {nearest(said, PREDICTIONS)}")
        return PREDICTIONS[said]
    if config is not None:
        return config.component("scheduler").config.get("prediction_type", "epsilon")
    if "v_pred" in file:  # an empty tensor that says so
        return "v_prediction"
    second = _width(file) == 1024 and _channels(file) == 4
    return "v_prediction" if second and _steps(file) != BASE else "epsilon"


def _steps(file: Weights) -> int | None:
    """The steps of training that a file remembers."""
    return int(file["global_step"]) if file.shapes.get("global_step") == ("I64", []) else None
