"""A recipe: all that a training is, but for its data, as one short TOML file."""

import math
import re
import tomllib
from collections.abc import Iterable
from importlib.resources import files as resources
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from PIL import ImageColor
from pydantic import BaseModel, ConfigDict, Field

from sfumato.condition import MiniLM, Pretrained, Text, TextEncoder
from sfumato.core.grid import Spacing, TrailingSpacing
from sfumato.core.parameterization import EpsPrediction, Parameterization
from sfumato.core.schedule import Linear, Schedule, at
from sfumato.disk import open_file
from sfumato.errors import InputError, nearest, quoted
from sfumato.loss import Denoising, Loss, Times, UniformTimes
from sfumato.nn.text.transformer import TextTransformer
from sfumato.parts import (
    AUTOENCODERS,
    LOSSES,
    NETWORKS,
    PARAMETERIZATIONS,
    SAMPLERS,
    SCHEDULES,
    SPACINGS,
    TEXT_ENCODERS,
    TIMES,
    part_field,
    validate,
    value_of,
)
from sfumato.sample import DDIM, Sampler
from sfumato.system.settings import DryRun, dry_run
from sfumato.train.ema import AVERAGES, Average, Power

MOST_RECIPE = 256 * 1024
MOST_DEPTH = 64
_STRING = re.compile(r'"(?:\\.|[^"\\\n])*+"?|\'[^\'\n]*+\'?')
_DEEP = re.compile(rf"(?<![\w-])(?:[\w-]++[ \t]*+\.[ \t]*+){{{MOST_DEPTH}}}")

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Dropped = Annotated[float, Field(ge=0, lt=1)]
Memory = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
MOST_TOKENS = 2**16
"""Of a vocabulary: one of more would be JSON of more values than `files` reads."""
Weighing = Annotated[float, Field(ge=0)]


class RecipeTable(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class DataRecipe(RecipeTable):
    """How pictures become samples: `size` (width, height) and `channels` are the data's own when left out."""

    size: tuple[Count, Count] | None = None
    channels: Literal[1, 3] | None = None
    fit: Literal["crop", "pad", "stretch"] = "crop"
    background: tuple[int, int, int] = (255, 255, 255)
    store: Literal["auto", "memory", "map", "source"] = "auto"
    flip: bool = False
    backgrounds: tuple[str, ...] = ()
    """Colours, by their names in CSS, that transparent pictures are also seen before; captions say which."""


class CodecRecipe(RecipeTable):
    """The space to diffuse in: pixels, or the latents of an autoencoder. That is fitted first, on the same pictures by
    the recipe `fit`, with `settings` laid over it, in the share `time_share` of the minutes that there are; or it is
    the one in the folder `path`. A recipe that fits an autoencoder goes on with the one in `path`, whose decoder alone
    then learns.

    With `init_from` the autoencoder that is fitted begins with those weights of the codec there that fit it, and all of
    it learns: what the edges and colours of pictures are need not be learned again. Each may also be the name of a
    system that ships.
    """

    kind: Literal["identity", "latent"] = "identity"
    fit: str = "autoencoder"
    settings: tuple[str, ...] = ()
    time_share: Annotated[float, Field(gt=0, lt=1)] = 0.3
    path: str | None = None
    init_from: str | None = None


def _encoder(data: Any) -> TextEncoder:
    """A text encoder; one of transformers may only be named, and is then opened to see what there is to say of it."""
    if isinstance(data, dict) and data.keys() == {"kind", "name"} and data["kind"] == "transformers":
        return Pretrained.open(data["name"])
    return TEXT_ENCODERS.load(data)


class ConditionRecipe(RecipeTable):
    """What the network is told. "auto" is labels where the data has classes; `dropout` of samples are told nothing.
    "text" is captions, read by `encoder`, of which `length` tokens count; "learned" is captions that a transformer of
    `layers` layers learns to read with the network, in up to `vocabulary` tokens that are fitted to them. With a
    `layout`, so many places a side, the network is shown what dense layers draw of its vector
    (`nn/image/layout.py`)."""

    kind: Literal["auto", "labels", "nothing", "text", "learned"] = "auto"
    dropout: Dropped = 0.1
    encoder: Annotated[TextEncoder, part_field(TEXT_ENCODERS, _encoder)] = MiniLM()
    length: Count = 32
    vocabulary: Annotated[int, Field(ge=1, le=MOST_TOKENS)] = 4096
    width: Count = 256
    layers: Count = 4
    heads: Count = 4
    layout: Annotated[int, Field(ge=0, le=1024)] = 0


class ReconstructionRecipe(RecipeTable):
    """What an autoencoder learns by: the absolute error, and so much of other terms. `features` is the file of the
    network in whose features `perceptual` is measured. What is decoded has noise of up to `noise` of the latents' own
    standard deviations."""

    noise: Annotated[float, Field(ge=0, le=2)] = 0.0
    edges: Weighing = 0.5
    tones: Weighing = 1.0
    penalty: Weighing = 1e-4
    perceptual: Weighing = 0.0
    features: str | None = None
    adversarial: Weighing = 0.0


class OptimizerRecipe(RecipeTable):
    """AdamW (arXiv:1711.05101): the rate rises over `warmup` steps, and falls after `decay` steps, if that is not 0:
    `learning_rate / √max(step/decay, 1)` (as in EDM2, arXiv:2312.02696). Gradients are clipped to the norm `clip`."""

    learning_rate: Positive = 2e-4
    betas: tuple[Memory, Memory] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    warmup: Annotated[int, Field(ge=0)] = 500
    decay: Annotated[int, Field(ge=0)] = 0
    clip: Positive = 1.0

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 1."""
        risen = min(1.0, step / max(self.warmup, 1))
        fallen = max(step / self.decay, 1.0) if self.decay else 1.0
        return self.learning_rate * risen / math.sqrt(fallen)


class TrainRecipe(RecipeTable):
    """The loop, of `steps` steps unless told otherwise. A batch is worked through in `accumulate` parts, which changes
    memory and not the result (but for the unit of `reconstruction.noise`, which each part, and each process, has of its
    own); saving and showing go by the clock. The network of what draws begins with those weights of the system
    `init_from`, a folder or the name of one that ships, that fit it, and all of it learns."""

    batch: Count = 128
    accumulate: Count = 1
    steps: Count = 100_000
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    init_from: str | None = None
    save_minutes: Annotated[float, Field(ge=0)] = 5.0
    show_minutes: Annotated[float, Field(ge=0)] = 2.0


class SettingsRecipe(RecipeTable):
    """What the finished system draws with unless told otherwise."""

    sampler: Annotated[Sampler[Any], part_field(SAMPLERS)] = DDIM()
    spacing: Annotated[Spacing, part_field(SPACINGS)] = TrailingSpacing()
    steps: Count = 50
    guidance: Annotated[float, Field(ge=0)] = 1.0
    interval: tuple[Annotated[float, Field(ge=0)], Positive] | None = None
    rescale: Share = 0.0


class Recipe(RecipeTable):
    """A whole training. Every table and key may be left out; these are the defaults."""

    about: str = ""
    task: Literal["denoise", "classify", "autoencode"] = "denoise"
    data: DataRecipe = DataRecipe()
    codec: CodecRecipe = CodecRecipe()
    reconstruction: ReconstructionRecipe = ReconstructionRecipe()
    condition: ConditionRecipe = ConditionRecipe()
    network: dict[str, Any] = {"kind": "unet"}
    schedule: Annotated[Schedule, part_field(SCHEDULES)] = Linear()
    parameterization: Annotated[Parameterization, part_field(PARAMETERIZATIONS)] = EpsPrediction()
    variance: Literal["fixed", "learned"] = "fixed"
    loss: Annotated[Loss, part_field(LOSSES)] = Denoising()
    times: Annotated[Times, part_field(TIMES)] = UniformTimes()
    optimizer: OptimizerRecipe = OptimizerRecipe()
    average: Annotated[Average, part_field(AVERAGES)] = Power()
    train: TrainRecipe = TrainRecipe()
    settings: SettingsRecipe = SettingsRecipe()

    def dump(self) -> dict[str, Any]:
        """The recipe as data, with every default said."""
        return self.model_dump(mode="json")


def recipe_names() -> list[str]:
    """The names of the recipes that ship."""
    folder = resources("sfumato.recipes")
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def load_recipe(recipe: str | Path, settings: Iterable[str] = ()) -> Recipe:
    """The recipe of that name, or in that file, with `settings` ("train.batch=64") laid over it; checked strictly."""
    return lay_over(_read(recipe), settings)


def lay_over(data: dict[str, Any], settings: Iterable[str]) -> Recipe:
    """The recipe in `data`, with each of `settings` ("table.key=value") put in its place."""
    return check_recipe(_overlay(data, settings))


def check_recipe(data: dict[str, Any]) -> Recipe:
    """Data as a recipe; the first thing wrong with it as an `InputError`."""
    recipe = validate(Recipe, data, "")
    assert isinstance(recipe, Recipe)
    _check_network(recipe)
    _check_telling(recipe)
    if recipe.task == "denoise":
        _dry_run(recipe)
    recipe.schedule(torch.tensor([recipe.schedule.first]))
    own = recipe.times(recipe.schedule, torch.tensor([0.0, 0.5, 1 - 2**-24], dtype=torch.float64))
    recipe.schedule(own)
    recipe.average.decay(1)
    if recipe.train.batch % recipe.train.accumulate:
        raise InputError(
            f"train.accumulate ({recipe.train.accumulate}) must divide train.batch ({recipe.train.batch}) evenly"
        )
    return recipe


def _check_network(recipe: Recipe) -> None:
    """Raise an `InputError` unless the network can be built, is of the task's kind, and fits the size of the data."""
    kinds, wanted, ends = {
        "denoise": (NETWORKS, ("unet", "dit"), {"in_channels": 1, "out_channels": 1}),
        "classify": (NETWORKS, ("encoder",), {"in_channels": 1, "outputs": 2}),
        "autoencode": (AUTOENCODERS, tuple(AUTOENCODERS.kinds), {"in_channels": 1}),
    }[recipe.task]
    known = {*NETWORKS.kinds, *AUTOENCODERS.kinds}
    if isinstance(kind := recipe.network.get("kind"), str) and kind in known and kind not in wanted:
        raise InputError(f"a recipe whose task is {recipe.task} wants network.kind={' or '.join(wanted)}, not {kind}")
    with torch.device("meta"):
        network = kinds.load(recipe.network, **ends)
    if recipe.data.size is not None and recipe.codec.kind == "identity":
        width, height = recipe.data.size
        network.check_size(height, width)
    for key in ("path", "init_from"):
        if getattr(recipe.codec, key) is not None and recipe.task == "classify":
            raise InputError(
                f"codec.{key} is for what draws in latents, or for an autoencoder; the task classify has no codec"
            )
    if recipe.train.init_from is not None and recipe.task != "denoise":
        raise InputError(
            f"train.init_from is for what draws, and the task is {recipe.task}: leave it out"
            f"{'; codec.init_from is for an autoencoder' if recipe.task == 'autoencode' else ''}"
        )
    if recipe.task == "autoencode" and recipe.codec.path is not None and recipe.codec.init_from is not None:
        raise InputError(
            "an autoencoder goes on with codec.path, whose decoder alone learns, or begins with codec.init_from, and"
            " all of it learns: give one, and null for the other"
        )
    if recipe.codec.kind == "latent" and recipe.task != "denoise":
        raise InputError(f"codec.kind=latent is for drawing; the task {recipe.task} works on pixels")
    if recipe.reconstruction.perceptual and recipe.reconstruction.features is None:
        raise InputError("reconstruction.perceptual wants reconstruction.features, the file of a feature network")


def _check_telling(recipe: Recipe) -> None:
    """Raise an `InputError` for backgrounds that are no colours, and texts that cannot be read."""
    own, data = recipe.condition, recipe.data
    for name in data.backgrounds:
        try:
            ImageColor.getrgb(name)
        except ValueError as error:
            raise InputError(f"data.backgrounds: {name!r} is not the name of a colour in CSS") from error
    if data.backgrounds and data.channels == 1:
        raise InputError("data.backgrounds are colours: they want data.channels=3")
    if own.kind == "text":
        Text(own.encoder, own.length, own.dropout)
    elif own.kind == "learned":
        with torch.device("meta"):
            TextTransformer(own.vocabulary, own.width, own.layers, own.heads, own.length)


def _dry_run(recipe: Recipe) -> None:
    """Raise an `InputError` for parts that do not go together: before data is read, and before hours of training."""
    schedule, settings = recipe.schedule, recipe.settings
    trial = DryRun(schedule, recipe.parameterization, recipe.variance == "learned")
    dry_run(trial, settings.sampler, settings.spacing, settings.steps)
    if recipe.variance == "learned" and isinstance(recipe.loss, Denoising):
        raise InputError("variance=learned wants a loss that teaches the variance: loss.kind=hybrid, or bound")
    x_0, ends = torch.zeros(2, 1), at(schedule, schedule.first, schedule.last)
    recipe.loss(trial(x_0, ends), x_0, schedule)


def _read(recipe: str | Path) -> dict[str, Any]:
    """The TOML of a recipe, by the name of one that ships or by its file."""
    path = Path(recipe)
    try:
        if path.suffix == ".toml" or path.is_file():
            with open_file(path) as file:
                return _parsed(file.read(MOST_RECIPE + 1), path)
        if str(recipe) in recipe_names():
            return _parsed((resources("sfumato.recipes") / f"{recipe}.toml").read_bytes(), path)
    except OSError as error:
        raise InputError(f"cannot read the recipe {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid TOML: {error}") from error
    hint = nearest(str(recipe)[:100], recipe_names())
    raise InputError(f"there is no recipe {quoted(str(recipe))}; {hint}; or give a .toml file")


def _parsed(data: bytes, path: Path) -> dict[str, Any]:
    """The table in a TOML file, which is bounded first: the parser takes time and memory by the square of a key's
    depth."""
    if len(data) > MOST_RECIPE:
        raise InputError(f"{path} is larger than {MOST_RECIPE // 1024} kB: no recipe")
    text = data.decode("utf-8-sig")  # some editors mark UTF-8 by its first character
    if _DEEP.search(_STRING.sub("s", text)):
        raise InputError(f"{path} holds a table within more than {MOST_DEPTH} others: no recipe")
    return tomllib.loads(text)


def _overlay(data: dict[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """`data` with each "table.key=value" set."""
    for setting in [settings] if isinstance(settings, str) else settings:
        place, sign, text = setting.partition("=") if isinstance(setting, str) else ("", "", "")
        if not sign or not place.strip():
            raise InputError(f"--set wants key=value, as in train.batch=64, not {quoted(setting)}")
        *tables, key = place.strip().split(".")
        table = data
        for name in tables:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                raise InputError(f"{quoted(place)} cannot be set: {quoted(name)} is a value, not a table")
        table[key] = value_of(text.strip())
    return data


def differences(old: Any, new: Any, place: str = "") -> list[str]:
    """What differs between two tables, a line each: `train.batch: 64 → 128`."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [key for key in [*old, *(key for key in new if key not in old)] if old.get(key) != new.get(key)]
        return [line for key in keys for line in differences(old.get(key), new.get(key), f"{place}.{key}".lstrip("."))]
    return [f"{place}: {old} → {new}"]
