"""From a recipe and its pictures to a system that knows nothing yet."""

from typing import Any

import torch
from torch import nn

from sfumato.codec import Codec, Identity
from sfumato.condition import Conditioner, Labels, Nothing, Text, TokenIds, fit_tokenizer
from sfumato.data.dataset import Dataset
from sfumato.denoise import Denoiser
from sfumato.errors import InputError
from sfumato.media import Image
from sfumato.nn.image.autoencoder import Autoencoder
from sfumato.nn.image.layout import Layout, WithLayout
from sfumato.nn.text.transformer import TextTransformer
from sfumato.nn.text.with_text import WithText
from sfumato.parts import AUTOENCODERS, NETWORKS
from sfumato.system import System
from sfumato.system.classifier import NoisyClassifier
from sfumato.system.settings import Settings
from sfumato.train.batches import mix
from sfumato.train.initialize import StateDict, fitting_weights
from sfumato.train.recipe import ConditionRecipe, Recipe


def build(
    recipe: Recipe, pictures: Dataset, codec: Codec | None = None, conditioner: Conditioner | None = None
) -> System:
    """The untrained system that `recipe` describes for these pictures, in pixels unless there is a codec; its weights
    follow from the recipe's seed."""
    codec = codec or Identity(Image(image_channels(pictures)))
    conditioner = conditioner or build_conditioner(recipe.condition, pictures)
    torch.manual_seed(mix(recipe.train.seed, 0))
    return _system(recipe, pictures, codec, conditioner, _network(recipe, codec, conditioner))


def check_build(
    recipe: Recipe, pictures: Dataset, codec: Codec, conditioner: Conditioner, start: StateDict | None = None
) -> int:
    """Raise an `InputError` if `build` would, or if no weight of `start` fits its network; builds nothing of any size.
    Returns how many weights there would be to train."""
    with torch.device("meta"):
        network = _network(recipe, codec, conditioner)
    _system(recipe, pictures, codec, conditioner, network)
    if start is not None:
        fitting_weights(network, start, str(recipe.train.init_from), "train.init_from")
    return sum(parameter.numel() for parameter in network.parameters())


def _network(recipe: Recipe, codec: Codec, conditioner: Conditioner) -> nn.Module:
    """The network, and around it what draws a layout, if one is wanted, and what reads, if that is learned."""
    own = recipe.condition
    reads = isinstance(conditioner, TokenIds)
    doors = {"vector": own.width, "context": own.width} if reads else conditioner.widths
    channels = codec.channels * (2 if recipe.variance == "learned" else 1)
    laid_out = own.layout > 0 and "vector" in doors
    given = {"in_channels": codec.channels, "out_channels": channels, **doors}
    _not_said(recipe, given)
    network = NETWORKS.load(recipe.network, **given, **({"concat": channels} if laid_out else {}))
    if laid_out:
        layout = Layout(doors["vector"], channels, own.layout, time_scale=network.time_scale)
        network = WithLayout(network, layout)
    if not reads:
        return network
    return WithText(network, TextTransformer(conditioner.vocabulary, own.width, own.layers, own.heads, own.length))


def _system(recipe: Recipe, pictures: Dataset, codec: Codec, conditioner: Conditioner, network: nn.Module) -> System:
    height, width = pictures.stored.shape[2:]
    own = recipe.settings
    settings = Settings((width, height), own.sampler, own.spacing, own.steps, own.guidance, own.interval, own.rescale)
    system = System(codec, conditioner, Denoiser(network, recipe.schedule, recipe.parameterization), settings)
    system.check(settings, prompted=bool(conditioner.widths))
    return system


def build_classifier(recipe: Recipe, pictures: Dataset) -> NoisyClassifier:
    """The untrained classifier that `recipe` describes for the classes of these pictures."""
    height, width = pictures.stored.shape[2:]
    if pictures.labels is None or len(pictures.classes) < 2:
        raise InputError("a classifier needs classes, two or more: sort the pictures into a folder a class")
    codec = Identity(Image(image_channels(pictures)))
    torch.manual_seed(mix(recipe.train.seed, 0))
    network = NETWORKS.load(recipe.network, in_channels=codec.channels, outputs=len(pictures.classes))
    network.check_size(height, width)
    return NoisyClassifier(network, codec, tuple(pictures.classes))


def build_autoencoder(recipe: Recipe, pictures: Dataset) -> Autoencoder:
    """The untrained autoencoder that `recipe` describes for these pictures."""
    height, width = pictures.stored.shape[2:]
    given = {"in_channels": image_channels(pictures)}
    if recipe.reconstruction.perceptual and given["in_channels"] != 3:
        raise InputError(
            "reconstruction.perceptual compares pictures in colours, and these are grey: set data.channels=3, or"
            " reconstruction.perceptual=0"
        )
    _not_said(recipe, given)
    torch.manual_seed(mix(recipe.train.seed, 0))
    network = AUTOENCODERS.load(recipe.network, **given)
    network.check_size(height, width)
    return network


def image_channels(pictures: Dataset) -> int:
    """The channels of pictures as they are seen: an alpha channel is laid over a background before."""
    return min(pictures.stored.shape[1], 3)


def _not_said(recipe: Recipe, given: dict[str, Any]) -> None:
    if said := given.keys() & recipe.network.keys():
        raise InputError(f"network.{min(said)} follows from the data: leave it out of the recipe")


def build_conditioner(recipe: ConditionRecipe, pictures: Dataset, tokenizer: str | None = None) -> Conditioner:
    """Text where the recipe wants it; labels where the data has classes and the recipe does not refuse them. Where text
    is learned, its `tokenizer` is fitted to the captions unless there is one."""
    if recipe.kind in ("text", "learned"):
        if not any(pictures.captions):
            raise InputError(
                "the recipe wants captions, and the data has none: put a .txt beside each picture, a metadata.jsonl"
                " into the folder, or a column `text` into the parquet file"
            )
        if recipe.kind == "text":
            return Text(recipe.encoder, recipe.length, recipe.dropout)
        captions = (caption for own in pictures.captions for caption in own)
        tokenizer = tokenizer or fit_tokenizer(captions, recipe.vocabulary)
        return TokenIds(tokenizer, recipe.length, recipe.dropout)
    classes = pictures.classes if pictures.labels is not None else ()
    if recipe.kind == "labels" and len(classes) < 2:
        found = f"only '{classes[0]}'" if classes else "none"
        raise InputError(
            f"the recipe wants classes, and the data has {found}: sort the pictures into a folder a class, or train"
            " without, by condition.kind=nothing"
        )
    if recipe.kind == "nothing" or len(classes) < 2:
        return Nothing()
    return Labels(classes, recipe.dropout)
