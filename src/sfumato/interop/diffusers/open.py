"""From a checkpoint of diffusers to a System."""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sfumato import machine
from sfumato.codec import Codec, Identity, Latent
from sfumato.condition import ClipText, Conditioner, Labels, Nothing
from sfumato.condition.clip.source import TOWERS, Family
from sfumato.core.defaults import torch_defaults
from sfumato.core.grid import AYSSpacing
from sfumato.denoise import Denoiser
from sfumato.errors import FormatError, nearest, quoted
from sfumato.interop.diffusers.folder import Checkpoint, Component, is_hub_name, read_folder
from sfumato.interop.diffusers.networks.autoencoder import autoencoder_entries, read_autoencoder_config
from sfumato.interop.diffusers.networks.dit import dit_entries, read_class_names, read_dit_config
from sfumato.interop.diffusers.networks.unet import read_unet_config, sample_size, unet_entries
from sfumato.interop.diffusers.schedulers.config import read_scheduler
from sfumato.interop.diffusers.schedulers.scheduler import Scheduler
from sfumato.interop.diffusers.schedulers.table import CLASS_OF_SAMPLER
from sfumato.keys import Entry, check_state, read_state
from sfumato.lazy import ReadState
from sfumato.media import Image
from sfumato.nn.image.dit import DiT
from sfumato.nn.image.unet import UNet
from sfumato.sample import LCM, DPMSolver, EulerAncestral
from sfumato.system import System
from sfumato.system.settings import Preset, Settings

_NETWORKS: dict[str, tuple[Callable[..., Any], Callable[..., list[Entry]]]] = {
    "UNet2DModel": (read_unet_config, unet_entries),
    "UNet2DConditionModel": (read_unet_config, unet_entries),
    "DiTTransformer2DModel": (read_dit_config, dit_entries),
    "Transformer2DModel": (read_dit_config, dit_entries),
}
"""How the network of each class is read: its configuration, and the names of its weights."""
_GUIDANCE = {"sd": 7.5, "sdxl": 5.0, "sdxl-refiner": 5.0}
_CLASS_GUIDANCE = 4.0
"""Scales of guidance by default in diffusers' pipelines."""
_WEIGHTY = ("unet", "transformer", "vae", "vqvae")
"""Components that have weights, beside the text encoders."""
_STEPS = 10
"""For so many the schedule was published: arXiv:2404.14507."""
_INTERVAL = (0.28, 5.42)
"""Between which sigma/alpha guidance helps: arXiv:2404.07724, section 4, for Stable Diffusion XL."""


def open_folder(where: str | Path, device: str | None = None, precision: str | None = None) -> System:
    """The system in a folder of diffusers, or in the Hub's repository of that name.

    It is drawn from by our own settings, which need fewer steps; whoever asks for a sampler gets the times and the
    bounds that diffusers' scheduler of that name has with this checkpoint, and with the same steps and guidance the
    same pictures.

    Weights are read when they are first needed, and go tensor by tensor to the device and the precision: the best
    there are, unless given. Raises `DataError` where there is no such folder or repository, and `FormatError` for what
    is damaged, or not known here; damage that only the numbers show, and files that changed since, at first use.
    """
    return open_checkpoint(read_folder(where), device, precision)


@torch_defaults()
def open_checkpoint(checkpoint: Checkpoint, device: str | None = None, precision: str | None = None) -> System:
    """The system that a checkpoint holds: see `load`."""
    on = machine.pick_device(device)
    dtype = machine.dtype(machine.pick_precision(on, precision))
    scheduler = _scheduler(checkpoint)
    with torch.device("meta"):
        network, codec = _network(checkpoint), _codec(checkpoint)
    _check_known(checkpoint)
    conditioner = _conditioner(checkpoint, network)
    _check_fit(checkpoint, network, codec, conditioner)
    source = checkpoint.component("unet", "transformer")
    readers = {"network": _reading(network, _NETWORKS[source.kind][1](network), source, on, dtype)}
    if isinstance(codec, Latent):
        component = checkpoint.component("vae", "vqvae")
        readers["codec"] = _reading(codec, autoencoder_entries(codec), component, on, dtype)
    denoiser = Denoiser(network, scheduler.schedule, scheduler.parameterization)
    settings = _settings(checkpoint, scheduler, codec, conditioner)
    about = {"from": checkpoint.where, "pipeline": checkpoint.pipeline}
    system = System(codec, conditioner, denoiser, settings, about)
    for part, reading in readers.items():
        system.defer(part, reading)
    if on.type != "cpu" and isinstance(conditioner, ClipText):
        conditioner.to(on)
    system.declare(_digest(checkpoint, conditioner))
    return system


def plan_opening(checkpoint: Checkpoint) -> tuple[Scheduler, Settings]:
    """How the checkpoint is drawn from there, and what `opened` would draw with here; by its configurations alone."""
    scheduler = _scheduler(checkpoint)
    with torch.device("meta"):
        network, codec = _network(checkpoint), _codec(checkpoint)
    _check_known(checkpoint)
    here = tuple(tower for tower in TOWERS["sdxl"] if tower in checkpoint.components)
    family: Family | None = next((family for family, towers in TOWERS.items() if towers == here), None)
    conditioner = ClipText(checkpoint.where, family, 0) if family else _conditioner(checkpoint, network)
    return scheduler, _settings(checkpoint, scheduler, codec, conditioner)


# Parts ----------------------------------------------------------------------------------------------------------------


def _network(checkpoint: Checkpoint) -> UNet | DiT:
    component = checkpoint.component("unet", "transformer")
    if component.kind not in _NETWORKS:
        raise FormatError(
            f"{checkpoint.where}: its {component.name} is a {quoted(component.kind)}, which is not read here;"
            f" {nearest(component.kind, _NETWORKS)}"
        )
    read_config, _ = _NETWORKS[component.kind]
    return read_config({"_class_name": component.kind, **component.config}, _name(component))


def _check_known(checkpoint: Checkpoint) -> None:
    """Raise a `FormatError` for components that change what is drawn there and would be passed over here."""
    for name, kind in checkpoint.others.items():
        raise FormatError(
            f"{checkpoint.where}: its {quoted(name)} ({quoted(kind)}) changes what is drawn, and is not read here: open"
            " the checkpoint that it was added to"
        )
    for pair in (("unet", "transformer"), ("vae", "vqvae")):
        if checkpoint.components.keys() >= set(pair):
            raise FormatError(f"{checkpoint.where} has both {' and '.join(pair)}, and one of them is read here")


def _codec(checkpoint: Checkpoint) -> Codec:
    if not {"vae", "vqvae"} & checkpoint.components.keys():
        channels = checkpoint.component("unet", "transformer").config.get("in_channels")
        if channels not in (1, 3):
            raise FormatError(f"{checkpoint.where} has no autoencoder, and its network draws {channels} channels")
        return Identity(Image(channels))
    component = checkpoint.component("vae", "vqvae")
    return read_autoencoder_config({"_class_name": component.kind, **component.config}, _name(component))


def _conditioner(checkpoint: Checkpoint, network: UNet | DiT) -> Conditioner:
    if {"text_encoder", "text_encoder_2"} & checkpoint.components.keys():
        config = checkpoint.component("unet", "transformer").config
        where = checkpoint.where if is_hub_name(checkpoint.where) else str(checkpoint.folder)
        frequency_width = config.get("addition_time_embed_dim") or 256
        return ClipText.open(where, frequency_width=frequency_width, pinned=False, config=checkpoint.config)
    if not network.vector:
        return Nothing()
    classes = read_class_names(checkpoint.index, network.vector, checkpoint.where)
    return Labels(classes, dropout=0.1 if isinstance(network, DiT) and network.null else 0.0)


def _check_fit(checkpoint: Checkpoint, network: UNet | DiT, codec: Codec, conditioner: Conditioner) -> None:
    """Raise a `FormatError` unless the components are of one system."""
    wanted = {"in_channels": codec.channels, "context": 0, "vector": 0} | conditioner.widths
    for name, width in wanted.items():
        if (found := getattr(network, name)) != width:
            raise FormatError(
                f"{checkpoint.where}: its network has {found} for {name}, and its other components {width}: they are"
                " not of one checkpoint"
            )
    if network.concat not in (0, codec.channels + 1):
        raise FormatError(
            f"{checkpoint.where}: its network sees {network.concat} channels beside a sample, and known are a mask and"
            f" the {codec.channels} of a picture"
        )


def _scheduler(checkpoint: Checkpoint, kind: str | None = None) -> Scheduler:
    """How the checkpoint is drawn from there, by its own scheduler or one of another class."""
    component = checkpoint.component("scheduler")
    config = {**component.config, "_class_name": kind or component.kind}
    if kind == "PNDMScheduler":
        config["skip_prk_steps"] = True  # without its costly start it is PLMS, as every Stable Diffusion has it
    if checkpoint.pipeline.startswith("StableDiffusion") and "XL" not in checkpoint.pipeline:
        config |= {"clip_sample": False, "steps_offset": 1}  # which their pipelines put into older configurations
    return read_scheduler(config, _name(component))


def _settings(checkpoint: Checkpoint, scheduler: Scheduler, codec: Codec, conditioner: Conditioner) -> Settings:
    component = checkpoint.component("unet", "transformer")
    side = sample_size(component.config, _name(component)) or 64
    height, width = (side, side) if isinstance(side, int) else side
    factor = codec.network.factor if isinstance(codec, Latent) else 1
    guidance = 1.0
    if isinstance(conditioner, ClipText):
        guidance = _GUIDANCE[conditioner.family]
    elif isinstance(conditioner, Labels) and conditioner.dropout:
        guidance = _CLASS_GUIDANCE
    theirs = Settings(
        (width * factor, height * factor),
        scheduler.sampler,
        scheduler.spacing,
        scheduler.steps,
        guidance,
        thresholding=scheduler.thresholding,
        presets=_presets(checkpoint),
    )
    config = checkpoint.component("scheduler").config
    distilled = isinstance(scheduler.sampler, LCM) or (
        isinstance(scheduler.sampler, EulerAncestral) and config.get("timestep_spacing") == "trailing"
    )
    if distilled:  # they were taught to draw so, in a few steps, with the guidance inside
        return theirs.updated(steps=4, guidance=1.0)
    if isinstance(conditioner, ClipText):
        model = "sd15" if conditioner.family == "sd" else "sdxl"
        return theirs.updated(sampler=DPMSolver(2), spacing=AYSSpacing(model), steps=_STEPS, interval=_INTERVAL)
    return theirs


def _presets(checkpoint: Checkpoint) -> dict[str, Preset]:
    """What diffusers' schedulers do with this checkpoint, by the kind of our sampler."""
    found = {}
    for kind, name in CLASS_OF_SAMPLER.items():
        try:
            scheduler = _scheduler(checkpoint, name)
        except FormatError:
            continue  # this one has no option for what the checkpoint's own does
        found[kind] = Preset(scheduler.sampler, scheduler.spacing, scheduler.thresholding)
    return found


# Weights --------------------------------------------------------------------------------------------------------------


def _reading(
    module: nn.Module, entries: list[Entry], component: Component, device: torch.device, dtype: torch.dtype
) -> ReadState:
    """A function that reads the weights of `module` when they are needed. Of their files no more than names and shapes
    are read now, and what does not fit is refused."""
    names, weights = component.entries(entries), component.weights()
    weights.check_whole()
    check_state(module, names, weights.shapes, _name(component), component.ignored)
    return partial(read_state, module, names, weights, _name(component), dtype, device, component.ignored)


def _digest(checkpoint: Checkpoint, conditioner: Conditioner) -> str:
    """A SHA-256 over a few numbers of each weight and over how the text encoders read, for `System.fingerprint`."""
    weighty = [part for name, part in sorted(checkpoint.components.items()) if name in _WEIGHTY]
    if checkpoint.folder.is_file():
        weighty = weighty[-1:]  # it holds all of them
    lines = [f"{part.name} {part.weights().sampled()}" for part in weighty]
    lines += [conditioner.sampled()] if isinstance(conditioner, ClipText) else []
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _name(component: Component) -> str:
    return str(component.folder)
