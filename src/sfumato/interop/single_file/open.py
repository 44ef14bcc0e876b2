"""Single files of Stable Diffusion 1, 2 and XL, its refiner, and their forms that paint within a picture: weights in
the original layout, as a checkpoint.

Which of them it is, the widths say; how the networks are built, the configurations that were published. A file of other
sizes is opened by a `config`: a folder in the layout of diffusers, of which all but the weights is read.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from sfumato.condition.clip.single_file import Place, layout
from sfumato.condition.clip.source import TOWERS
from sfumato.errors import FormatError, InputError, NotFoundError, quoted
from sfumato.interop.diffusers.folder import Checkpoint, Component, read_folder
from sfumato.interop.diffusers.networks.unet_options import UNet2DConditionOptions
from sfumato.interop.options import read_options
from sfumato.interop.single_file.family import (
    AUTOENCODER_PREFIX,
    PREDICTION_NAMES,
    UNET_PREFIX,
    prediction_of,
    published,
)
from sfumato.interop.single_file.original import original_autoencoder_name, original_unet_name
from sfumato.keys import Entry, renamed_entries, some
from sfumato.store import MappedWeights

_IDLE = (
    "model_ema.",
    "loss.",
    "denoiser.",
    "embedding_manager.",
    "first_stage_model.loss.",
    "first_stage_model.model_ema.",
)
"""Weights left over from training, beside its tables, whose names have no dot."""
_IDLE_CLIP = re.compile(
    r"(cond_stage_model|conditioner\.embedders\.\d+)\.([\w.]+\.)?(logit_scale|text_projection(\.weight)?|position_ids)"
)
"""Weights of a CLIP beside the text encoder that is read, by the names that several tools give them."""
_OTHERS = {"edm_mean": "a model of EDM's parameterization", "edm_vpred.sigma_max": "a model of EDM's schedule"}
"""Marks of models that no configuration here describes."""


@dataclass(frozen=True, kw_only=True)
class SingleFileComponent(Component):
    """A component whose weights are those in `file` whose names begin with `prefix`; after it comes what `rename` makes
    of diffusers' name."""

    file: MappedWeights
    prefix: str
    rename: Callable[[str], str] = lambda name: name

    def weights(self) -> MappedWeights:
        return self.file

    def entries(self, entries: list[Entry]) -> list[Entry]:
        return renamed_entries(entries, lambda name: self.prefix + self.rename(name))

    def ignored(self, key: str) -> bool:
        return not key.startswith(self.prefix) or key.startswith(_IDLE)


def read_single_file(where: str | Path, config: str | Path | None = None, prediction: str | None = None) -> Checkpoint:
    """The checkpoint in the file `where`; of its weights only names and shapes are read yet.

    `config` is a folder in the layout of diffusers, for files of sizes that were not published. `prediction` is what
    the network gives, "eps" or "v". Where it is not given, the file's header (modelspec.prediction_type) or the folder
    has it; a file without it gives v if it is Stable Diffusion 2, unless it stopped at the steps of its base or
    paints within a picture, and eps otherwise.

    Raises `NotFoundError` where there is no such file or folder, and `FormatError` for what is damaged or not known
    here.
    """
    path = Path(where).absolute()
    if not path.is_file():
        raise NotFoundError(f"there is no file {where}; give one of Stable Diffusion, or a folder")
    if prediction not in (None, *PREDICTION_NAMES):
        raise InputError(
            f"prediction is what the network gives: {', '.join(PREDICTION_NAMES)}, not {quoted(prediction)}"
        )
    if config is not None and not Path(config).is_dir():
        raise NotFoundError(f"config should be a folder in the layout of diffusers, and {config} is none")
    file = MappedWeights([path])
    _check_kind(file, path)
    family, places = layout(file, str(path))
    _check_names(file, (UNET_PREFIX, AUTOENCODER_PREFIX, *(place.prefix for place in places)), path)
    towers = dict(zip(TOWERS[family], places, strict=True))
    given = read_folder(config) if config is not None else None
    gives = prediction_of(file, path, prediction, given)
    found = given or published(file, path, towers, gives)
    parts = {name: _part(one, file, path, towers, gives) for name, one in found.components.items()}
    beside = str(Path(config).absolute()) if config is not None else ""
    return replace(found, where=str(where), folder=path, components=parts, config=beside)


def _check_kind(file: MappedWeights, path: Path) -> None:
    """Raise a `FormatError` unless a network of Stable Diffusion is in the file."""
    if not any(name.startswith(f"{UNET_PREFIX}input_blocks.") for name in file):
        raise FormatError(
            f"{path} holds {some(sorted(file)) or 'nothing'}, and no '{UNET_PREFIX}input_blocks…': it is no Stable"
            " Diffusion in the original layout; what diffusers saved is opened by its folder"
        )
    for mark, what in _OTHERS.items():
        if mark in file:
            raise FormatError(f"{path} holds '{mark}': it is {what}, which is not read from a single file here")


def _check_names(file: MappedWeights, prefixes: tuple[str, ...], path: Path) -> None:
    """Raise a `FormatError` for weights that belong to no component and are not left over from training."""
    known = (*prefixes, *_IDLE)
    if odd := sorted(n for n in file if "." in n and not n.startswith(known) and not _IDLE_CLIP.fullmatch(n)):
        raise FormatError(f"{path} holds {some(odd)}, which no Stable Diffusion has")


def _part(component: Component, file: MappedWeights, path: Path, towers: Mapping[str, Place], gives: str) -> Component:
    """The component with its weights in the file."""
    name, kind, config = component.name, component.kind, component.config
    if name == "scheduler":
        return replace(component, config={**config, "prediction_type": gives})
    part = partial(SingleFileComponent, name, kind, path, config, file=file)
    if name == "unet":
        options = read_options(UNet2DConditionOptions, config, f"{path} (its U-Net)")
        blocks = options.layers_per_block if isinstance(options.layers_per_block, int) else options.layers_per_block[0]
        attended = tuple(up.startswith("CrossAttn") for up in options.up_block_types)
        return part(prefix=UNET_PREFIX, rename=lambda key: original_unet_name(key, blocks, attended))
    if name == "vae":
        levels = len(config.get("block_out_channels", [0]))
        return part(prefix=AUTOENCODER_PREFIX, rename=lambda key: original_autoencoder_name(key, levels))
    return part(prefix=towers[name].prefix) if name in towers else component
