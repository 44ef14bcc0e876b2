"""The recipe of the task denoise: a diffusion model, and the space that it works in."""

from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from sfumato.condition import Conditioner, EncodedText, MiniLM, Pretrained, TextEncoder
from sfumato.core.grid import Spacing, TrailingSpacing
from sfumato.core.parameterization import EpsPrediction, Parameterization
from sfumato.core.schedule import Linear, Schedule, at
from sfumato.errors import InputError
from sfumato.loss import Denoising, Loss, Times, UniformTimes
from sfumato.nn.text.transformer import TextTransformer
from sfumato.parts import (
    CONDITIONERS,
    LOSSES,
    NETWORKS,
    PARAMETERIZATIONS,
    SAMPLERS,
    SCHEDULES,
    SPACINGS,
    TEXT_ENCODERS,
    TIMES,
    part_field,
)
from sfumato.sample import DDIM, Sampler
from sfumato.system.settings import DryRun, dry_run
from sfumato.train.base_recipe import Recipe, TrainRecipe, check_pictures, check_times
from sfumato.train.table import Count, NonNegative, Positive, RecipeTable, Share, ShareBelowOne

MOST_TOKENS = 2**16
"""Of a vocabulary: one of more would be JSON of more values than `files` reads."""


class CodecRecipe(RecipeTable):
    """The space to diffuse in: that of the data themselves ("identity"), or the latents of an autoencoder.

    That is fitted first, on the same data by the recipe `fit`, with `settings` laid over it, in the share `time_share`
    of the minutes that there are; or it is the one at `path`. With `init_from` the autoencoder that is fitted begins
    with those weights of the codec there that fit it, and all of it learns. Each is a folder, or the name of a system
    that ships; of a cascade, its last stage is meant.
    """

    kind: Literal["identity", "latent"] = "identity"
    fit: str = "autoencoder"
    settings: tuple[str, ...] = ()
    time_share: Annotated[float, Field(gt=0, lt=1)] = 0.3
    path: str | None = None
    init_from: str | None = None

    @property
    def is_fitted(self) -> bool:
        """Whether the codec is to be trained."""
        return self.kind == "latent" and self.path is None


def _encoder(data: Any) -> TextEncoder:
    """A text encoder; one of transformers may only be named, and is then opened to see what there is to record."""
    if isinstance(data, dict) and data.keys() == {"kind", "name"} and data["kind"] == "transformers":
        return Pretrained.open(data["name"])
    return TEXT_ENCODERS.load(data)


class ConditionRecipe(RecipeTable):
    """What the network is conditioned on. "auto" is labels where the data has classes; `dropout` is the share of
    samples whose condition is dropped. "text" is captions, encoded by `encoder`, of which `length` tokens count;
    "learned" is captions that a transformer of `layers` layers learns to encode with the network, in a vocabulary of up
    to `vocabulary` tokens that is fitted to them. A `conditioner` of any kind, with its own settings, replaces all of
    these. With a `layout`, so many places a side, the network sees what dense layers draw of its vector (`WithLayout`).

    With `image`, it also sees, beside each sample, the conditioning image that the data have of it, in the space of the
    codec (InstructPix2Pix, arXiv:2211.09800, section 3.2). The image is kept where the rest is dropped.
    """

    kind: Literal["auto", "labels", "nothing", "text", "learned"] = "auto"
    dropout: ShareBelowOne = 0.1
    encoder: Annotated[TextEncoder, part_field(TEXT_ENCODERS, _encoder)] = MiniLM()
    length: Count = 32
    vocabulary: Annotated[int, Field(ge=1, le=MOST_TOKENS)] = 4096
    width: Count = 256
    layers: Count = 4
    heads: Count = 4
    layout: Annotated[int, Field(ge=0, le=1024)] = 0
    conditioner: Annotated[Conditioner, part_field(CONDITIONERS)] | None = None
    image: bool = False

    @property
    def reads_captions(self) -> bool:
        return self.kind in ("text", "learned") if self.conditioner is None else self.conditioner.reads == "captions"

    def check(self) -> None:
        """Raise an `InputError` for captions that cannot be encoded so."""
        if self.kind == "text":
            EncodedText(self.encoder, self.length, self.dropout)
        elif self.kind == "learned":
            with torch.device("meta"):
                TextTransformer(self.vocabulary, self.width, self.layers, self.heads, self.length)


class SettingsRecipe(RecipeTable):
    """What the finished system draws with, unless a call asks for something else."""

    sampler: Annotated[Sampler[Any], part_field(SAMPLERS)] = DDIM()
    spacing: Annotated[Spacing, part_field(SPACINGS)] = TrailingSpacing()
    steps: Count = 50
    guidance: NonNegative = 1.0
    interval: tuple[NonNegative, Positive] | None = None
    rescale: Share = 0.0


class DenoiseTrainRecipe(TrainRecipe):
    """The loop. The network begins with those weights of the system `init_from`, a folder or the name of one that
    ships, that fit it, and all of it learns; of a cascade, its last stage is meant."""

    init_from: str | None = None


class DenoiseRecipe(Recipe):
    """A diffusion model."""

    task: Literal["denoise"] = "denoise"
    codec: CodecRecipe = CodecRecipe()
    condition: ConditionRecipe = ConditionRecipe()
    network: dict[str, Any] = Field({"kind": "unet"})
    schedule: Annotated[Schedule, part_field(SCHEDULES)] = Linear()
    parameterization: Annotated[Parameterization, part_field(PARAMETERIZATIONS)] = EpsPrediction()
    variance: Literal["fixed", "learned"] = "fixed"
    loss: Annotated[Loss, part_field(LOSSES)] = Denoising()
    times: Annotated[Times, part_field(TIMES)] = UniformTimes()
    train: DenoiseTrainRecipe = DenoiseTrainRecipe()  # pyright: ignore[reportIncompatibleVariableOverride]
    settings: SettingsRecipe = SettingsRecipe()

    @property
    def conditioning(self) -> bool:
        return self.condition.image

    def check(self) -> None:
        super().check()
        if self.conditioning:
            check_pictures("denoise with condition.image", self.data)
        network = self.dry_network(NETWORKS, self.data.networks, in_channels=1, out_channels=1)
        if self.codec.kind == "latent":
            check_pictures("denoise in latents", self.data)
        elif (size := self.data.wanted_size) is not None:
            network.check_size(*reversed(size))
        self.condition.check()
        self._dry_run()
        check_times(self.times, self.schedule)

    def _dry_run(self) -> None:
        """Raise an `InputError` for parts that do not go together."""
        schedule, settings = self.schedule, self.settings
        trial = DryRun(schedule, self.parameterization, self.variance == "learned")
        dry_run(trial, settings.sampler, settings.spacing, settings.steps)
        if self.variance == "learned" and isinstance(self.loss, Denoising):
            raise InputError("variance=learned wants a loss that teaches the variance: loss.kind=hybrid, or vlb")
        x_0, ends = torch.zeros(2, 1), at(schedule, schedule.first, schedule.last)
        self.loss(trial(x_0, ends), x_0, schedule)
