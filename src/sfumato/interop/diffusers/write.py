"""From a System to a folder of diffusers."""

import copy
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sfumato import disk, files
from sfumato.codec import Latent
from sfumato.condition import ClipText, Labels, Nothing
from sfumato.condition.clip import checkpoint as clip
from sfumato.condition.clip.text import TOWERS
from sfumato.condition.clip.tokenizer import FILES, ClipTokenizer
from sfumato.errors import InputError
from sfumato.interop.diffusers.folder import INDEX
from sfumato.interop.diffusers.networks.autoencoder import autoencoder_entries, write_autoencoder_config
from sfumato.interop.diffusers.networks.dit import dit_entries, write_dit_config
from sfumato.interop.diffusers.networks.unet import unet_entries, write_unet_config
from sfumato.interop.diffusers.schedulers.nearest import TEXT, nearest_scheduler
from sfumato.interop.diffusers.shards import write_weights
from sfumato.keys import Entry
from sfumato.nn.image.autoencoder import KLAutoencoder, VQAutoencoder
from sfumato.nn.image.dit import DiT
from sfumato.nn.image.unet import UNet
from sfumato.parts import NETWORKS
from sfumato.system import System
from sfumato.system.file import SHARD

_PIPELINES = {
    ("sd", False): "StableDiffusionPipeline",
    ("sd", True): "StableDiffusionInpaintPipeline",
    ("sdxl", False): "StableDiffusionXLPipeline",
    ("sdxl", True): "StableDiffusionXLInpaintPipeline",
    ("sdxl-refiner", False): "StableDiffusionXLImg2ImgPipeline",
}
"""Their pipeline for each family of text encoders, without and with a picture to paint within."""
_KNOWN = "UNet and Nothing, in pixels or latents; UNet and ClipText, in latents; DiT and Labels, in latents"
_VERSION = "0.30.0"
"""Of diffusers, from which on the folder can be opened: some pipelines ask."""
_NO_CLASS = 1000
"""The number that DiTPipeline gives for no class, whatever the network."""


@dataclass(frozen=True)
class PlannedComponent:
    """A component: the library and class that read it, the files of its configuration, and its weights, as a module
    and their names there, or other files, as they are."""

    library: str
    kind: str
    config: Mapping[str, Any] | None = None
    module: nn.Module | None = None
    entries: Sequence[Entry] = ()
    copied: Sequence[Path] = ()

    def write(self, folder: Path, dtype: torch.dtype, shard: int) -> None:
        if self.config is not None:
            name = "scheduler_config.json" if "Scheduler" in self.kind else "config.json"
            files.write_json(folder / name, self.config)
        if self.module is not None:
            stem = "model" if self.library == "transformers" else "diffusion_pytorch_model"
            write_weights(folder, stem, self.module, self.entries, dtype, shard)
        for path in self.copied:
            folder.mkdir(exist_ok=True)
            shutil.copyfile(path, folder / path.name)


@dataclass(frozen=True)
class CheckpointPlan:
    """The contents of a folder: the class of the pipeline, its components, options beside them, and notes for whoever
    draws there."""

    pipeline: str
    parts: Mapping[str, PlannedComponent]
    options: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def write_checkpoint(system: System, out: str | Path, shard: int = SHARD) -> tuple[str, ...]:
    """Write the system to the folder `out`, which is new or empty, as a checkpoint of diffusers with weights in files
    of at most `shard` bytes. It appears whole or not at all.

    Returns the differences there, in sentences. Raises `InputError` for a system that diffusers has no equal of,
    before anything is written, and `StorageError` where there is no space.
    """
    made = plan_writing(system)
    dtype = next(system.denoiser.network.parameters()).dtype
    index: dict[str, Any] = {"_class_name": made.pipeline, "_diffusers_version": _VERSION, **made.options}
    with disk.replacing_folder(Path(out)) as folder:
        for name, part in made.parts.items():
            part.write(folder / name, dtype, shard)
            index[name] = [part.library, part.kind]
        files.write_json(folder / INDEX, index)
    return made.notes


def plan_writing(system: System) -> CheckpointPlan:
    """The contents of the system's folder. Raises `InputError` as `write_checkpoint` does."""
    pipeline = _pipeline(system)
    scheduler = nearest_scheduler(system, pipeline)
    kind = scheduler.config["_class_name"]
    if pipeline == "DDPMPipeline" and kind == "DDIMScheduler":
        pipeline = "DDIMPipeline"
    parts, options, notes = _network(system)
    parts |= {"scheduler": PlannedComponent("diffusers", kind, scheduler.config)} | _codec(system)
    if isinstance(system.conditioner, ClipText):
        parts |= _texts(system.conditioner)
        options |= _absent(system.conditioner)
    differences = (scheduler.difference, *notes, _call(system, pipeline))
    return CheckpointPlan(pipeline, parts, options, tuple(note for note in differences if note))


def _pipeline(system: System) -> str:
    """The class of the pipeline; DDPM's stands for DDIM's as well."""
    network, codec, conditioner = system.denoiser.network, system.codec, system.conditioner
    latent, name = isinstance(codec, Latent), None
    if isinstance(network, UNet) and isinstance(conditioner, ClipText) and latent:
        name = _PIPELINES.get((conditioner.family, bool(network.concat)))
    elif isinstance(network, UNet) and isinstance(conditioner, Nothing) and not network.concat:
        name = "LDMPipeline" if latent else "DDPMPipeline"
    elif isinstance(network, DiT) and isinstance(conditioner, Labels) and latent:
        name = "DiTPipeline"
    if name is None:
        beside = " and a picture beside" if getattr(network, "concat", 0) else ""
        raise InputError(
            f"diffusers has no pipeline with a {type(network).__name__} conditioned by"
            f" {type(conditioner).__name__}{beside},"
            f" in {'latents' if latent else 'pixels'}; it has them for {_KNOWN}"
        )
    if name not in ("DDPMPipeline", "DiTPipeline") and network.out_channels != codec.channels:
        raise InputError(f"{name} of diffusers has no network that gives a variance, and this one does")
    if isinstance(codec, Latent) and isinstance(codec.network, VQAutoencoder) and name != "LDMPipeline":
        raise InputError(f"{name} of diffusers has no VQAutoencoder: known is a KLAutoencoder")
    return name


def _call(system: System, pipeline: str) -> str:
    """Arguments that a folder of diffusers has no place for, and with which one draws there."""
    settings = system.settings
    call = f"diffusers keeps no settings: draw there with num_inference_steps={settings.steps}"
    if isinstance(system.conditioner, Nothing):
        return call
    call += f", guidance_scale={settings.guidance:g}"
    if settings.rescale and pipeline.startswith(TEXT):
        call += f", guidance_rescale={settings.rescale:g}"
    return call + ("; it guides everywhere, not between two sigma/alpha" if settings.interval else "")


# Components -----------------------------------------------------------------------------------------------------------


def _network(system: System) -> tuple[dict[str, PlannedComponent], dict[str, Any], list[str]]:
    """The network, the options beside the components, and the differences."""
    network, conditioner = system.denoiser.network, system.conditioner
    size = _sample_size(system)
    if isinstance(network, UNet):
        if (
            system.codec.channels != system.codec.medium.channels
            and isinstance(conditioner, Nothing)
            and size[0] != size[1]
        ):
            raise InputError(f"LDMPipeline of diffusers draws squares, and this system draws {system.settings.size}")
        side = size[0] if size[0] == size[1] else size
        frequency_width = conditioner.frequency_width if isinstance(conditioner, ClipText) else 256
        config = write_unet_config(network, side, frequency_width)
        return (
            {"unet": PlannedComponent("diffusers", config["_class_name"], config, network, unet_entries(network))},
            {},
            [],
        )
    assert isinstance(network, DiT) and isinstance(conditioner, Labels)
    config, notes = write_dit_config(network), []
    if size != (config["sample_size"],) * 2:
        notes.append(f"DiTPipeline draws samples of {config['sample_size']}×{config['sample_size']} alone")
    count = len(conditioner.classes)
    if conditioner.dropout and count < _NO_CLASS:
        network = _with_classes(network, _NO_CLASS)
        config = write_dit_config(network)
        notes.append(f"DiTPipeline gives {_NO_CLASS} for no class: those from {count} on are there, and mean none too")
    elif conditioner.dropout and count > _NO_CLASS:
        notes.append(f"DiTPipeline gives {_NO_CLASS} for no class, and here that is one: draw with guidance_scale=1")
    labels = {str(number): name for number, name in enumerate(conditioner.classes) if name != str(number)}
    part = PlannedComponent("diffusers", config["_class_name"], config, network, dit_entries(network))
    return {"transformer": part}, {"id2label": labels}, notes


def _sample_size(system: System) -> tuple[int, int]:
    """The height and width of the samples behind pictures of the system's own size."""
    _, height, width = system.codec.shape(system.settings.size)
    return height, width


def _with_classes(network: DiT, count: int) -> DiT:
    """The same network with more classes, which all mean none."""
    with torch.device("meta"):
        wider = NETWORKS.load({**NETWORKS.dump(network), "vector": count})
    state = network.state_dict()
    known, none = state["project.weight"].split([network.vector, 1], dim=1)
    state["project.weight"] = torch.cat([known, none.expand(-1, count - network.vector + 1)], dim=1)
    wider.load_state_dict(state, assign=True)
    return wider


def _codec(system: System) -> dict[str, PlannedComponent]:
    if not isinstance(system.codec, Latent):
        return {}
    codec = _scaled_alone(system.codec)
    name = "vqvae" if isinstance(system.conditioner, Nothing) else "vae"
    config = write_autoencoder_config(codec, max(system.settings.size))
    return {name: PlannedComponent("diffusers", config["_class_name"], config, codec, autoencoder_entries(codec))}


def _scaled_alone(codec: Latent) -> Latent:
    """The same codec without a shift and with one scale, as most of their pipelines want it: what differs by channel
    goes into the linear layers on both sides of the latents.

    With the scale s and shift m of a channel of the latents, `(z − m)·s` takes the place of z: its mean is shifted
    and scaled likewise, the logarithm of its variance grows by 2·log s, and the layer after latents takes `z/s + m`.
    """
    if not any(codec.shift) and len(set(codec.scale)) == 1:
        return Latent(codec.network, scale=codec.scale[:1])
    network = codec.network
    if not (isinstance(network, KLAutoencoder) and network.quant and network.post_quant):
        raise InputError(
            "diffusers has one scale for all channels of latents and no shift, unless a KLAutoencoder has linear layers"
            " to take them up: quant and post_quant"
        )
    network = copy.deepcopy(network)
    m, s = (torch.tensor(values).double().expand(network.latent) for values in (codec.shift, codec.scale))
    state = network.state_dict()
    weight, bias = (state[f"to_moments.{name}"].double() for name in ("weight", "bias"))
    state["to_moments.weight"].copy_(torch.cat([weight[: len(s)] * s[:, None, None, None], weight[len(s) :]]))
    state["to_moments.bias"].copy_(torch.cat([(bias[: len(s)] - m) * s, bias[len(s) :] + 2 * s.log()]))
    weight, bias = (state[f"from_latent.{name}"].double() for name in ("weight", "bias"))
    state["from_latent.weight"].copy_(weight / s[:, None, None])
    state["from_latent.bias"].copy_(bias + weight[:, :, 0, 0] @ m)
    return Latent(network)


def _texts(conditioner: ClipText) -> dict[str, PlannedComponent]:
    """The text encoders and their tokenizers."""
    parts: dict[str, PlannedComponent] = {}
    encoders = zip(TOWERS[conditioner.family], conditioner.towers, conditioner.tokenizers, strict=True)
    for name, tower, tokenizer in encoders:
        if ClipTokenizer(tokenizer.folder).pad != tokenizer.pad:
            raise InputError(
                f"texts are padded with another token than the tokenizer in {tokenizer.folder} has, which is what"
                " would be copied: open the system with a folder of diffusers for its configuration"
            )
        config = clip.write_config(tower)
        parts[name] = PlannedComponent(
            "transformers", config["architectures"][0], config, tower, clip.clip_entries(tower)
        )
        copied = [tokenizer.folder / file for file in FILES if (tokenizer.folder / file).is_file()]
        parts[name.replace("text_encoder", "tokenizer")] = PlannedComponent(
            "transformers", "CLIPTokenizer", copied=copied
        )
    return parts


def _absent(conditioner: ClipText) -> dict[str, Any]:
    """What pipelines that read prompts may have and these do not, and what else they ask for."""
    none = [None, None]
    if conditioner.family == "sd":
        return {"safety_checker": none, "feature_extractor": none, "requires_safety_checker": False}
    options = {"force_zeros_for_empty_prompt": conditioner.zeros, "add_watermarker": False}
    if conditioner.family == "sdxl":
        return options
    return {**options, "requires_aesthetics_score": True, "text_encoder": none, "tokenizer": none}
