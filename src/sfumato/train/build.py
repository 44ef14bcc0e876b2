"""From a recipe and its pictures to a system that knows nothing yet."""

from typing import Any

import torch

from sfumato.classifier import NoisyClassifier
from sfumato.codec import Pixels
from sfumato.condition import Conditioner, Labels, Nothing
from sfumato.data.prepare import Pictures
from sfumato.denoise import Denoiser
from sfumato.errors import InputError
from sfumato.parts import NETWORKS
from sfumato.settings import Settings
from sfumato.system import System
from sfumato.train.draw import mix
from sfumato.train.recipe import ConditionRecipe, Recipe


def build(recipe: Recipe, pictures: Pictures) -> System:
    """The untrained system that `recipe` describes for these pictures; its weights follow from the recipe's seed."""
    channels, height, width = pictures.pixels.shape[1:]
    codec = Pixels(channels)
    conditioner = _conditioner(recipe.condition, pictures)
    given: dict[str, Any] = {
        "in_channels": codec.channels,
        "out_channels": codec.channels * (2 if recipe.variance == "learned" else 1),
        **conditioner.doors,
    }
    if said := given.keys() & recipe.network.keys():
        raise InputError(f"network.{min(said)} follows from the data: leave it out of the recipe")
    torch.manual_seed(mix(recipe.train.seed, 0))
    network = NETWORKS.load(recipe.network, **given)
    settings = Settings(
        (width, height),
        recipe.settings.sampler,
        recipe.settings.spacing,
        recipe.settings.steps,
        recipe.settings.guidance,
        recipe.settings.interval,
        recipe.settings.rescale,
    )
    denoiser = Denoiser(network, recipe.schedule, recipe.parameterization)
    system = System(codec, conditioner, denoiser, settings)
    system.check(settings, prompted=bool(conditioner.doors))
    return system


def build_classifier(recipe: Recipe, pictures: Pictures) -> NoisyClassifier:
    """The untrained classifier that `recipe` describes for the classes of these pictures."""
    channels, height, width = pictures.pixels.shape[1:]
    if pictures.labels is None or len(pictures.classes) < 2:
        raise InputError("a classifier needs classes, two or more: sort the pictures into a folder a class")
    codec = Pixels(channels)
    torch.manual_seed(mix(recipe.train.seed, 0))
    network = NETWORKS.load(recipe.network, in_channels=codec.channels, outputs=len(pictures.classes))
    network.check_size(height, width)
    return NoisyClassifier(network, codec, tuple(pictures.classes))


def _conditioner(recipe: ConditionRecipe, pictures: Pictures) -> Conditioner:
    """Labels where the data has classes and the recipe wants them."""
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
